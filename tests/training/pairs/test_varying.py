"""Variations of a clip: another speed, another tone, another level, the same for the same seed."""

import numpy as np
import pytest
from signals import RATE, noise

pytest.importorskip("datasets")

from unlossy_training.pairs.varying import EDGE, SPEED, roll_off, varied


def test_speed_and_level_vary_within_bounds() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE, dtype=np.float32)[None]
    speeds, peaks = [], []
    for seed in range(40):
        audio = varied(tone, np.random.default_rng(seed), low_pass=True)
        assert audio.dtype == np.float32
        assert RATE < audio.shape[1] <= tone.shape[1]
        spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(audio.shape[1])))
        speeds.append(np.log2(np.argmax(spectrum) * RATE / audio.shape[1] / 1000))
        peaks.append(20 * np.log10(np.abs(audio).max()))
    assert max(np.abs(speeds)) < SPEED + 0.01
    assert min(speeds) < -SPEED / 2
    assert max(speeds) > SPEED / 2
    assert min(np.abs(speeds)) < 0.001, "some stay as they are"
    assert -12.01 < min(peaks) < max(peaks) < -0.29


def test_equalisers_vary_and_the_seed_decides() -> None:
    hiss = noise(RATE)

    def slope(seed: int) -> float:
        power = np.square(np.abs(np.fft.rfft(varied(hiss, np.random.default_rng(seed), low_pass=True))))[0]
        return float(10 * np.log10(power[len(power) // 2 :].mean() / power[: len(power) // 4].mean()))

    slopes = [slope(seed) for seed in range(20)]
    assert max(slopes) - min(slopes) > 6
    assert slope(3) == slopes[3]


def test_some_end_early_and_only_above_the_edge() -> None:
    hiss = noise(RATE, 1)

    def level(audio: np.ndarray, low: float, high: float) -> float:
        power = np.square(np.abs(np.fft.rfft(audio[0])))[int(low) : int(high)]
        return float(10 * np.log10(power.mean() + 1e-12))

    passed = roll_off(hiss, 5000.0, 100.0)
    assert level(passed, 0, 5000) == pytest.approx(level(hiss, 0, 5000), abs=0.01)
    assert level(passed, 9990, 10_010) == pytest.approx(level(hiss, 9990, 10_010) - 100, abs=1)
    falls = [level(audio, 0, EDGE[0]) - level(audio, 20_000, 22_000) for audio in variations(hiss)]
    assert 0 < sum(fall > 20 for fall in falls) < len(falls) / 2


def variations(audio: np.ndarray) -> list[np.ndarray]:
    """Of one second or longer, cut to it."""
    drawn = (varied(np.tile(audio, 2), np.random.default_rng(seed), low_pass=True) for seed in range(60))
    return [each[:, :RATE] for each in drawn]
