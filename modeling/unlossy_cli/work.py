"""Restoring one file, in whichever process: the place where the command line meets the package."""

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlossy_cli.entry import describe
from unlossy_cli.memory import keep_freed_memory
from unlossy_cli.planning import STANDARD, Job, Outcome, call, offer_partial
from unlossy_cli.quiet import silence_libraries

if TYPE_CHECKING:
    from unlossy import OnnxModel, UnlossyModel


@dataclass(frozen=True)
class Settings:
    """What holds for every file of a run."""

    model: str | None
    device: str
    detail: float
    format: str
    bit_depth: str
    overwrite: bool
    strict: bool = False
    partial: bool = False
    track: int | None = None
    backend: str = "auto"
    local_rank: int = 0
    threads: int | None = None  # None: as many as there are cores


def find_problem(job: Job) -> str | None:
    """Name in one sentence what can be seen without opening the audio, before anything heavy is loaded."""
    if job.input == STANDARD and sys.stdin.isatty():
        return "standard input is a terminal: pipe a file into it, or name one"
    if job.output == STANDARD and sys.stdout.isatty():
        return "standard output is a terminal: pipe it into a program, or name a file with -o"
    try:
        if job.input != STANDARD:
            job.input.stat()
    except FileNotFoundError:
        if job.input.is_symlink():
            return f"{job.input} is a link to a file that is not there: {os.readlink(job.input)}"
        return f"no such file: {job.input}" if ":" not in str(job.input) else None  # a URL, which the reader names
    except OSError as error:
        return describe(error)
    return None


def restore_file(job: Job, settings: Settings, progress: Callable[[float], None]) -> Outcome:
    """Restore one file; whatever goes wrong with it is returned, not raised, so that the next file has its turn."""
    silence_libraries()
    try:
        return _restore(job, settings, progress)
    except (ValueError, OSError) as error:
        sentence = describe(error)
        names_file = call(job.input) in sentence or str(job.output) in sentence
        return Outcome(job, sentence if names_file else f"{call(job.input)}: {sentence}")
    except Exception:
        return Outcome(job, f"{call(job.input)}: unexpected error, please report it\n{traceback.format_exc()}")


def _restore(job: Job, settings: Settings, progress: Callable[[float], None]) -> Outcome:
    from unlossy.hub.audio_unlossy import AudioReader
    from unlossy.hub.restoration_unlossy import restore

    # A file that can't be opened is reported before the model is loaded and a folder made.
    source = sys.stdin.buffer if job.input == STANDARD else job.input
    strict, partial = settings.strict, settings.partial
    with offer_partial(), AudioReader(source, track=settings.track, strict=strict, partial=partial) as reader:
        try:
            model = _load_model(settings)
        except (ValueError, OSError, ImportError) as error:
            return Outcome(job, describe(error), fatal=True)
        except Exception as error:  # what safetensors and PyTorch raise for weights that don't fit
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Outcome(job, f"{settings.model or 'the shipped model'} cannot be loaded: {reason}", fatal=True)
        with contextlib.suppress(FileExistsError, NotADirectoryError):  # a file is in the way: the writer says so
            job.output.parent.mkdir(parents=True, exist_ok=True)
        with _file_for(job.output) as output:
            restored = restore(
                reader,
                model,
                detail=settings.detail,
                output=output,
                format=settings.format,
                bit_depth=settings.bit_depth,
                overwrite=settings.overwrite,
                progress=progress,
            )
    warnings = (sentence.replace(str(output), "standard output") for sentence in restored.warnings)
    return Outcome(job, warnings=restored.warnings if job.output != STANDARD else tuple(warnings))


@contextlib.contextmanager
def _file_for(output: Path) -> Iterator[Path]:
    """The file to write; standard output gets a copy of one, complete or not at all, since no header is known before
    the end."""
    if output != STANDARD:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="unlossy-") as folder:
        path = Path(folder) / "standard output"
        yield path
        try:
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise ValueError("standard output was closed before all was written") from None


@functools.cache
def _load_model(settings: Settings) -> "UnlossyModel | OnnxModel":
    from unlossy import OnnxModel, load_model

    keep_freed_memory()
    model = load_model(settings.model, settings.device, settings.backend, settings.threads)
    if isinstance(model, OnnxModel):
        return model
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if model.device.type == "cuda":
        device = torch.device("cuda", settings.local_rank % torch.cuda.device_count())
        model.to(device)  # type: ignore[arg-type]  # transformers hides what it takes
    return model
