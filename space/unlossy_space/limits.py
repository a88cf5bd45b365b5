"""What is taken here, of any upload."""

from pathlib import Path

MAX_SECONDS = 360.0  # [s] a browser holds a decoded clip in memory, twice
MAX_BYTES = 100_000_000

WAY_OUT = "For longer files there is the command line: `pip install unlossy`, then `unlossy restore FILE`."


def is_gone(path: Path) -> str:
    """What is said of an upload that was removed."""
    return f"{path.name} has been removed after an hour. Choose it again."


def minutes(seconds: float) -> str:
    """A length, for people: "3:05 min", or "12 s"."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d} min" if whole else f"{rest} s"
