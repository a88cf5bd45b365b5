"""Pairs from real encoders: aligned for every codec and mode, measured, and refused where a clip is no good."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from signals import RATE, clip, noise

pytest.importorskip("datasets")

from unlossy.codecs import CODECS, decode
from unlossy.metrics import low_pass
from unlossy_training.pairs import making
from unlossy_training.pairs.recipes import BITRATE_WEIGHTS, Recipe, draw_recipe

CLIP = {"file": "000007.flac", "source": "real", "title": "piece", "license": "CC0-1.0", "split": "train"}


def write_clip(folder: Path, audio: np.ndarray, rate: int = RATE) -> dict[str, str]:
    soundfile.write(folder / CLIP["file"], audio.T, rate, subtype="PCM_16")
    return CLIP


RECIPES = [
    *(Recipe("mp3", kbps, joint_stereo=joint) for kbps in (24, 32, 64, 128, 320) for joint in (True, False)),
    *(Recipe(codec, quality=quality) for codec in ("mp3", "aac") for quality in (0, 5, 9)),
    *(Recipe("aac", kbps) for kbps in (24, 64, 160)),
    *(Recipe("vorbis", kbps) for kbps in (64, 96, 160)),
    *(Recipe("opus", kbps, opus_cbr=cbr) for kbps in (32, 64, 128) for cbr in (True, False)),
    *(Recipe(second, 96, first=Recipe(first, 64)) for second in CODECS for first in CODECS),
    Recipe("mp3", quality=4, first=Recipe("mp3", 24)),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.codec} {recipe.mode(2)}")
def test_every_codec_and_mode_is_aligned(recipe: Recipe) -> None:
    for channels in (1, 2):
        clean = clip(0.7, channels)
        degraded = decode(recipe.encode(clean), clean.shape[1])
        assert degraded.shape == clean.shape
        assert not np.array_equal(degraded, clean)
        assert making.offset(clean, degraded) == 0


@pytest.mark.parametrize(("kbps", "expected"), [(48, 0.95), (64, 0.95), (128, 0.95), (192, 0.97), (320, 1.0)])
def test_level_is_what_lame_turns_down(kbps: int, expected: float) -> None:
    clean = clip(1.5)
    degraded = decode(Recipe("mp3", kbps).encode(clean), clean.shape[1])
    assert making.level(clean, degraded) == pytest.approx(expected, abs=0.006)


def test_edge_of_an_earlier_codec() -> None:
    clean = noise(3 * RATE)
    assert making.earlier_edge(clean) is None
    assert making.earlier_edge(low_pass(clean, 16_000.0)) == pytest.approx(16_000, abs=200)
    assert making.earlier_edge(low_pass(clean, 8_000.0)) is None, "the original ended there"


def test_level_is_exact_or_one() -> None:
    """It is exact where a band is preserved, and 1 where none is."""
    clean = clip(0.7)
    assert making.level(clean, clean) == 1.0
    assert making.level(clean, clean * np.float32(0.5)) == pytest.approx(0.5)
    noise = np.random.default_rng(0).normal(0, 0.1, clean.shape).astype(np.float32)
    assert making.level(clean, noise) == 1.0
    assert making.level(np.zeros_like(clean), np.zeros_like(clean)) == 1.0


@pytest.mark.parametrize("lag", [-1500, -1, 0, 1, 1105])
def test_offset_finds_the_lag(lag: int) -> None:
    clean = np.random.default_rng(0).normal(0, 0.1, (2, 30_000))
    assert making.offset(clean, np.roll(clean, lag, axis=1)) == lag


@pytest.mark.parametrize(
    ("recipe", "channels", "mode"),
    [
        (Recipe("identity"), 2, "stereo"),
        (Recipe("identity"), 1, "mono"),
        (Recipe("mp3", 64), 2, "joint cbr"),
        (Recipe("mp3", 64, joint_stereo=False), 2, "stereo cbr"),
        (Recipe("mp3", quality=3), 1, "mono vbr"),
        (Recipe("aac", quality=3), 2, "joint vbr"),
        (Recipe("aac", 96), 2, "joint cbr"),
        (Recipe("vorbis", 96), 2, "joint vbr"),
        (Recipe("opus", 96), 2, "joint vbr"),
        (Recipe("opus", 96, opus_cbr=True, first=Recipe("mp3", 128)), 2, "joint cbr after mp3 128"),
    ],
)
def test_mode_tells_how_it_was_encoded(recipe: Recipe, channels: int, mode: str) -> None:
    assert recipe.mode(channels) == mode


def test_all_kinds_of_recipes_are_drawn() -> None:
    random = np.random.default_rng(0)
    recipes = [draw_recipe(random, channels) for channels in (1, 2) for _ in range(2000)]
    modes = {(recipe.codec, word) for recipe in recipes for word in recipe.mode(2).split()[:3]}
    for codec in CODECS:
        assert (codec, "after") in modes
        assert (codec, "vbr") in modes
    assert {("mp3", "cbr"), ("aac", "cbr"), ("opus", "cbr"), ("mp3", "stereo")} <= modes
    rates = {recipe.bitrate_kbps for recipe in recipes if recipe.codec == "mp3"}
    assert rates == {*BITRATE_WEIGHTS["mp3"], None}
    mono = [recipe for recipe in recipes[:2000] if recipe.codec == "aac" and recipe.bitrate_kbps]
    assert max(recipe.bitrate_kbps or 0 for recipe in mono) == 160  # what AAC has for one channel


def test_a_pair_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = write_clip(tmp_path, clip(0.7))
    rows = {}
    for name, recipe in {
        "low": Recipe("mp3", 48),
        "quality": Recipe("mp3", quality=9),
        "identity": Recipe("identity"),
    }.items():
        monkeypatch.setattr(making, "draw_recipe", lambda random, channels, recipe=recipe: recipe)
        rows[name] = making.make_pair(row, tmp_path, seed=0)
        assert rows[name]["offset_samples"] == 0
        assert rows[name]["genre"] == ""
        degraded, clean = making.decode_pair(rows[name])
        assert np.array_equal(degraded, clean) == (name == "identity")
    assert rows["low"]["bitrate_kbps"] == 48
    assert 6_000 < rows["low"]["cutoff_hz"] < 14_000
    size = len(rows["quality"]["degraded"]["bytes"])
    assert rows["quality"]["bitrate_kbps"] == round(size * 8 / 1000 / rows["quality"]["seconds"])
    assert rows["identity"]["cutoff_hz"] is None
    assert rows["identity"]["bitrate_kbps"] == 0


def test_same_seed_same_pair(tmp_path: Path) -> None:
    row = write_clip(tmp_path, clip(0.7))
    for seed in range(3):
        first, again = (making.make_pair(row, tmp_path, seed=seed) for _ in range(2))
        # Ogg files carry a random serial number: what counts is the sound.
        sounds = [decode(pair.pop("degraded")["bytes"], 20_000) for pair in (first, again)]
        np.testing.assert_array_equal(sounds[0], sounds[1])
        assert first == again


def test_variations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variations of a clip are pairs of their own."""
    monkeypatch.setattr(making, "draw_recipe", lambda random, channels: Recipe("mp3", 64))
    row = write_clip(tmp_path, clip(1.5))
    rows = [making.make_pair(row | {"variation": number}, tmp_path, seed=0) for number in ("", "1", "2", "1")]
    assert [row["clean"]["path"] for row in rows[:3]] == ["000007.flac", "000007-1.flac", "000007-2.flac"]
    assert [row["degraded"]["path"] for row in rows[:3]] == ["000007.mp3", "000007-1.mp3", "000007-2.mp3"]
    assert rows[1] == rows[3]
    assert len({row["fingerprint"] for row in rows}) == 3
    for row in rows:
        degraded, clean = making.decode_pair(row)
        assert degraded.shape == clean.shape
        assert np.square(degraded - clean).mean() < 0.5 * np.square(clean).mean()


