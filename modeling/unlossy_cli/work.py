"""Restores one file, in whichever process. Here the command line calls the package."""

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
    """What is the same for all files of a run. For most fields see `unlossy restore --help`.

    Attributes:
        local_rank (`int`): number of this process on its machine, which chooses the GPU.
        threads (`int`, *optional*): number of PyTorch's threads. Without it, PyTorch chooses.
    """

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
    threads: int | None = None


def find_problem(job: Job) -> str | None:
    """Describe a problem that shows without opening the audio, before anything heavy is loaded; `None` if there is
    none."""
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
        # The reader has a better sentence for a URL.
        return f"no such file: {job.input}" if ":" not in str(job.input) else None
    except OSError as error:
        return describe(error)
    return None


def restore_file(job: Job, settings: Settings, progress: Callable[[float], None]) -> Outcome:
    """Restore one file. What goes wrong with it is returned and not raised, so that the next file has its turn.

    Args:
        progress (callable): is told the share of the file that is done, from 0 to 1.
    """
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

    # The file is opened first, so that a mistake in it shows before the model is loaded and a folder is made.
    source = sys.stdin.buffer if job.input == STANDARD else job.input
    strict, partial = settings.strict, settings.partial
    with offer_partial(), AudioReader(source, track=settings.track, strict=strict, partial=partial) as reader:
        try:
            model = _load_model(settings)
        except (ValueError, OSError, ImportError) as error:
            return Outcome(job, describe(error), fatal=True)
        except Exception as error:  # safetensors and PyTorch have their own for weights that don't fit
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Outcome(job, f"{settings.model or 'the shipped model'} cannot be loaded: {reason}", fatal=True)
        with contextlib.suppress(FileExistsError, NotADirectoryError):  # the writer says that a file is in the way
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
    """Give the file to write. For standard output this is a temporary one, which is copied when it is complete, because
    its header is only known then."""
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
