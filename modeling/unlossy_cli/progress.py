"""The progress bar of commands that work on one thing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Shown on a terminal only; what it gives is told the share that is done, from 0 to 1."""
    from tqdm import tqdm

    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} < {remaining}"
    with tqdm(total=1.0, desc=name, bar_format=shape, leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(share: float) -> None:
            bar.update(share - bar.n)

        yield report
