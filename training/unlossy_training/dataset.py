"""Pairs of clean and degraded audio as a `datasets` dataset.

    python -m unlossy_training.dataset --clips clips/ --output pairs/
    datasets.load_dataset("pairs/")  # splits "train" and "validation"

The clean side is kept losslessly (FLAC), the degraded side as the compressed file itself: small, real, and decoded on
load (`unlossy.degradation.decode`). Encoding is the expensive half of that work, so it is done once, here. In a share
of the pairs both sides are the same, so that a model learns to leave good audio alone.
"""

import argparse
import contextlib
import csv
import functools
import io
import json
import multiprocessing
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Dataset, Features, Value
from datasets.utils.logging import disable_progress_bar

from unlossy.degradation import decode, encode

SAMPLING_RATE = 44_100  # [Hz]
AUDIO_FEATURE = {"bytes": Value("binary"), "path": Value("string")}  # what `Audio(decode=False)` can be cast from
FEATURES = Features(
    {
        "clean": AUDIO_FEATURE,
        "degraded": AUDIO_FEATURE,
        "codec": Value("string"),  # "mp3", "aac", "vorbis", "opus", or "identity"
        "bitrate_kbps": Value("int32"),  # nominal; 0 for identity
        "mode": Value("string"),  # "joint", "stereo" or "mono"
        "source": Value("string"),
        "title": Value("string"),
        "license": Value("string"),
        "split": Value("string"),
    }
)
CODEC_SHARES = {"mp3": 0.62, "aac": 0.10, "vorbis": 0.08, "opus": 0.08, "identity": 0.12}
BITRATE_WEIGHTS: dict[str, dict[int, float]] = {  # [kbps]
    "mp3": {
        24: 3, 32: 10, 40: 6, 48: 12, 56: 6, 64: 16, 80: 8, 96: 14, 112: 5, 128: 12, 160: 3, 192: 3, 256: 1, 320: 1,
    },
    "aac": {32: 1, 48: 1, 64: 1, 96: 1, 128: 1, 160: 1},
    "vorbis": {64: 1, 80: 1, 96: 1, 128: 1, 160: 1},
    "opus": {32: 1, 48: 1, 64: 1, 96: 1, 128: 1},
}  # fmt: skip
FILE_SUFFIXES = {"mp3": "mp3", "aac": "m4a", "vorbis": "ogg", "opus": "opus", "identity": "flac"}
LARGEST_OFFSET = 4096  # [samples] searched on each side
SHARD_ROWS = 500


@dataclass(frozen=True)
class Recipe:
    """How one clip is degraded."""

    codec: str
    bitrate_kbps: int
    mode: str


def draw_recipe(rng: np.random.Generator) -> Recipe:
    """A codec, bitrate and stereo mode at random."""
    codec = str(rng.choice(list(CODEC_SHARES), p=list(CODEC_SHARES.values())))
    if codec == "identity":
        return Recipe(codec, 0, "stereo")
    weights = np.array(list(BITRATE_WEIGHTS[codec].values()), dtype=float)
    bitrate = int(rng.choice(list(BITRATE_WEIGHTS[codec]), p=weights / weights.sum()))
    return Recipe(codec, bitrate, "stereo" if codec == "mp3" and rng.random() < 0.1 else "joint")


def offset(clean: np.ndarray, degraded: np.ndarray) -> int:
    """By how many samples `degraded` lags behind `clean`, from the peak of their cross-correlation.

    The cross-spectrum is half whitened, because the bass alone makes too broad a peak.

    Args:
        clean, degraded (`np.ndarray` of shape `(channels, samples)`): of the same length.
    """
    samples = clean.shape[-1]
    size = 1 << (samples + LARGEST_OFFSET).bit_length()
    spectra = [np.fft.rfft(audio.sum(axis=0), n=size) for audio in (clean, degraded)]
    if min(np.abs(spectrum).max() for spectrum in spectra) < 1e-3:  # opposite channels
        spectra = [np.fft.rfft(audio[0], n=size) for audio in (clean, degraded)]
    cross = np.conj(spectra[0]) * spectra[1]
    correlation = np.fft.irfft(cross / np.sqrt(np.abs(cross) + 1e-12))
    around = np.concatenate([correlation[-LARGEST_OFFSET:], correlation[: LARGEST_OFFSET + 1]])
    return int(np.argmax(around)) - LARGEST_OFFSET


