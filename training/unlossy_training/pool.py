"""Many independent jobs on all cores, and a journal of those that are done, so that a killed run can go on."""

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

_work: Callable[[Any], Any] | None = None  # in a worker process: what it does


class Journal:
    """Rows by number, one line of JSON each, written as they come; a torn last line, from a kill, is forgotten.

    Args:
        path (`Path`): of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        if path.exists():
            *whole, torn = path.read_bytes().split(b"\n")
            for line in whole:
                row = json.loads(line)
                self.rows[row["number"]] = row
            if torn:
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size - len(torn))

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["number"]] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def run(
    work: Callable[[Any], Any],
    jobs: Sequence[Any],
    workers: int,
    title: str,
    *,
    ordered: bool = False,
    spawn: bool = False,
) -> Generator[Any, None, None]:
    """Do `work` for every job on a number of processes, and show how far it is under a title, on a terminal.

    Unlike multiprocessing's own pool it notices when the system kills a worker. With the first error, and when the
    iterator is closed, what has not begun is given up.

    Args:
        ordered (`bool`): yield the results in the order of the jobs, instead of as they are ready.
        spawn (`bool`): start the processes anew, which takes seconds, instead of as copies of this one. A copy can't
            use a GPU that this process has used.

    Raises:
        BrokenProcessPool: a process ended by itself.
    """
    with tqdm(total=len(jobs), desc=title, disable=None, leave=False) as progress:
        if workers <= 1 or len(jobs) <= 1:
            for job in jobs:
                yield work(job)
                progress.update()
            return
        pool = ProcessPoolExecutor(
            min(workers, len(jobs)),
            get_context("spawn" if spawn else None),
            initializer=_start,
            initargs=(work, os.getpid()),
        )
        try:
            futures = deque(pool.submit(_call, job) for job in jobs)
            # A result that has been passed on is held by nothing here: those of `dataset` are files.
            given = iter(futures.popleft, None) if ordered else as_completed(futures)
            for _ in range(len(jobs)):
                yield next(given).result()
                progress.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _start(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    _work = work  # once for each process, since it holds a list of all recordings
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not as in the parent, of which this may be a copy
    torch.set_num_threads(1)  # with more, a fork of a process that has used its own would wait for them forever
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent has been killed: it would wait for another job forever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(job: Any) -> Any:
    assert _work is not None  # set by _start
    return _work(job)
