"""Decides which files are restored, and where each result goes. It looks at names only, and opens no audio."""

import contextlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

OUTPUT_FORMATS = ("wav", "flac", "mp3", "opus", "m4a")
LOSSLESS_BIT_DEPTHS = {"wav": ("16", "24", "32f"), "flac": ("16", "24")}
DEFAULT_FORMAT = "flac"

# The suffixes of files that a folder is searched for. A file that the user names is tried whatever its suffix.
AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("aa3", "aac", "ac3", "adts", "adx", "aif", "aifc", "aiff", "amr", "ape", "at3", "au", "awb", "bwf", "caf"),
        *("dts", "dtshd", "eac3", "f4a", "flac", "gsm", "m4a", "m4b", "m4r", "mka", "mlp", "mp1", "mp2", "mp3", "mpa"),
        *("mpc", "oga", "ogg", "oma", "opus", "ra", "rf64", "shn", "snd", "sph", "spx", "tak", "thd", "truehd", "tta"),
        *("voc", "w64", "wav", "wave", "weba", "wma", "wv"),
        # Recorders, browsers and cameras put sound into these as well.
        *("3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf"),
        *("nut", "ogv", "ogx", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv", "wtv"),
    )
)
STANDARD = Path("-")  # standard input or output, as for FFmpeg and sox. A file of this name is given as ./-
RESTORED_MARK = ".restored"  # in the names of outputs beside their inputs, by which a later run recognises them


@dataclass(frozen=True)
class Job:
    """One file to restore, and where the result goes."""

    input: Path
    output: Path


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        job (`Job`): what was to be done.
        error (`str`, *optional*): one sentence that names the file, or `None` after success.
        fatal (`bool`): whether no other file can succeed either, for instance without a model.
        warnings (`tuple` of `str`): sentences on what is odd in a file that was restored.
        skipped (`bool`): whether its result was there before.
    """

    job: Job
    error: str | None = None
    fatal: bool = False
    warnings: tuple[str, ...] = ()
    skipped: bool = False


class Plan(NamedTuple):
    """What a run will do, with `errors`, sentences on inputs that can't be restored, and `warnings` about others."""

    jobs: list[Job]
    errors: list[str]
    warnings: list[str]


class UsageError(ValueError):
    """The arguments contradict each other or the files. Nothing was started."""


def call(path: Path) -> str:
    """How sentences name an input. The second slash of a URL, which a `Path` drops, is put back."""
    return "standard input" if path == STANDARD else re.sub("^([a-z]{2,}):/", r"\1://", str(path))


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether this is a named pipe, or what a shell has for `>(…)`."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_taken(output: Path, overwrite: bool) -> bool:
    """Whether a file is in the way of an output."""
    return os.path.lexists(output) and not overwrite and not is_pipe(output)


@contextlib.contextmanager
def offer_partial() -> Iterator[None]:
    """Add the way out to the sentence on a file of which much is missing, for commands with that option."""
    from unlossy.hub.audio_unlossy import TruncatedError

    try:
        yield
    except TruncatedError as error:
        raise ValueError(f"{error}; add --partial to take what is there") from error


def choose_format(inputs: Sequence[Path], output: str | None, wanted: str | None, bit_depth: str | None) -> str:
    """Choose the output format: the one that is asked for, that of the output's suffix, WAV for a pipe, or
    FLAC.

    Args:
        inputs (sequence of `Path`): the files and folders to restore.
        output (`str`, *optional*): the value of -o.
        wanted (`str`, *optional*): the value of --format.
        bit_depth (`str`, *optional*): the value of --bit-depth, which the format must have.

    Raises:
        UsageError: format, suffix and bit depth contradict each other.
    """
    to_pipe = output is not None and (output == str(STANDARD) or (is_pipe(output) and not _suffix(output)))
    chosen = wanted or ("wav" if to_pipe else DEFAULT_FORMAT)
    if output is not None and not to_pipe and not _is_folder_name(inputs, output):
        suffix = _suffix(output)
        if suffix not in OUTPUT_FORMATS:
            raise UsageError(
                f"{output}: cannot write {suffix!r} files; choose one of {', '.join(OUTPUT_FORMATS)}, "
                "or end the name with / if it is a folder"
            )
        if wanted not in (None, suffix):
            raise UsageError(f"{output}: the name asks for {suffix}, but --format for {wanted}; give one of them")
        chosen = suffix
    if bit_depth is not None and bit_depth not in LOSSLESS_BIT_DEPTHS.get(chosen, ()):
        possible = ", ".join(LOSSLESS_BIT_DEPTHS.get(chosen, ())) or "no --bit-depth"
        raise UsageError(f"--bit-depth {bit_depth} does not fit the output format {chosen}, which takes {possible}")
    return chosen


def plan_jobs(inputs: Sequence[Path], output: str | None, audio_format: str) -> Plan:
    """List every file to restore with its output, in an order that is the same on every machine.

    Args:
        inputs (sequence of `Path`): files and folders. Folders are searched with their sub-folders.
        output (`str`, *optional*): a folder; or, for a single input file, a file or "-" for standard output. Without
            it, results go beside their inputs.
        audio_format (`str`): one of `OUTPUT_FORMATS`.

    Raises:
        UsageError: there is nothing to do, or the output can't have this name.
    """
    if STANDARD in inputs or output == str(STANDARD):
        return Plan([_plan_standard(inputs, output)], [], [])
    if output is not None and not _is_folder_name(inputs, output):
        plan = Plan([Job(inputs[0], Path(output))], [], [])
    else:
        folder = None if output is None else Path(output)
        if output is not None:
            _check_folder(output)
        plan = _plan_into_folder(inputs, folder, audio_format)
    _check_outputs(plan)
    if not plan.jobs and not plan.errors:
        raise UsageError(plan.warnings[0])
    return plan


