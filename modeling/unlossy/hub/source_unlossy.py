"""Where audio comes from that lies in no file: bytes, file objects and pipes. FFmpeg reads a temporary file instead."""

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO, Any

# What an audio file can be handed over as.
AudioFile = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


def is_url(name: str) -> bool:
    """Whether a name is that of no file; of two slashes, a `Path` keeps one."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", name, re.IGNORECASE) is not None


def is_in_memory(source: object) -> bool:
    """Whether a source is bytes or a file object, and no name."""
    return isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read")


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a pipe: one that `mkfifo` made, or that a shell has for `<(…)`."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):  # there is no such file, and whoever opens it says so
        return False


def name_source(source: Any) -> str:
    """What sentences call a source."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "the byte string"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return {"<stdin>": "standard input"}.get(name, name) if isinstance(name, str) else "the file object"
    return os.fspath(source)


def spool(source: Any) -> Path:
    """Write bytes, or what is left to read of a file object or a pipe, into a temporary file; the caller removes it.

    Raises:
        TypeError: the file object gives text.
        OSError, ValueError: it can't be read, or is closed.
    """
    if not is_in_memory(source):
        with open(source, "rb") as pipe:
            return spool(pipe)
    # FFmpeg tells some formats by their suffix only.
    suffix = Path(name_source(source)).suffix if hasattr(source, "read") else ""
    number, name = tempfile.mkstemp(suffix, "unlossy-")
    try:
        with open(number, "wb") as file:
            if hasattr(source, "read"):
                shutil.copyfileobj(source, file)
            else:
                file.write(source)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)
