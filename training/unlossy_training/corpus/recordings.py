"""Recordings to train on: finds and describes them, examines whether they can be used, and groups and cuts them.

Tables describe them, see `sources_table`. Audio is float32 of shape `(channels, samples)` with full scale ±1.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.functional as F

from ..files import write_whole
from .sources_table import read_sources

SAMPLING_RATE = 44_100  # [Hz]
SOURCES = ("music", "real", "singing", "speech", "solo", "rendered")
SUFFIXES = {".flac", ".wav", ".aif", ".aiff", ".aifc", ".au", ".caf", ".rf64", ".w64"}
LOSSY_SUFFIXES = {".aac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wma"}
LOSSLESS_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ALAC_")
LEAST_LOSSY = 46_000  # [bit/s] for each channel of a lossy recording that can be used like an original
SHORTEST = 2.0  # [s]: a clip of 4 s with less would be silent for more than half of its time
SILENCE = -55.0  # [dBFS]: fainter recordings count as silent
VALIDATION_SHARE = 0.05  # of a corpus


@dataclass(frozen=True)
class Recording:
    """One audio file to cut clips from."""

    path: Path
    source: str  # one of SOURCES
    title: str
    license: str
    group: str  # all files of a group are in the same split
    genre: str = ""
    attribution: str = ""
    origin: str = ""
    weight: float = 1.0  # how often it is drawn, compared with others


class UnusableError(ValueError):
    """A file can't be used for training. `kind` is a word or two by which such files are counted; the message names the
    file and the reason."""

    def __init__(self, kind: str, message: str):
        super().__init__(kind, message)  # both, or it can't be pickled on its way from a worker
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message


def group_of(title: str) -> str:
    """Derive from a title the composition or recording that a file belongs to, so that its parts and variations share a
    group."""
    name = re.sub(r"^(th|fd)_", "", title.lower())
    if name.startswith("vctk"):
        return "vctk"  # the file names don't tell the speakers apart
    name = re.sub(r"[ _(]+[a-z]+[ _]remix.*", "", name)  # "Faith (love remix)" is the composition "Faith"
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"(_?\d+|_[a-e])$", "", name))


def find_recordings(source: str, folder: Path, license: str = "", weight: float = 1.0) -> list[Recording]:
    """Find the audio files of a folder, usable or not, and describe them by the nearest table, see `sources_table`.

    Args:
        source (`str`): one of `SOURCES`.
        license (`str`, *optional*): licence of the files that no table describes. Without it, it is "unknown".
        weight (`float`, defaults to 1.0): how often they are drawn, compared with others.

    Raises:
        ValueError: there are no audio files in the folder.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES | LOSSY_SUFFIXES)
    if not paths:
        raise ValueError(f"there are no audio files in {folder}")
    described = read_sources(paths)
    recordings = []
    for path in paths:
        row = described.get(path.resolve(), {})
        recordings.append(
            Recording(
                path=path,
                source=source,
                title=path.stem,
                license=row.get("license") or license or "unknown",
                group=group_of(path.stem),
                genre=row.get("genre") or "",
                attribution=row.get("attribution") or "",
                origin=row.get("origin") or f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}",
                weight=weight,
            )
        )
    return recordings


def examine(path: Path, shortest: float = SHORTEST, lossy: bool = False) -> None:
    """Read a file from beginning to end, and check that it can be used for training.

    Args:
        shortest (`float`, defaults to `SHORTEST`): the shortest length that is accepted [s].
        lossy (`bool`, defaults to `False`): whether lossy files are accepted, from the bitrate `LEAST_LOSSY` up.

    Raises:
        UnusableError: the file is lossy, unreadable, truncated, below 44.1 kHz, too short or silent, or it has more
            than two channels, or samples that are not finite.
    """
    if path.suffix.lower() in LOSSY_SUFFIXES and not lossy:
        raise UnusableError("lossy", f"{path} is a lossy format; lossless audio is needed")
    peak, read = 0.0, 0
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            if not file.subtype.startswith(LOSSLESS_SUBTYPES):
                if not lossy:
                    raise UnusableError("lossy", f"{path} is {file.subtype}; lossless audio is needed")
                bit_rate = 8 * path.stat().st_size * rate / max(frames, 1) / channels
                if bit_rate < LEAST_LOSSY:
                    needed = f"{LEAST_LOSSY / 1000:g} or more are needed"
                    raise UnusableError("lossy", f"{path} has {bit_rate / 1000:.0f} kbps a channel; {needed}")
            if rate < SAMPLING_RATE:
                raise UnusableError("rate too low", f"{path} has {rate} Hz; {SAMPLING_RATE} Hz or more are needed")
            if channels > 2:
                raise UnusableError("too many channels", f"{path} has {channels} channels; 1 or 2 are needed")
            if frames < shortest * rate:
                raise UnusableError("too short", f"{path} has {frames / rate:.2f} s; {shortest} s or more are needed")
            for block in file.blocks(10 * rate, dtype="float32"):
                if not np.isfinite(block).all():
                    raise UnusableError("not finite", f"{path} has samples that are NaN or infinite")
                peak, read = max(peak, float(np.abs(block).max(initial=0.0))), read + len(block)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UnusableError("unreadable", f"{path} can't be read: {error}") from error
    if read < frames:
        raise UnusableError("unreadable", f"{path} breaks off after {read / rate:.2f} of {frames / rate:.2f} s")
    if peak < 10 ** (SILENCE / 20):
        raise UnusableError("silent", f"{path} is silent")


