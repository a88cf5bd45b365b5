"""Many independent jobs on all cores, and a journal of those that are done, so that a killed run can go on."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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


def run(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int, title: str) -> Iterator[Any]:
    """`work` for every job on a number of processes; results come as they are ready, not in order.

    Progress is shown under a title on a terminal. With the first error, what has not begun is given up.
    """
    progress = tqdm(total=len(jobs), desc=title, disable=None, leave=False)
    with progress:
        if workers <= 1 or len(jobs) <= 1:
            for job in jobs:
                yield work(job)
                progress.update()
            return
        pool = ProcessPoolExecutor(min(workers, len(jobs)), initializer=_start, initargs=(work, os.getpid()))
        try:
            for future in as_completed([pool.submit(_call, job) for job in jobs]):
                yield future.result()
                progress.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _start(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    _work = work  # once for each process, since it holds a list of all recordings
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle
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