def make_pair(clip: dict[str, str], folder: Path, seed: int) -> dict[str, Any]:
    """One row of the dataset, with the key `rejected` where the degraded side isn't aligned with the clean one.

    Raises:
        ValueError: the clip isn't at 44.1 kHz.
    """
    path = folder / clip["file"]
    data = path.read_bytes()
    frames, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    if rate != SAMPLING_RATE:
        raise ValueError(f"{path} has {rate} Hz; clips need {SAMPLING_RATE} Hz.")
    clean = np.ascontiguousarray(frames.T)
    # The file's number seeds, not its place in the list: a longer list changes nothing for the first clips.
    recipe = draw_recipe(np.random.default_rng([seed, 3, *path.stem.encode()]))
    degraded, measured = data, 0
    if recipe.codec != "identity":
        degraded = encode(clean, rate, recipe.codec, recipe.bitrate_kbps, joint_stereo=recipe.mode == "joint")
        measured = offset(clean, decode(degraded, clean.shape[1]))
    return {
        "clean": {"bytes": data, "path": path.name},
        "degraded": {"bytes": degraded, "path": f"{path.stem}.{FILE_SUFFIXES[recipe.codec]}"},
        "codec": recipe.codec,
        "bitrate_kbps": recipe.bitrate_kbps,
        "mode": recipe.mode if len(clean) == 2 else "mono",
        **{name: clip[name] for name in ("source", "title", "license", "split")},
        "rejected": measured != 0,
    }


def read_clips(folder: Path) -> list[dict[str, str]]:
    """The rows of clips.csv: file, source, title, license, split.

    Raises:
        ValueError: there is none, or it is empty.
    """
    table = folder / "clips.csv"
    if not table.exists():
        raise ValueError(
            f"There is no clips.csv in {folder}; make clips with `python -m unlossy_training.corpus clips`."
        )
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{table} lists no clips.")
    return rows


def build(clips: Path, output: Path, *, seed: int = 0, workers: int = 2) -> dict[str, Any]:
    """Encode the clips of a folder and write the pairs as Parquet shards, named so that `load_dataset` sees the splits.

    Returns:
        `dict`: counts by split, source, codec, and of rejected pairs by codec; also written to `counts.json`.

    Raises:
        ValueError: no clips, a clip at another rate, or `output` already has shards.
    """
    rows = read_clips(clips)
    if list(output.glob("*.parquet")):
        raise ValueError(f"{output} already holds a dataset; choose another folder or delete it.")
    output.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("split", "source", "codec", "rejected")}
    waiting: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    shards: Counter[str] = Counter()

    def flush(split: str) -> None:
        if waiting[split]:
            Dataset.from_list(waiting[split], features=FEATURES).to_parquet(
                output / f"{split}-{shards[split]:05d}.parquet", batch_size=50
            )
            shards[split] += 1
            waiting[split] = []

    work = functools.partial(make_pair, folder=clips, seed=seed)
    with multiprocessing.Pool(workers) if workers > 1 else contextlib.nullcontext() as pool:
        for pair in pool.imap(work, rows, chunksize=4) if pool else map(work, rows):
            if pair.pop("rejected"):
                counts["rejected"][f"{pair['codec']} {pair['bitrate_kbps']}"] += 1
                continue
            for name in ("split", "source", "codec"):
                counts[name][pair[name]] += 1
            waiting[pair["split"]].append(pair)
            if len(waiting[pair["split"]]) == SHARD_ROWS:
                flush(pair["split"])
    for split in waiting:
        flush(split)
    result = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
    (output / "counts.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="unlossy_training.dataset", description="Encode clips into training pairs.")
    parser.add_argument("--clips", type=Path, required=True, help="folder made by `unlossy_training.corpus clips`")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    disable_progress_bar()
    try:
        print(json.dumps(build(options.clips, options.output, seed=options.seed, workers=options.workers)))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
