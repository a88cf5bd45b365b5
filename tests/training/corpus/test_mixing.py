"""Tone, levels and limiting of clips."""

import numpy as np
import pytest
from signals import RATE, noise

from unlossy_training.corpus.mixing import finish, limit, random_tone, remix


def levels(audio: np.ndarray, bands: int = 40) -> np.ndarray:
    """Of the first channel in bands of equal width [dB]."""
    power = np.square(np.abs(np.fft.rfft(audio[0])))
    return 10 * np.log10(power[: len(power) // bands * bands].reshape(bands, -1).mean(axis=1))


def test_equalisers_vary_gently_and_clip_nothing() -> None:
    audio = noise(2 * RATE, level=0.5)  # peaks far above full scale
    gains = []
    for seed in range(40):
        toned = random_tone(audio, np.random.default_rng(seed))
        assert toned.dtype == np.float32
        gains.append(levels(toned) - levels(audio))
        np.testing.assert_array_equal(toned, random_tone(audio, np.random.default_rng(seed)))
        np.testing.assert_allclose(random_tone(audio / 64, np.random.default_rng(seed)), toned / 64, atol=1e-6)
    assert np.abs(gains).max() < 14
    assert np.abs(np.diff(gains, axis=1)[:, 1:]).max() < 3  # [dB] from one band of 0.55 kHz to the next
    assert np.std(gains, axis=0).min() > 1


def test_foreground_level() -> None:
    """Pauses don't count for the level of a foreground."""
    time = np.arange(4 * RATE) / RATE
    backing = noise(4 * RATE, level=0.05)
    tone = 0.1 * np.sin(2 * np.pi * 997 * time, dtype=np.float32)

    def level(share: float, seed: int) -> float:
        """Of a tone that sounds for a share of the time, while it sounds: it stands out of a backing of noise."""
        voice = np.stack([tone, tone]) * (time < 4 * share)
        mixed = remix(voice.astype(np.float32), backing, np.random.default_rng(seed))
        part = mixed[0, RATE // 10 : RATE // 2] * np.hanning(RATE // 2 - RATE // 10)
        return float(20 * np.log10(np.abs(np.fft.rfft(part)).max()))

    for seed in range(5):
        assert level(0.2, seed) == pytest.approx(level(1.0, seed), abs=1.5)


def test_limiter_keeps_the_threshold() -> None:
    audio = noise(20_001, level=0.3)
    limited = limit(audio, 0.5)
    assert limited.shape == audio.shape
    assert np.abs(limited).max() <= 0.52
    np.testing.assert_array_equal(limit(audio * 0.1, 1.0), audio * np.float32(0.1))


def test_finished_clips() -> None:
    """They are finite, and their levels are within bounds."""
    audio = noise(20_000, level=0.3)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        peak = np.abs(finish(remix(audio, audio[::-1].copy(), rng), rng, limited=0.7)).max()
        assert 10 ** (-20.1 / 20) < peak < 10 ** (-0.29 / 20)
        opposite = finish(np.stack([audio[0], -audio[0]]), rng)
        assert np.isfinite(opposite).all()
