"""Metrics: known values."""

import numpy as np
import pytest

from unlossy_training.metrics import log_spectral_distance, si_sdr, visqol

RATE = 44_100


def noise(seed: int = 0, seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (2, round(seconds * RATE))).astype(np.float32)


def test_si_sdr_is_the_ratio_of_energies_whatever_the_level() -> None:
    reference = noise()
    error = noise(1)
    error -= (error * reference).sum() / np.square(reference).sum() * reference
    for level in (1, 0.1):
        assert si_sdr(reference, level * (reference + 0.1 * error)) == pytest.approx(20, abs=0.1)
    assert si_sdr(reference, reference / 2) == 100


def test_si_sdr_of_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="silent reference"):
        si_sdr(np.zeros((2, 100)), noise())


def test_log_spectral_distance_of_a_gain_is_the_gain() -> None:
    reference = noise()
    assert log_spectral_distance(reference, reference) == 0
    assert log_spectral_distance(reference, reference / 2) == pytest.approx(6.02, abs=0.01)


def test_log_spectral_distance_stops_at_the_floor() -> None:
    reference = noise()
    assert log_spectral_distance(reference, np.zeros_like(reference), floor_db=-40) < 40
    assert log_spectral_distance(reference, reference + 1e-7 * noise(1)) < 0.01


def test_visqol_prefers_the_original() -> None:
    pytest.importorskip("visqol")
    reference = noise(seconds=1.5)
    assert visqol(reference, reference) > 4.5
    assert visqol(reference, reference + noise(1, seconds=1.5)) < 4
