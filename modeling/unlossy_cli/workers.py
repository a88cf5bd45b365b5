"""Restores several files at once, with one process for each core.

A second core makes one call of the network little faster, but two files side by side take little longer than one.
`concurrent.futures` would not do: an interrupted process must remove its half-written file, and if the system kills a
process for its memory, only one file may be lost and not the run.

    parent                              worker
      Job ─────────────────────────────▶ restore_file
      float, from 0 to 1 ◀────────────── progress of that file
      Outcome ◀───────────────────────── when it is done
      closed ──────────────────────────▶ ends
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from unlossy_cli.planning import Job, Outcome
from unlossy_cli.work import Settings, restore_file

_REPORT_INTERVAL = 0.1  # [s] between two progress reports of a file
_MEMORY_PER_WORKER = 1.5e9  # [bytes]: interpreter and libraries, the model, and a file's blocks

Report = Callable[[Job, float], None]


def count_workers(files: int, processes_here: int) -> tuple[int, int]:
    """Choose how many processes work side by side, and how many threads each of them has.

    Args:
        files (`int`): number of files to restore.
        processes_here (`int`): number of processes that a launcher has started on this machine to do the same.

    Returns:
        `tuple`: number of processes and of threads, both at least 1.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # on Linux; it respects the limits of containers and batch systems
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    cores = max(1, cores // processes_here)
    workers = min(files, cores)
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / processes_here
        workers = min(workers, int(memory / _MEMORY_PER_WORKER))
    workers = max(1, workers)
    return workers, max(1, cores // workers)


def restore_files(jobs: Sequence[Job], settings: Settings, workers: int, report: Report) -> Iterator[Outcome]:
    """Restore files in `workers` processes, or in this one if `workers` is 1, and yield each outcome as it comes.

    Args:
        report (callable): is told a job and the share of it that is done, from 0 to 1.
    """
    if workers == 1:
        for job in jobs:
            yield restore_file(job, settings, functools.partial(report, job))
        return
    waiting = list(reversed(jobs))
    team = [_Worker(settings, waiting.pop()) for _ in range(workers)]
    try:
        while team:
            ready = wait([worker.connection for worker in team])
            for worker in [w for w in team if w.connection in ready]:
                message = worker.receive()
                if isinstance(message, float):
                    report(worker.job, message)
                    continue
                yield message
                if waiting and worker.process.is_alive():
                    worker.give(waiting.pop())
                else:
                    team.remove(worker)
                    worker.stop()
                    if waiting:
                        team.append(_Worker(settings, waiting.pop()))
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """The parent's side of a worker process, which always has one job."""

    def __init__(self, settings: Settings, job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would wait for threads of PyTorch that it lacks
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()  # otherwise receiving from a dead process would never end
        self.give(job)

    def give(self, job: Job) -> None:
        """Send the process its next job."""
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # the process has died, which `receive` reports
            self.connection.send(job)

    def receive(self) -> Outcome | float:
        """Wait for a message: the share of the job that is done, or its outcome, also if the process has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            reason = "ran out of memory?" if self.process.exitcode == -signal.SIGKILL else "see above"
            return Outcome(self.job, f"{self.job.input}: its process died, code {self.process.exitcode} ({reason})")

    def stop(self) -> None:
        """End the process. A half-written file is removed."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


def _work(connection: Connection, settings: Settings) -> None:
    """Restore what the parent sends, until it closes the connection or sends SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes, and the parent ends the others
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # so does the end of a terminal

    is_ending = False
    last_report = 0.0

    def exit_once(signum: int, frame: FrameType | None) -> None:
        # It may also come while the process ends by itself. To have it ignored by then would be too late for one that
        # is on its way: Python names that in a traceback.
        if not is_ending:
            raise SystemExit(128 + signum)  # on its way out, the writer removes its temporary file

    def progress(fraction: float) -> None:
        nonlocal last_report
        if time.monotonic() - last_report >= _REPORT_INTERVAL:
            last_report = time.monotonic()
            connection.send(float(fraction))

    signal.signal(signal.SIGTERM, exit_once)
    try:
        while True:
            connection.send(restore_file(connection.recv(), settings, progress))
    except (EOFError, BrokenPipeError):
        pass  # the parent is done, or gone
    finally:
        is_ending = True