def validation_groups(items: Sequence[tuple[str, str]], seed: int) -> set[str]:
    """Choose the groups that are held back for validation: of each source at least one, with about a twentieth of its
    items.

    Args:
        items (sequence of `tuple`): source and group of every recording or score.
        seed (`int`): decides on the choice.
    """
    rng = np.random.default_rng([seed, 1])
    held: set[str] = set()
    for source in sorted({source for source, _ in items}):
        counts: dict[str, int] = {}
        for other, group in items:
            if other == source:
                counts[group] = counts.get(group, 0) + 1
        if len(counts) < 2:
            continue  # a single group is needed for training
        wanted = max(1.0, VALIDATION_SHARE * sum(counts.values()))
        taken = sum(count for group, count in counts.items() if group in held)
        # A group with a large part of a source's files would leave too little to train on.
        fitting = [group for group in sorted(counts) if counts[group] <= 0.2 * sum(counts.values())]
        for group in rng.permutation(fitting or [min(counts, key=lambda name: counts[name])]):
            if taken >= wanted:
                break
            if group not in held:
                held.add(str(group))
                taken += counts[group]
    return held


def cut(path: Path, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random part out of a recording: float32 of shape `(2, frames)` at 44.1 kHz.

    A mono file gives two equal channels, and one that is too short is padded with silence.

    Raises:
        OSError: the file has changed since it was examined.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            needed = -(-frames * rate // SAMPLING_RATE)
            start = int(rng.integers(max(1, file.frames - needed + 1)))
            margin = 0 if rate == SAMPLING_RATE else rate // 20  # for the resampler to start and end in
            first = max(0, start - margin)
            file.seek(first)
            audio = file.read(start - first + needed + margin, dtype="float32", always_2d=True).T
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path} was whole when the build began, and can't be read now: {error.error_string}") from error
    if rate != SAMPLING_RATE:
        audio = resample(audio, rate)[:, round((start - first) * SAMPLING_RATE / rate) :]
    audio = np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio
    audio = audio[:, :frames]
    return np.pad(audio, ((0, 0), (0, frames - audio.shape[1])))


def resample(audio: np.ndarray, rate: float) -> np.ndarray:
    """Resample audio `(channels, samples)` to 44.1 kHz, with a gentle edge from 18 to 22 kHz.

    The usual steep edge of a resampler (soxr's is near 21.3 kHz) would be in every such clip, and a model would learn
    it.

    Args:
        rate (`float`): the sampling rate of `audio` [Hz]. It is rounded to hundreds, because the resampler's kernel
            grows with the denominator of the ratio of the rates, to some 30 GB at 44 101 Hz.
    """
    rate = 100 * round(rate / 100)
    return F.resample(torch.from_numpy(audio), rate, SAMPLING_RATE, lowpass_filter_width=16, rolloff=0.91).numpy()


def is_silent(audio: np.ndarray) -> bool:
    """Whether audio is silent: below `SILENCE` throughout, or more than 45 dB below its loudest frame of 0.1 s for more
    than half of the time."""
    frames = audio[:, : audio.shape[1] // 4410 * 4410].reshape(-1, audio.shape[1] // 4410, 4410)
    levels = np.sqrt(np.mean(frames**2, axis=(0, 2)))
    return bool(levels.max() < 10 ** (SILENCE / 20) or np.mean(levels > levels.max() * 10 ** (-45 / 20)) < 0.5)


def write_flac(path: Path, audio: np.ndarray) -> None:
    """Write audio `(channels, samples)` at 44.1 kHz as 16-bit FLAC, complete or not at all.

    Raises:
        OSError: the file can't be written.
    """
    write_whole(path, flac(audio))  # libsndfile itself would not say that a disk is full


def flac(audio: np.ndarray) -> bytes:
    """Encode audio `(channels, samples)` at 44.1 kHz as 16-bit FLAC, and return the file."""
    data = io.BytesIO()
    soundfile.write(data, audio.T, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return data.getvalue()


def joined(values: Iterable[str]) -> str:
    """Licences, titles, attributions … of what a clip is made of, each once, as one cell of a table."""
    return " + ".join(dict.fromkeys(part for value in values for part in value.split(" + ") if part))
