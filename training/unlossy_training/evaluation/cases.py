"""The clips to measure: recordings, which go through real encoders here, or pairs of a dataset, which already have."""

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import soxr

from unlossy.codecs import CODECS, MP3_BITRATES, decode, encode
from unlossy.metrics import SAMPLING_RATE

from ..conditions import LOSSLESS, UNKNOWN, Condition
from ..corpus.sources_table import read_sources
from ..files import read_audio

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".flac", ".wav")
SHORTEST = 1.0  # [s] that ViSQOL takes


@dataclass(frozen=True)
class Case:
    """One clip through one codec.

    Attributes:
        clip (`str`): its name in the report.
        codec (`str`): one of `CODECS`, `LOSSLESS` or, for pairs, `UNKNOWN`.
        kbps (`int`): nominal bitrate [kbps]; 0 for lossless and unknown.
        path (`Path`): the recording, or the folder or Hub id of the dataset.
        row (`int`, *optional*): number of the row in the split of a dataset.
        split (`str`): name of that split.
        edge_hz (`float`, *optional*): frequencies above it don't count, because a codec had removed them from the
            recording before [Hz].
    """

    clip: str
    codec: str
    kbps: int
    path: Path
    row: int | None = None
    split: str = "validation"
    edge_hz: float | None = None

    def files(self) -> tuple[bytes, bytes | None]:
        """The content of the clean file, and of the degraded one if the clip is a pair.

        Raises:
            ValueError: the file can't be read.
        """
        if self.row is not None:
            pair = _pairs(self.path, self.split)[self.row]
            return pair["clean"]["bytes"], pair["degraded"]["bytes"]
        try:
            return self.path.read_bytes(), None
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    def digest(self) -> str:
        """Hash the content of the files. So a clip keeps its figures when it is renamed, and not when it changes."""
        hashes = (hashlib.sha256(file or b"").digest() for file in self.files())
        return hashlib.sha256(b"".join(hashes)).hexdigest()

    def audio(self) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Read the clean side, and encode and decode it, or decode the degraded side that is there.

        Returns:
            `tuple`: the clean and the degraded side, float32 of shape `(channels, samples)` at 44.1 kHz, aligned to the
                sample; and the real bitrate of the degraded file [kbps], `None` for lossless.

        Raises:
            ValueError: the file is no audio, too short, neither mono nor stereo, has samples that are not finite, or
                the codec can't encode it.
        """
        clean_file, degraded_file = self.files()
        clean, rate = read_audio(clean_file)
        if clean.shape[1] < SHORTEST * rate:
            raise ValueError(f"{clean.shape[1] / rate:.2f} s is too short: it takes {SHORTEST:g} s")
        if not np.isfinite(clean).all():
            raise ValueError("has samples that are NaN or infinite")
        if rate != SAMPLING_RATE:
            clean = np.ascontiguousarray(soxr.resample(clean.T, rate, SAMPLING_RATE, quality="VHQ").T)
        if len(clean) > 2:
            raise ValueError(f"has {len(clean)} channels: only mono and stereo are measured")
        if self.codec == LOSSLESS:
            return clean, clean, None
        try:
            encoded = degraded_file or encode(clean, SAMPLING_RATE, self.codec, self.kbps)
            degraded = decode(encoded, clean.shape[1])
        except av.FFmpegError as error:
            raise ValueError(f"{self.codec} failed: {error}") from error
        if degraded.shape != clean.shape:
            raise ValueError(f"the degraded side has {len(degraded)} channels, the clean one {len(clean)}")
        return clean, degraded, 8 * len(encoded) / 1000 / (clean.shape[1] / SAMPLING_RATE)


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds pairs made by `unlossy-train dataset`."""
    return any(folder.glob("*.parquet"))


def find_recordings(folder: Path, grid: Sequence[Condition]) -> list[Case]:
    """Find the FLAC and WAV files of a folder and its sub-folders, each at all conditions of a grid.

    Their `edge_hz` comes from tables, see `sources_table`.

    Raises:
        ValueError: there are no files, or an edge is no frequency.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} has no {' or '.join(SUFFIXES)} files")
    described = read_sources(files)
    edges = {path: _edge_hz(path, described.get(path.resolve(), {}).get("edge_hz")) for path in files}
    return [
        Case(str(path.relative_to(folder)), codec, kbps, path, edge_hz=edges[path])
        for codec, kbps in grid
        for path in files
    ]


def _edge_hz(path: Path, text: str | None) -> float | None:
    if not text:
        return None
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?", text):
        raise ValueError(
            f"the table of sources says that the edge_hz of {path} is {text!r}, which is no frequency [Hz]"
        )
    return float(text)


def find_pairs(name: Path, split: str = "validation") -> list[Case]:
    """Find the pairs in a split of a dataset. Untouched ones ("identity") count as lossless.

    Bitrates are rounded to the nearest of MP3's. Otherwise each VBR file would have a row of its own in the table.

    Args:
        name (`Path`): folder of pairs, or id of a dataset on the Hub.
        split (`str`, defaults to "validation"): name of the split.

    Raises:
        ValueError: the dataset has no such split.
    """
    pairs = _pairs(name, split)
    flat = pairs.flatten()  # not `pairs` itself, which would read all the audio
    columns = [name for name in ("clean.path", "codec", "bitrate_kbps") if name in flat.column_names]
    cases = []
    for row, pair in enumerate(flat.select_columns(columns)):
        codec, nominal = pair.get("codec", UNKNOWN), pair.get("bitrate_kbps", 0)
        codec = LOSSLESS if codec == "identity" else codec if codec in CODECS else UNKNOWN
        kbps = min(MP3_BITRATES, key=lambda rate: abs(rate - nominal)) if codec in CODECS else 0
        cases.append(Case(pair["clean.path"] or f"row {row}", codec, kbps, name, row, split))
    order = (*CODECS, UNKNOWN, LOSSLESS)
    return sorted(cases, key=lambda case: (order.index(case.codec), case.kbps))


@functools.cache
def _pairs(name: Path, split: str) -> "datasets.Dataset":
    from ..pairs.segments import load_split  # needs the extra `train`, which recordings can do without

    return load_split(str(name), split)
