"""Recordings to train on: finding and describing them, telling the unusable from the usable, grouping and cutting them.

What they are is told by tables, see `sources_table`. Arrays are float32 of shape `(channels, samples)`, full scale ±1.
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
LEAST_LOSSY = 46_000  # [bit/s a channel] of a lossy recording that is good enough to stand for its original
SHORTEST = 2.0  # [s] a clip of 4 s would be silent for more than half of its time
SILENCE = -55.0  # [dBFS]
VALIDATION_SHARE = 0.05


@dataclass(frozen=True)
class Recording:
    """One audio file to cut clips from."""

    path: Path
    source: str  # one of SOURCES
    title: str
    license: str
    group: str  # files of one group never stand on both sides of the split
    genre: str = ""
    attribution: str = ""
    origin: str = ""
    weight: float = 1.0  # how often it is drawn, compared with others


class UnusableError(ValueError):
    """A file that can't be trained on. `kind` is a word or two to count it by; the message names file and reason."""

    def __init__(self, kind: str, message: str):
        super().__init__(kind, message)  # both, or it can't be pickled on its way from a worker
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message


def group_of(title: str) -> str:
    """The composition or recording that a file belongs to: parts and variations of one thing share a group."""
    name = re.sub(r"^(th|fd)_", "", title.lower())
    if name.startswith("vctk"):
        return "vctk"  # the file names don't tell the speakers apart
    name = re.sub(r"[ _(]+[a-z]+[ _]remix.*", "", name)  # "Faith (love remix)" is the composition "Faith"
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"(_?\d+|_[a-e])$", "", name))


def find_recordings(source: str, folder: Path, license: str = "", weight: float = 1.0) -> list[Recording]:
    """The audio files of a folder, described by the nearest SOURCES.csv; good ones and bad ones, see `examine`.

    Args:
        source (`str`): what they are, see `Recording`.
        license (`str`, *optional*): of the files that no table describes; "unknown" if not given.

    Raises:
        ValueError: a folder without audio files.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES | LOSSY_SUFFIXES)
    if not paths:
        raise ValueError(f"There are no audio files in {folder}.")
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
    """Read a file from beginning to end, and see whether it can be trained on.

    Args:
        lossy (`bool`, defaults to `False`): lossy files are good enough, too, from `LEAST_LOSSY` up.

    Raises:
        UnusableError: lossy, unreadable or truncated, below 44.1 kHz, more than two channels, shorter than `shortest`
            [s], with NaN or infinite samples, or silent.
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
    """Groups to hold back for validation: per source at least one, and about a twentieth of its items.

    Args:
        items (of `tuple`): source and group of every recording or score.
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
    """A random cut of shape `(2, frames)` at 44.1 kHz, dual mono for a mono file, padded with silence if too short.

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
    """Resample from `rate` [Hz], taken to the nearest 100, to 44.1 kHz with a gentle edge from 18 to 22 kHz.

    A resampler's usual steep edge (soxr's lies near 21.3 kHz) would be in every such clip, and a model would learn it.
    The nearest 100, since a kernel grows with the smallest ratio of the rates: to some 30 GB for 44 101 Hz.
    """
    rate = 100 * round(rate / 100)
    return F.resample(torch.from_numpy(audio), rate, SAMPLING_RATE, lowpass_filter_width=16, rolloff=0.91).numpy()


def is_silent(audio: np.ndarray) -> bool:
    """Whether less than half of the 0.1 s frames is within 45 dB of the loudest, or all is near nothing."""
    frames = audio[:, : audio.shape[1] // 4410 * 4410].reshape(-1, audio.shape[1] // 4410, 4410)
    levels = np.sqrt(np.mean(frames**2, axis=(0, 2)))
    return bool(levels.max() < 10 ** (SILENCE / 20) or np.mean(levels > levels.max() * 10 ** (-45 / 20)) < 0.5)


def write_flac(path: Path, audio: np.ndarray) -> None:
    """Write `(channels, samples)` as 16-bit FLAC, 44.1 kHz; the file gets its name when it is whole.

    Raises:
        OSError: the disk is full, for instance.
    """
    write_whole(path, flac(audio))  # libsndfile itself would not say that a disk is full


def flac(audio: np.ndarray) -> bytes:
    """`(channels, samples)` as a file, 16-bit FLAC, 44.1 kHz."""
    data = io.BytesIO()
    soundfile.write(data, audio.T, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return data.getvalue()


def joined(values: Iterable[str]) -> str:
    """Licences, titles, attributions … of what a clip is made of, each once, as one cell of a table."""
    return " + ".join(dict.fromkeys(part for value in values for part in value.split(" + ") if part))
