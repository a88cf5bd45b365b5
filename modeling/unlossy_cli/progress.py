"""The progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} < {remaining}"


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Show a bar, on a terminal only, while one file is worked on.

    Yields:
        callable: is told the share that is done, from 0 to 1.
    """
    from tqdm import tqdm

    with tqdm(total=1.0, desc=name, bar_format=BAR, leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(share: float) -> None:
            bar.update(share - bar.n)

        yield report
