"""Pairs: columns, alignment, rejection and determinism."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("datasets")
from datasets import load_dataset

from unlossy.degradation import decode
from unlossy_training import dataset

RATE = dataset.SAMPLING_RATE


def write_clips(folder: Path, count: int, rate: int = RATE) -> None:
    """Clips of 0.7 s: a chord with decaying noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(int(0.7 * rate)) / rate
    rows = []
    for number in range(count):
        chord = np.sin(2 * np.pi * np.outer(time, rng.uniform(200, 2000, 3))).sum(axis=1, keepdims=True)
        audio = 0.1 * chord + rng.normal(0, 0.1, (len(time), 2)) * np.exp(-6 * (time % 0.25))[:, None]
        name = f"{number:06d}.flac"
        soundfile.write(folder / name, np.clip(audio, -1, 1), rate, subtype="PCM_16")
        split = "validation" if number % 5 == 0 else "train"
        rows.append([name, "rendered", f"piece {number}", "CC0-1.0", split])
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "source", "title", "license", "split"], *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    write_clips(path / "clips", 20)
    return path


@pytest.fixture(scope="module")
def counts(folder: Path) -> dict[str, dict[str, int]]:
    return dataset.build(folder / "clips", folder / "pairs", workers=1)


def test_columns_and_alignment(folder: Path, counts: dict[str, dict[str, int]]) -> None:
    pairs = load_dataset(str(folder / "pairs"), cache_dir=str(folder / "cache"))
    assert counts["split"] == {"train": len(pairs["train"]), "validation": len(pairs["validation"])}
    assert sum(counts["split"].values()) + sum(counts["rejected"].values()) == 20
    assert set(pairs["train"].column_names) == set(dataset.FEATURES)
    for row in pairs["train"]:
        clean = soundfile.read(io.BytesIO(row["clean"]["bytes"]), dtype="float32")[0].T
        degraded = decode(row["degraded"]["bytes"], clean.shape[1])
        assert dataset.offset(clean, degraded) == 0
        if row["codec"] == "identity":
            assert row["bitrate_kbps"] == 0
            np.testing.assert_array_equal(clean, degraded)
        else:
            assert row["bitrate_kbps"] in dataset.BITRATE_WEIGHTS[row["codec"]]
            assert len(row["degraded"]["bytes"]) < len(row["clean"]["bytes"])
    titles = [set(pairs[split]["title"]) for split in ("train", "validation")]
    assert not titles[0] & titles[1]


def test_same_seed_same_pair(folder: Path) -> None:
    clip = dataset.read_clips(folder / "clips")[3]
    for seed in range(3):
        first, again = (dataset.make_pair(clip, folder / "clips", seed=seed) for _ in range(2))
        # Ogg files carry a random serial number: what counts is the sound.
        sounds = [decode(pair.pop("degraded")["bytes"], 20_000) for pair in (first, again)]
        np.testing.assert_array_equal(sounds[0], sounds[1])
        assert first == again
    drawn = {dataset.make_pair(clip, folder / "clips", seed=seed)["codec"] for seed in range(12)}
    assert len(drawn) > 1


@pytest.mark.parametrize("lag", [-1500, -1, 0, 1, 1105])
def test_offset_finds_the_lag(lag: int) -> None:
    clean = np.random.default_rng(0).normal(0, 0.1, (2, 30_000))
    assert dataset.offset(clean, np.roll(clean, lag, axis=1)) == lag


def test_misaligned_pairs_are_rejected_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clips(tmp_path / "clips", 6)
    monkeypatch.setattr(dataset, "decode", lambda data, frames: np.roll(decode(data, frames), 3, axis=1))
    monkeypatch.setattr(dataset, "draw_recipe", lambda rng: dataset.Recipe("mp3", 64, "joint"))
    counts = dataset.build(tmp_path / "clips", tmp_path / "pairs", workers=1)
    assert counts["rejected"] == {"mp3 64": 6}
    assert not counts["split"]


def test_errors_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no clips\.csv .*corpus clips"):
        dataset.build(tmp_path, tmp_path / "pairs")
    write_clips(tmp_path / "wrong", 1, rate=48_000)
    with pytest.raises(ValueError, match="48000 Hz; clips need 44100 Hz"):
        dataset.build(tmp_path / "wrong", tmp_path / "pairs", workers=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train-00000.parquet").touch()
    with pytest.raises(ValueError, match="already holds a dataset"):
        dataset.build(tmp_path / "wrong", tmp_path / "full")
