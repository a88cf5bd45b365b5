"""Files and folders that are whole or not there, and lossless audio in one piece."""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name, `PATH.PID.part`, and give it its own when it is whole.

    Raises:
        OSError: it can't be written. What was there before is as it was.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A folder to write to that becomes `output` in the end, or disappears with the first error.

    Raises:
        ValueError: `output` is not empty, or an unfinished one lies beside it.
    """
    output = output.resolve()
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; choose another folder or delete it")
    unfinished = output.with_name(f"{output.name}.unfinished")
    try:
        unfinished.mkdir(parents=True)
    except FileExistsError:
        raise ValueError(f"{unfinished} is there: a build is at work, or was interrupted and can be deleted") from None
    try:
        yield unfinished
        if output.exists():
            output.rmdir()
        unfinished.rename(output)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def read_audio(file: Path | bytes) -> tuple[np.ndarray, int]:
    """Read a lossless file, or the bytes of one.

    Returns:
        `tuple`: the samples, float32 of shape `(channels, samples)`, and the sampling rate [Hz].

    Raises:
        ValueError: it is not a whole audio file.
    """
    try:
        source = io.BytesIO(file) if isinstance(file, bytes) else file
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"not a whole audio file: {error.error_string}") from error
    return np.ascontiguousarray(samples.T), rate
