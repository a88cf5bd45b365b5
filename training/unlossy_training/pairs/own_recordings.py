"""Makes pairs of a user's own recordings, for `finetune`: splits them, cuts them into clips and encodes these.

    recordings/                                  clean files, to be encoded
    matched/clean/a.wav  matched/degraded/a.mp3  clean and degraded ones, matched by name
    pairs/ or me/pairs                           what `unlossy-train dataset` has made, folder or Hub id: used as it is

Each file is in one split only. The order of the files' hashed names decides in which, so that most files stay in their
split when others are added later.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from unlossy.codecs import BITRATE_RANGES, CODECS, MP3_BITRATES, decode
from unlossy.hub.audio_unlossy import AudioError, AudioReader

from ..conditions import LOSSLESS, UNKNOWN, Condition
from ..corpus.build import examined
from ..corpus.clips import CLIP_SECONDS
from ..corpus.recordings import (
    LOSSY_SUFFIXES,
    SAMPLING_RATE,
    SHORTEST,
    SUFFIXES,
    Recording,
    find_recordings,
    is_silent,
    resample,
    write_flac,
)
from ..files import read_audio, write_whole
from . import dataset
from .making import LARGEST_OFFSET, offset

CLIP = round(CLIP_SECONDS * SAMPLING_RATE)  # [samples]
MOST_CLIPS = {"train": 3000, "validation": 24, "test": 24}
MOST_CONDITIONS = 6  # codecs and bitrates that are taken over from a user's degraded files
IDENTITY_EVERY = 11  # one clip in so many is not encoded, as in the general corpus, so that good audio is left alone
ALIGNED_SECONDS = 30  # of a recording by which the lag of its degraded side is measured
NEEDED = (
    "three or more are needed: to train on, to choose the weights by, and to measure with. Cut a long one into parts"
)


@dataclass(frozen=True)
class Own:
    """A user's recordings before they are cut.

    Attributes:
        recordings (list of `Recording`): the clean ones.
        degraded (`dict`): the path of the degraded side of a recording, by its path, where there is one.
        left_out (list of `str`): why others are not used.
    """

    recordings: list[Recording]
    degraded: dict[Path, Path]
    left_out: list[str]


def is_pairs(name: str) -> bool:
    """Whether an input is a dataset of pairs: a folder with Parquet files or from `save_to_disk`, or a Hub id."""
    folder = Path(name)
    return not folder.is_dir() or any(folder.rglob("*.parquet")) or (folder / "dataset_dict.json").exists()


def conditions_of(folder: Path) -> list[Condition]:
    """Find the most frequent codecs and bitrates of a user's degraded files, the most frequent first.

    Raises:
        ValueError: there is no file in a codec that can be encoded here.
    """
    found: Counter[Condition] = Counter()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in LOSSY_SUFFIXES):
        condition = _condition(path)
        if condition[0] in CODECS:
            found[condition] += 1
    if not found:
        raise ValueError(f"{folder} has no files in {', '.join(CODECS)} to take codec and bitrate from")
    return [condition for condition, _ in found.most_common(MOST_CONDITIONS)]


def _condition(path: Path) -> Condition:
    """The codec of a file and the nearest bitrate that it can be encoded at [kbps]. Other codecs, and files that can't
    be read, are `UNKNOWN`."""
    try:
        with AudioReader(path) as reader:
            codec, bit_rate, channels = reader.codec, reader.bit_rate, reader.channels
    except AudioError:
        return UNKNOWN, 0
    if codec not in CODECS or not bit_rate or channels > 2:
        return UNKNOWN, 0
    kbps = round(bit_rate / 1000)
    if codec == "mp3":
        return codec, min(MP3_BITRATES, key=lambda rate: abs(rate - kbps))
    lowest, highest = BITRATE_RANGES[codec][channels]
    return codec, min(max(8 * round(kbps / 8), lowest), highest)


def find_own(folder: Path) -> Own:
    """Find the recordings of a folder that can be used, with their degraded sides if there are any.

    Raises:
        ValueError: there are fewer than three.
    """
    matched = (folder / "clean").is_dir() and (folder / "degraded").is_dir()
    given = find_recordings("real", folder / "clean" if matched else folder)
    found, bad = examined(given, SHORTEST, os.cpu_count() or 1)
    left_out = [str(error) for error in bad]
    degraded: dict[Path, Path] = {}
    if matched:
        others: dict[str, list[Path]] = {}
        for path in sorted((folder / "degraded").rglob("*")):
            if path.suffix.lower() in SUFFIXES | LOSSY_SUFFIXES:
                others.setdefault(_stem(path, folder / "degraded"), []).append(path)
        for recording in found:
            candidates = others.pop(_stem(recording.path, folder / "clean"), [])
            if len(candidates) == 1:
                degraded[recording.path] = candidates[0]
            else:
                left_out.append(f"{recording.path} has {len(candidates) or 'no'} files of its name in degraded/")
        left_out += [f"{path} has no file of its name in clean/" for paths in others.values() for path in paths]
        found = [recording for recording in found if recording.path in degraded]
    if len(found) < 3:
        reasons = f" (left out: {'; '.join(left_out)})" if left_out else ""
        raise ValueError(f"{folder} has {len(found)} usable recordings, {NEEDED}{reasons}")
    return Own(found, degraded, left_out)


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def split(recordings: Sequence[Recording]) -> dict[Path, str]:
    """Choose the split of each recording: a fifth for the test and a fifth for validation, at least one each, and the
    others for training."""
    names = sorted(recordings, key=lambda one: hashlib.sha256(one.path.name.encode()).digest())
    held = max(1, round(len(names) / 5))
    splits = ["test"] * held + ["validation"] * held + ["train"] * (len(names) - 2 * held)
    return {recording.path: name for recording, name in zip(names, splits, strict=True)}


def build(folder: Path, work: Path, conditions: Sequence[Condition], *, seed: int = 0) -> tuple[Path, dict[str, Any]]:
    """Make pairs of a folder of recordings, or find those that the same call has made before.

    Args:
        folder (`Path`): the recordings, or sub-folders clean/ and degraded/.
        work (`Path`): folder for the clips and the pairs, and nothing else.
        conditions: codecs and bitrates to encode with in turn. Without any, clips are encoded like the general corpus.
        seed (`int`, defaults to 0): decides how clips are encoded if there are no conditions.

    Returns:
        `tuple`: the folder of pairs; and a `dict` with what was `left_out` and with `counts`, see `dataset.build`.

    Raises:
        ValueError: there are too few recordings, or `work` was begun with others.
    """
    own = find_own(folder)
    files = {str(path): path.stat().st_size for one in own.recordings for path in (one.path, own.degraded.get(one.path))
             if path}  # fmt: skip
    plan = {"files": files, "conditions": [list(condition) for condition in conditions], "seed": seed}
    pairs, begun = work / "pairs", work / "plan.json"
    if begun.exists() and json.loads(begun.read_text()) != plan:
        raise ValueError(f"{work} was begun with other recordings, codecs or seed: choose another output")
    if not pairs.exists():
        shutil.rmtree(work, ignore_errors=True)
        (work / "clips").mkdir(parents=True)
        write_whole(begun, json.dumps(plan, indent=1).encode())
        _write_clips(own, work / "clips", conditions)
        dataset.build(work / "clips", pairs, seed=seed, workers=os.cpu_count() or 1)
        shutil.rmtree(work / "clips")
    counts = json.loads((pairs / "counts.json").read_text())
    missing = [name for name in dataset.SPLITS if name not in counts["split"]]
    if missing:
        raise ValueError(f"{folder} gives no pairs for {' and '.join(missing)}: {'; '.join(counts['reasons'][:3])}")
    return pairs, {"left_out": own.left_out, "counts": counts}


def _write_clips(own: Own, folder: Path, conditions: Sequence[Condition]) -> None:
    """Write the clips and clips.csv. If a split would have too many, they are spread evenly over its recordings."""
    splits = split(own.recordings)
    rows: list[dict[str, Any]] = []
    for name, most in MOST_CLIPS.items():
        chosen = [one for one in own.recordings if splits[one.path] == name]
        lengths = [soundfile.info(one.path).duration for one in chosen]
        windows = [(one, n) for one, seconds in zip(chosen, lengths, strict=True)
                   for n in range(max(1, int(seconds / CLIP_SECONDS)))]  # fmt: skip
        kept = [windows[i * len(windows) // most] for i in range(most)] if len(windows) > most else windows
        for recording in chosen:
            numbers = [number for one, number in kept if one is recording]
            try:
                rows += _cut(recording, own.degraded.get(recording.path), numbers, folder, len(rows), name, conditions)
            except ValueError as error:  # its degraded side can't be used
                own.left_out.append(str(error))
    text = io.StringIO(newline="")
    columns = (*dataset.CLIP_COLUMNS, "genre", "attribution", "codec", "bitrate_kbps", "degraded")
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(folder / "clips.csv", text.getvalue().encode())


def _cut(
    recording: Recording,
    degraded_file: Path | None,
    numbers: Sequence[int],
    folder: Path,
    first: int,
    split: str,
    conditions: Sequence[Condition],
) -> list[dict[str, Any]]:
    """Write clips of a recording, and of its degraded side if it has one, and return their rows of clips.csv.

    Args:
        numbers: which windows of `CLIP` samples become clips.
        first (`int`): number of the first clip.
    """
    clean, rate = read_audio(recording.path)
    sides = [clean if rate == SAMPLING_RATE else resample(clean, rate)]
    if degraded_file:
        sides.append(_aligned(sides[0], degraded_file))
    rows: list[dict[str, Any]] = []
    for number in numbers:
        cuts = [side[:, number * CLIP : (number + 1) * CLIP] for side in sides]
        if is_silent(cuts[0]):
            continue
        loudest = max(1.0, *(float(np.abs(cut).max()) for cut in cuts))  # decoded audio may exceed full scale
        count = first + len(rows)
        row: dict[str, Any] = {"file": f"{count:06d}.flac", "source": "own", "title": recording.title, "split": split}
        row |= {"license": recording.license, "genre": recording.genre, "attribution": recording.attribution}
        write_flac(folder / row["file"], cuts[0] / loudest)
        if degraded_file:
            row["degraded"] = f"{count:06d}_degraded.flac"
            write_flac(folder / row["degraded"], cuts[1] / loudest)
            row["codec"], row["bitrate_kbps"] = _condition(degraded_file)
        elif conditions:
            row["codec"], row["bitrate_kbps"] = _recipe(count, conditions, len(cuts[0]))
        rows.append(row)
    return rows


def _recipe(number: int, conditions: Sequence[Condition], channels: int) -> Condition:
    """The codec and bitrate of a clip, by its number: the conditions in turn, within what a codec has for mono or
    stereo."""
    codec, kbps = conditions[number % len(conditions)]
    if codec == LOSSLESS or number % IDENTITY_EVERY == IDENTITY_EVERY - 1:
        return "identity", 0
    lowest, highest = BITRATE_RANGES[codec][channels]
    return codec, min(max(kbps, lowest), highest)


def _aligned(clean: np.ndarray, path: Path) -> np.ndarray:
    """Decode a degraded file, shift it by its measured lag and cut it to the length of the clean side.

    Raises:
        ValueError: it can't be decoded, or has another number of channels.
    """
    audio = decode(path.read_bytes(), clean.shape[1] + LARGEST_OFFSET)
    if len(audio) != len(clean):
        raise ValueError(f"{path} has {len(audio)} channels where the clean side has {len(clean)}")
    middle = max(0, (clean.shape[1] - ALIGNED_SECONDS * SAMPLING_RATE) // 2)
    part = slice(middle, middle + ALIGNED_SECONDS * SAMPLING_RATE)
    lag = offset(clean[:, part], audio[:, : clean.shape[1]][:, part])
    shifted = audio[:, lag:] if lag >= 0 else np.pad(audio, ((0, 0), (-lag, 0)))
    return shifted[:, : clean.shape[1]]
