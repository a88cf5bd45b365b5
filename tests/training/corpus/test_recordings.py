"""Recordings: which are usable, how they are described, grouped, resampled and cut."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE

from unlossy_training.corpus import recordings
from unlossy_training.corpus.recordings import UnusableError, cut, examine, find_recordings, group_of, resample


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, (int(rate * seconds), channels)).astype(np.float32)


def test_unusable_files(tmp_path: Path) -> None:
    broken = noise(3)
    broken[RATE * 2] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, RATE, "FLOAT")
    soundfile.write(tmp_path / "silent.flac", np.zeros(RATE * 3), RATE)
    soundfile.write(tmp_path / "low.wav", noise(3, 32_000), 32_000)
    soundfile.write(tmp_path / "surround.wav", noise(3, channels=3), RATE)
    soundfile.write(tmp_path / "short.wav", noise(0.5), RATE)
    soundfile.write(tmp_path / "telephone.wav", noise(3), RATE, "ULAW")
    soundfile.write(tmp_path / "music.mp3", noise(3), RATE)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.flac").touch()
    soundfile.write(tmp_path / "whole.flac", noise(3), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:150_000])
    (tmp_path / "whole.flac").unlink()
    kinds = {
        "nan.wav": "not finite",
        "silent.flac": "silent",
        "low.wav": "rate too low",
        "surround.wav": "too many channels",
        "short.wav": "too short",
        "telephone.wav": "lossy",
        "music.mp3": "lossy",
        "text.wav": "unreadable",
        "empty.flac": "unreadable",
        "cut.flac": "unreadable",
    }
    assert {one.path.name for one in find_recordings("real", tmp_path)} == set(kinds)
    for name, kind in kinds.items():
        with pytest.raises(UnusableError, match=name) as caught:
            examine(tmp_path / name)
        assert caught.value.kind == kind
    soundfile.write(tmp_path / "good.wav", noise(3, 96_000), 96_000, "PCM_24")
    examine(tmp_path / "good.wav")


def test_lossy_recordings(tmp_path: Path) -> None:
    """They are accepted only if asked for, and at a high bitrate."""
    soundfile.write(tmp_path / "rich.ogg", noise(3), RATE, compression_level=0.1)
    soundfile.write(tmp_path / "poor.ogg", 0.01 * np.sin(np.arange(3 * RATE) / 20), RATE, compression_level=1.0)
    examine(tmp_path / "rich.ogg", lossy=True)
    with pytest.raises(UnusableError, match="lossless"):
        examine(tmp_path / "rich.ogg")
    with pytest.raises(UnusableError, match="kbps a channel; 46 or more"):
        examine(tmp_path / "poor.ogg", lossy=True)


def test_descriptions_come_from_the_nearest_table(tmp_path: Path) -> None:
    (tmp_path / "vocals").mkdir()
    for name in ("anna_00", "bert_00"):
        soundfile.write(tmp_path / "vocals" / f"{name}.flac", noise(2), RATE)
    with (tmp_path / "SOURCES.csv").open("w") as file:
        csv.writer(file).writerows(
            [["file", "license", "genre", "attribution"], ["vocals/anna_00.flac", "CC0-1.0", "opera", "Anna"]]
        )
    anna, bert = find_recordings("singing", tmp_path / "vocals", "MIT", 2.0)
    assert (anna.license, anna.genre, anna.attribution, anna.group) == ("CC0-1.0", "opera", "Anna", "anna")
    assert (bert.license, bert.origin, bert.weight) == ("MIT", "vocals/bert_00.flac", 2.0)
    (tmp_path / "SOURCES-more.csv").write_text("file,license\nvocals/bert_00.flac,CC-BY-4.0\n")
    both = find_recordings("singing", tmp_path / "vocals", "MIT")
    assert [one.license for one in both] == ["CC0-1.0", "CC-BY-4.0"]
    (tmp_path / "SOURCES.csv").write_text("name,license\n")
    with pytest.raises(ValueError, match=r"SOURCES\.csv has no column file"):
        find_recordings("singing", tmp_path / "vocals")
    with pytest.raises(ValueError, match="no audio files"):
        find_recordings("singing", tmp_path / "SOURCES.csv")


@pytest.mark.parametrize(
    ("title", "group"),
    [
        ("th_Find_You_0", "findyou"),
        ("Find You_1", "findyou"),
        ("th_Faith_love_remix__0", "faith"),
        ("d_e1m1_0", "de1m1"),
        ("loop_b", "loop"),
    ],
)
def test_groups_join_parts_of_one_thing(title: str, group: str) -> None:
    assert group_of(title) == group


@pytest.mark.parametrize("rate", [48_000, 88_200, 96_000])
def test_resampling_has_no_steep_edge(rate: int) -> None:
    """The band below the edge is kept."""
    time = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 5000 * time).astype(np.float32)
    resampled = resample(tone[None], rate)
    assert resampled.shape == (1, RATE)
    expected = np.sin(2 * np.pi * 5000 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(resampled[0, 2000:-2000], expected[2000:-2000], atol=1e-4)
    spectrum = np.abs(np.fft.rfft(resample(noise(4, rate).T, rate)[0]))
    levels = 20 * np.log10(np.sqrt(np.mean(spectrum[: len(spectrum) // 40 * 40].reshape(40, -1) ** 2, axis=1)))
    assert np.abs(np.diff(levels[:-3])).max() < 5  # [dB] from one band of 0.55 kHz to the next, up to 20.4 kHz


def test_odd_rate() -> None:
    """It is rounded to hundreds of hertz."""
    audio = noise(1, 48_017).T
    np.testing.assert_array_equal(resample(audio, 48_017), resample(audio, 48_000))


def test_cuts_have_the_asked_length(tmp_path: Path) -> None:
    for name, rate, channels in (("a.wav", 48_000, 1), ("b.wav", RATE, 2), ("c.wav", 96_000, 2)):
        soundfile.write(tmp_path / name, noise(1, rate, channels), rate)
        for frames in (1001, RATE // 2, 2 * RATE):
            audio = cut(tmp_path / name, frames, np.random.default_rng(0))
            assert audio.shape == (2, frames)
            assert not np.any(audio[:, RATE + 1 :])
            assert np.abs(audio[:, : min(frames, RATE)]).max() > 0.1


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        recordings.write_flac(tmp_path / "clip.flac", noise(1).T)
    assert not list(tmp_path.iterdir())