def _is_folder_name(inputs: Sequence[Path], output: str) -> bool:
    """Whether -o names a folder: always for several results, and for one if the name looks like a folder's."""
    if len(inputs) > 1 or (inputs[0] != STANDARD and os.path.isdir(inputs[0])):
        return True
    if is_pipe(output):
        return False
    return _ends_in_slash(output) or Path(output).is_dir() or not _suffix(output)


def _suffix(name: str) -> str:
    """The suffix of a name that stands for a format, in lower case, or "" if there is none, as in "Mr. Song vol. 2"."""
    suffix = Path(name).suffix.lower().removeprefix(".")
    return suffix if suffix.isalnum() and not suffix.isdecimal() else ""


def _plan_standard(inputs: Sequence[Path], output: str | None) -> Job:
    """Plan the one job that reads standard input or writes standard output."""
    if len(inputs) > 1 or (inputs[0] != STANDARD and os.path.isdir(inputs[0])):
        raise UsageError("-: standard input and output take one file, not several; give it alone")
    if output is None or (output != str(STANDARD) and _is_folder_name(inputs, output)):
        raise UsageError("-: standard input has no name for its result; give one with -o, or -o - for standard output")
    return Job(inputs[0], Path(output))


def _ends_in_slash(name: str) -> bool:
    return name.endswith(("/", os.sep))


def _check_folder(output: str) -> None:
    folder = Path(output)
    if folder.is_dir():
        return
    if folder.exists():
        raise UsageError(f"{output}: is a file, but the results need a folder; choose another name")
    if not _ends_in_slash(output) and folder.suffix.lower().removeprefix(".") in OUTPUT_FORMATS:
        raise UsageError(
            f"{output}: is the name of a file, but the results of several inputs need a folder; "
            "end the name with / if it is one"
        )


def _real(path: Path) -> Path:
    # Unlike Path.resolve and Path.is_dir, the functions of os.path raise no error for a name that is too long or a link
    # to itself. Such a file fails in its turn, and the others are restored.
    return Path(os.path.realpath(path))


def _plan_into_folder(inputs: Sequence[Path], folder: Path | None, audio_format: str) -> Plan:
    jobs: dict[Path, Job] = {}  # by real path: a file named twice is restored once
    plan = Plan([], [], [])
    for given in inputs:
        is_folder, before = os.path.isdir(given), len(plan.errors)
        found = list(search(given, folder, plan.errors)) if is_folder else [given]
        if not found and len(plan.errors) == before:
            plan.warnings.append(f"{given}: no audio files in this folder")
        for path in found:
            below = path.parent.relative_to(given) if is_folder else Path()
            parent = path.parent if folder is None else folder / below
            mark = RESTORED_MARK if _real(parent) == _real(path.parent) else ""
            jobs.setdefault(_real(path), Job(path, parent / f"{path.stem}{mark}.{audio_format}"))
    uses = Counter(_real(job.output) for job in jobs.values())
    for job in jobs.values():
        if uses[_real(job.output)] > 1:  # song.mp3 and song.wav: their suffixes tell them apart
            name = f"{job.input.name}{job.output.name.removeprefix(job.input.stem)}"
            job = Job(job.input, job.output.with_name(name))
        plan.jobs.append(job)
    return plan


def search(root: Path, output_folder: Path | None, unreadable: list[str]) -> Iterator[Path]:
    """Yield the audio files below a folder, without hidden ones and without the results of an earlier run.

    Args:
        root (`Path`): the folder.
        output_folder (`Path`, *optional*): the folder for results, which is not searched.
        unreadable (list of `str`): gets a sentence for each folder that can't be read.
    """
    results = None if output_folder is None else _real(output_folder)

    def on_error(error: OSError) -> None:
        unreadable.append(f"{error.filename}: {error.strerror}")

    for name, folders, files in os.walk(root, onerror=on_error):
        parent = Path(name)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and _real(parent / f) != results)
        for file in sorted(files):
            path = parent / file
            is_result = path.stem.endswith(RESTORED_MARK)
            if path.suffix.lower() in AUDIO_SUFFIXES and not file.startswith(".") and not is_result:
                if is_pipe(path):  # nobody may ever write into it
                    unreadable.append(f"{path}: is a pipe, which is read only if you name it")
                else:
                    yield path


def _check_outputs(plan: Plan) -> None:
    """Turn jobs whose output is an input, or the output of an earlier job, into errors."""
    inputs = {_real(job.input) for job in plan.jobs}
    taken: dict[Path, Path] = {}
    for job in list(plan.jobs):
        output = _real(job.output)
        if output in inputs:
            error = f"{job.output}: this output is also an input; choose another one with -o"
        elif output in taken:
            error = (
                f"{job.input} and {taken[output]} would both be written to {job.output}; "
                "rename one of them, or restore them into different folders"
            )
        else:
            taken[output] = job.input
            continue
        plan.jobs.remove(job)
        plan.errors.append(error)
