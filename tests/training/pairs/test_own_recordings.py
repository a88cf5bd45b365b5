"""Pairs from a user's own recordings: splits, codecs taken over, sides matched and aligned."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE, clip

from unlossy.codecs import encode
from unlossy_training.corpus.recordings import find_recordings
from unlossy_training.pairs import own_recordings
from unlossy_training.pairs.making import decode_pair
from unlossy_training.pairs.segments import load_split


def write(folder: Path, count: int, seconds: float = 8.5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        soundfile.write(folder / f"take_{number}.flac", clip(seconds, seed=number).T, RATE)
    return folder


def test_splits(tmp_path: Path) -> None:
    """A recording is in one split and mostly stays there when others are added."""
    splits = own_recordings.split(find_recordings("real", write(tmp_path, 10, seconds=2)))
    assert Counter(splits.values()) == {"train": 6, "validation": 2, "test": 2}
    write(tmp_path, 11, seconds=2)
    later = own_recordings.split(find_recordings("real", tmp_path))
    assert sum(later[path] == name for path, name in splits.items()) >= 8
    smallest = own_recordings.split(find_recordings("real", tmp_path)[:3])
    assert sorted(smallest.values()) == ["test", "train", "validation"]


def test_clean_files_are_encoded_as_asked(tmp_path: Path) -> None:
    write(tmp_path / "own", 6)
    (tmp_path / "own" / "old.mp3").write_bytes(encode(clip(3, seed=9), RATE, "mp3", 64))
    soundfile.write(tmp_path / "own" / "mono.wav", clip(8.5, 1, seed=20).T, RATE)
    conditions = [("mp3", 64), ("vorbis", 320)]
    pairs, made = own_recordings.build(tmp_path / "own", tmp_path / "work", conditions)
    assert [reason.split("/")[-1] for reason in made["left_out"]] == [
        "old.mp3 is a lossy format; lossless audio is needed"
    ]
    assert made["counts"]["split"] == {"test": 2, "train": 10, "validation": 2}
    assert set(made["counts"]["codec"]) == {"mp3", "vorbis", "identity"}
    rows = [row for split in made["counts"]["split"] for row in load_split(str(pairs), split)]
    assert {row["bitrate_kbps"] for row in rows if row["codec"] == "mp3"} == {64}
    assert {row["bitrate_kbps"] for row in rows if row["codec"] == "vorbis"} <= {320, 240}  # as much as mono has
    titles = {
        split: {row["title"] for row in load_split(str(pairs), split)} for split in ("train", "validation", "test")
    }
    assert not titles["train"] & (titles["validation"] | titles["test"])
    again, _ = own_recordings.build(tmp_path / "own", tmp_path / "work", conditions)  # nothing is made a second time
    assert again == pairs
    with pytest.raises(ValueError, match="begun with other recordings"):
        own_recordings.build(tmp_path / "own", tmp_path / "work", [("mp3", 96)])


def test_codecs_of_a_folder(tmp_path: Path) -> None:
    """Codecs and bitrates are those of the files that a user has."""
    audio = clip(3)
    for name, codec, kbps in (("a.mp3", "mp3", 64), ("b.mp3", "mp3", 64), ("c.opus", "opus", 96)):
        (tmp_path / name).write_bytes(encode(audio, RATE, codec, kbps))
    (tmp_path / "broken.mp3").write_bytes(b"junk")
    first, second = own_recordings.conditions_of(tmp_path)
    assert first == ("mp3", 64)
    assert second[0] == "opus"
    with pytest.raises(ValueError, match="has no files in mp3"):
        own_recordings.conditions_of(write(tmp_path / "clean", 1))


def test_matched_files_are_aligned_and_levelled(tmp_path: Path) -> None:
    """The degraded side begins 1,000 samples late and is quieter, as if another program had made it."""
    write(tmp_path / "clean", 3)
    (tmp_path / "degraded").mkdir()
    for number in range(3):
        audio = clip(8.5, seed=number)
        late = np.pad(audio, ((0, 0), (1000, 0))).astype(np.float32) * 0.8
        (tmp_path / "degraded" / f"take_{number}.mp3").write_bytes(encode(late, RATE, "mp3", 128))
    write(tmp_path / "clean", 4)  # the last one has no partner
    pairs, made = own_recordings.build(tmp_path, tmp_path / "work", [])
    assert "take_3.flac has no files of its name in degraded/" in made["left_out"][0]
    assert made["counts"]["codec"] == {"mp3": 6}
    row = load_split(str(pairs), "train")[0]
    assert (row["bitrate_kbps"], row["mode"], row["offset_samples"]) == (128, "found", 0)
    degraded, clean = decode_pair(row)
    error = np.square(degraded - clean).mean() / np.square(clean).mean()
    assert error < 0.25  # 2 where they are not aligned
    assert np.square(degraded).mean() / np.square(clean).mean() == pytest.approx(1, abs=0.2)  # 0.64 where not levelled


def test_too_few_recordings_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 usable recordings, three or more are needed"):
        own_recordings.build(write(tmp_path / "own", 2), tmp_path / "work", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no audio files"):
        own_recordings.find_own(tmp_path / "empty")
