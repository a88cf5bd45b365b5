"""What the commands of `unlossy` and `unlossy-train` share: how arguments are read, and how a command ends.

Exit codes: 0 all done; 1 some of many files failed; 2 wrong usage, or nothing could be done; 130 interrupted; 141
whoever read the output has gone.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

FAILED, INTERRUPTED, PIPE_BROKEN = 2, 130, 141
# What is the user's to mend, or the machine's. Anything else is a mistake in the code, and shows where it is.
EXPECTED = (ValueError, OSError, ImportError, FloatingPointError, BrokenExecutor)


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong argument in one sentence, without the usage text before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"{self.prog}: {message} (see {self.prog} --help)\n")


class Version(argparse.Action):
    """`--version`. The package's metadata is read only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"{parser.prog} {importlib.metadata.version('unlossy')}")
        parser.exit()


def path(text: str) -> Path:
    """The type of an argument that names a file or folder."""
    if not text:  # an unset variable in a script; Path("") is the current folder
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def share(text: str) -> float:
    """The type of an argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # also false for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def whole(least: int = 1) -> Callable[[str], int]:
    """The type of an argument that is a whole number of `least` or more."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return value

    return read


def positive(text: str) -> float:
    """The type of an argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):  # also false for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def require(module: str, extras: str) -> None:
    """Make sure that a package of an optional extra is installed, before work begins that needs it at its end.

    Raises:
        ImportError: it is not.
    """
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"this needs {module}, which comes with pip install 'unlossy[{extras}]'")


@contextmanager
def needing(extras: str) -> Iterator[None]:
    """Name the extras that a missing package comes with, instead of Python's "No module named".

    Raises:
        ImportError: a package is missing that is none of this project's.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("unlossy"):
            raise
        raise ImportError(f"this needs {error.name}, which comes with pip install 'unlossy[{extras}]'") from error


def describe(error: Exception) -> str:
    """Say in one sentence what an error says, without Python's `[Errno 13]`."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, BrokenExecutor):
        return "the system has ended one of the processes that shared the work (out of memory?): try fewer --workers"
    return str(error)


def warn(sentences: Iterable[str]) -> None:
    """Print warnings on stderr, each in a line of its own."""
    for sentence in sentences:
        print(f"unlossy: warning: {sentence}", file=sys.stderr)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM, from launchers and service managers, and SIGHUP, from a closed terminal, clean up as Ctrl+C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP, and nohup has it ignored
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(prog: str, command: Callable[[], int | None]) -> int:
    """Run a command and turn whatever ends it into an exit code and at most one sentence on stderr.

    Args:
        prog (`str`): what the sentence begins with.
        command (callable): returns an exit code, or `None` for 0. An interruption may carry a sentence on how to go on.

    Returns:
        `int`: the exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    try:
        with _terminated_like_interrupted():
            code = command() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        print("; ".join([f"{prog}: interrupted", *map(str, stop.args)]), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_BROKEN
    except EXPECTED as error:
        print(f"{prog}: {describe(error)}", file=sys.stderr)
        return FAILED


def process(main: Callable[[], int]) -> NoReturn:
    """Run a command line as a process of its own, which starts and ends a second and a half sooner with PyTorch in it.

    Importing makes hundreds of thousands of objects that all stay: looking through them after every 700 is in vain, and
    so is taking them apart at the end (docs/diary.md, "How a process ends").
    """
    gc.set_threshold(100_000, 20, 100)
    try:
        code: int | str | None = main()
    except SystemExit as ended:  # by argparse
        code = ended.code
    gc.freeze()
    sys.exit(code)
