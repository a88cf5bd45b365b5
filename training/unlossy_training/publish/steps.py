"""What a person sees of a publication: on a terminal a bar with the step that runs, and a sentence for each that is
done."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tqdm import tqdm

BAR = "{desc}: {n_fmt}/{total_fmt}|{bar}| {elapsed}"


class Steps:
    """A context that shows how far a publication is.

    Args:
        total (`int`): how many steps there will be.
    """

    def __init__(self, total: int):
        self.bar = tqdm(total=total, desc="publishing", bar_format=BAR, leave=False, disable=None)
        self.ended = threading.Event()

    def __enter__(self) -> "Steps":
        if not self.bar.disable:
            threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.bar.close()

    def _tick(self) -> None:
        while not self.ended.wait(1):  # so that a long step is seen to live
            self.bar.refresh()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A context in which a step runs, such as "building the wheel"."""
        start = time.monotonic()
        self.bar.set_description_str(name)
        yield
        self.bar.update()
        tqdm.write(f"{name} took {time.monotonic() - start:.0f} s", file=sys.stderr)
