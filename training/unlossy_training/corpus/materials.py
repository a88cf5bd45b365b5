"""The materials of a corpus: scores, soundfonts, samples and recordings that a request names or that are installed."""

import argparse
import fnmatch
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .recordings import SOURCES, Recording, find_recordings
from .samples import find_samples
from .scores import FEWEST, Piece, composed_pieces, corpus_pieces, midi_pieces
from .synthesis import Soundfont, find_soundfonts

Named = TypeVar("Named", Piece, Recording)


@dataclass(frozen=True)
class Materials:
    """All that a corpus is made of."""

    seed: int
    pieces: Sequence[Piece]
    soundfonts: Sequence[Soundfont]
    samples: Sequence[Recording]
    recordings: Sequence[Recording]
    held: frozenset[str]  # groups that are held back for validation

    def piece(self, number: int) -> Piece:
        """Draw the piece that a render is made of, by the render's number."""
        weights = np.array([piece.weight for piece in self.pieces])
        rng = np.random.default_rng([self.seed, 5, number])
        return self.pieces[int(rng.choice(len(self.pieces), p=weights / weights.sum()))]


@dataclass(frozen=True)
class Place:
    """A file or folder that the user names, with the licence of what no table describes, and with a weight."""

    path: Path
    license: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Request:
    """What a corpus is asked to be made of. The same request gives the same files."""

    midi: Sequence[Place] = ()
    sources: Sequence[tuple[str, Place]] = ()
    soundfonts: Sequence[Place] = ()
    exclude: Sequence[str] = ()
    seed: int = 0
    lossy: bool = False  # whether recordings that have been through a codec at a high bitrate are used
    rendering: bool = True  # whether scores are played and samples arranged; clips are cut from `sources` in any case


def parse_place(text: str) -> Place:
    """Read `PATH[=LICENSE][@WEIGHT]`.

    Raises:
        argparse.ArgumentTypeError: there is no such file or folder, or the weight is not positive.
    """
    path, license, weight = text, "", 1.0
    if not Path(text).exists():  # a path may have such signs in it
        if match := re.fullmatch(r"(.*)@([^@/]*)", text):
            path = match[1]
            try:
                weight = float(match[2])
            except ValueError:
                weight = 0.0
            if not 0 < weight < float("inf"):
                raise argparse.ArgumentTypeError(f"{match[2]!r}, the weight in {text!r}, is not a positive number")
        path, _, license = path.partition("=") if not Path(path).exists() else (path, "", "")
    if not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(f"there is no {path!r}")
    return Place(Path(path), license, weight)


def parse_source(text: str) -> tuple[str, Place]:
    """Read `NAME=PATH[=LICENSE][@WEIGHT]`.

    Raises:
        argparse.ArgumentTypeError: the name is unknown, or the place is wrong, see `parse_place`.
    """
    name, _, place = text.partition("=")
    if name not in SOURCES:
        raise argparse.ArgumentTypeError(f"unknown source {name!r}; write one of {', '.join(SOURCES)}, then =FOLDER")
    return name, parse_place(place)


def gather(request: Request) -> tuple[Materials, list[str]]:
    """Find all that a corpus is made of. Recordings are not examined yet, and nothing is held back.

    Returns:
        `tuple`: the materials, and remarks on them for the user.

    Raises:
        ValueError: FluidSynth, music21 or a soundfont is missing, or a folder is empty.
    """
    soundfonts: Sequence[Soundfont] = ()
    samples: Sequence[Recording] = ()
    pieces: list[Piece] = []
    if request.rendering:
        soundfonts = find_soundfonts(
            (place.path, place.license or "unknown", place.weight) for place in request.soundfonts
        )
        samples, pieces = find_samples(), corpus_pieces()
    recordings = [
        recording
        for source, place in request.sources
        for recording in find_recordings(source, place.path, place.license, place.weight)
    ]
    pieces += [piece for place in request.midi for piece in midi_pieces(place.path, place.license, place.weight)]
    matched: set[str] = set()

    def kept(items: Iterable[Named], paths: Iterable[Path | None]) -> list[Named]:
        """The items whose file name, with or without its suffix, matches no pattern of --exclude."""
        left = []
        for item, path in zip(items, paths, strict=True):
            names = {path.name, path.stem} if path else {item.title}
            hits = {pattern for pattern in request.exclude if any(fnmatch.fnmatch(name, pattern) for name in names)}
            matched.update(hits)
            if not hits:
                left.append(item)
        return left

    samples = kept(samples, [sample.path for sample in samples])
    recordings = kept(recordings, [recording.path for recording in recordings])
    pieces = kept(pieces, [piece.file for piece in pieces])
    if request.rendering:
        pieces += composed_pieces(max(0, FEWEST - len(pieces)), request.seed)
    remarks = [f"--exclude {name} matches nothing" for name in request.exclude if name not in matched]
    if request.rendering and not samples:
        remarks.append("no CC0 samples: Debian's package sonic-pi-samples is not installed")
    return Materials(request.seed, pieces, soundfonts, samples, recordings, frozenset()), remarks


def describe(request: Request, materials: Materials) -> dict[str, Any]:
    """Describe all that decides on the files of a corpus, so that a later run can compare it."""

    def sizes(paths: Iterable[Path]) -> int:
        return zlib.crc32("\n".join(f"{path.name} {path.stat().st_size}" for path in paths).encode())

    def named(place: Place) -> str:
        return f"{place.path.resolve()} {place.license or 'unknown'} {place.weight:g}"

    return {
        "--seed": request.seed,
        "--midi": [named(place) for place in request.midi],
        "--source": [f"{source} {named(place)}" for source, place in request.sources],
        "--soundfont": [named(place) for place in request.soundfonts],
        "--exclude": sorted(request.exclude),
        "--lossy": request.lossy,
        "--no-rendering": not request.rendering,
        "scores": sizes(piece.file for piece in materials.pieces if piece.file),
        "recordings": sizes(recording.path for recording in materials.recordings),
        "samples": sizes(sample.path for sample in materials.samples),
        "soundfonts": sizes(soundfont.path for soundfont in materials.soundfonts),
    }