def test_unusable_clips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kind: str, message: str) -> None:
        with pytest.raises(making.UnusableError, match=message) as caught:
            making.make_pair(CLIP, tmp_path, seed=0)
        assert caught.value.kind == kind
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    path = tmp_path / CLIP["file"]
    refused("unreadable", "no such file: .*000007")
    path.write_bytes(b"fLaC and then nothing")
    refused("unreadable", "000007")
    write_clip(tmp_path, clip(0.7), rate=48_000)
    refused("wrong rate", "48000 Hz; clips need 44100 Hz")
    write_clip(tmp_path, clip(0.7, 3))
    refused("too many channels", "3 channels")
    write_clip(tmp_path, clip(0.1))
    refused("too short", "4410 samples; clips need 22050")
    write_clip(tmp_path, 1e-4 * clip(0.7))
    refused("silent", "is silent")
    broken = clip(0.7)
    broken[1, 500] = np.nan
    soundfile.write(path, broken.T, RATE, format="WAV", subtype="FLOAT")
    refused("unreadable", "000007.flac.*NaN")
    path.write_bytes(Recipe("mp3", 64).encode(clip(0.7)))
    refused("lossy", "is mp3")

    write_clip(tmp_path, clip(0.7))
    monkeypatch.setattr(making, "draw_recipe", lambda random, channels: Recipe("mp3", 64))
    monkeypatch.setattr(making, "decode", lambda data, frames: np.roll(decode(data, frames), 3, axis=1))
    refused("misaligned mp3", "mp3 64 kbps joint cbr is 3 samples late")


def test_a_bad_pair_is_named() -> None:
    def pair(clean: np.ndarray, degraded: bytes, rate: int = RATE) -> dict[str, Any]:
        import io

        buffer = io.BytesIO()
        soundfile.write(buffer, clean.T, rate, format="WAV", subtype="FLOAT")
        return {
            "clean": {"bytes": buffer.getvalue(), "path": "a.wav"},
            "degraded": {"bytes": degraded, "path": "a.mp3"},
            "level": 0.95,
        }

    clean = clip(0.7)
    data = Recipe("mp3", 64).encode(clean)
    assert making.decode_pair(pair(clean, data))[0].shape == clean.shape
    for bad, message in (
        (pair(clean, b"no audio"), "a.mp3 is damaged: the compressed audio"),
        (pair(clean, data, rate=48_000), "a.mp3 has 48000 Hz"),
        (pair(clean[:1], data), "a.mp3 has 2 channels where the clean side has 1"),
        (pair(clean * np.nan, data), "a.mp3 has NaN"),
        (pair(clean, data) | {"clean": {}}, "no clean; its columns are clean, degraded, level"),
        (pair(clean, data) | {"level": None}, "no level; its columns are clean, degraded, level"),
    ):
        with pytest.raises(ValueError, match=message):
            making.decode_pair(bad)
