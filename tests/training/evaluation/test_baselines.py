"""Baselines: what is below the cutoff stays, what is above has the promised shape."""

import numpy as np
import pytest
from signals import noise

from unlossy.hub.spectral_unlossy import num_frames
from unlossy.metrics import SAMPLING_RATE, log_spectral_distance, low_pass, si_sdr
from unlossy_training.evaluation.baselines import copy_up, fit_linear, linear_decode, linear_encode, oracle_noise

CUTOFF = 8_000  # [Hz]


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Two seconds of stereo noise, pulsing and falling by 12 dB an octave, so that copied treble is far too loud."""
    samples = 2 * SAMPLING_RATE
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=(2, samples)))
    audio = np.fft.irfft(spectrum / (np.fft.rfftfreq(samples, 1 / SAMPLING_RATE) + 500) ** 2, samples)
    pulse = np.exp(-4 * (np.arange(samples) / SAMPLING_RATE % 0.5))
    return (0.3 * audio / np.abs(audio).max() * pulse).astype(np.float32)


@pytest.fixture(scope="module")
def degraded(clean: np.ndarray) -> np.ndarray:
    return low_pass(clean, CUTOFF).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_only_what_is_above_the_cutoff_changes(clean: np.ndarray, degraded: np.ndarray, channels: int) -> None:
    clean, degraded = clean[:channels], degraded[:channels]
    for audio in (copy_up(degraded, CUTOFF), oracle_noise(degraded, CUTOFF, clean)):
        assert audio.shape == degraded.shape
        # Frames that changed differently leak past the cutoff a little.
        assert si_sdr(low_pass(degraded, CUTOFF - 500), low_pass(audio, CUTOFF - 500)) > 50
        assert np.abs(audio - degraded).max() > 1e-4
    assert copy_up(degraded, None) is degraded
    assert oracle_noise(degraded, None, clean) is degraded


def test_oracle_and_copy_up(clean: np.ndarray, degraded: np.ndarray) -> None:
    """The oracle has the envelope of the treble, and copy-up has not."""
    copied, oracle = copy_up(degraded, CUTOFF), oracle_noise(degraded, CUTOFF, clean)
    distance, *others = (log_spectral_distance(clean, audio) for audio in (oracle, copied, degraded))
    assert distance < min(others) - 1
    wanted, copy_level, oracle_level = (
        10 * np.log10(np.square(audio - low_pass(audio, CUTOFF)).sum()) for audio in (clean, copied, oracle)
    )
    assert oracle_level == pytest.approx(wanted, abs=0.5)
    assert copy_level > wanted + 3


@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (2, 5120), (2, 30_001)])
def test_linear_autoencoder_is_exact(channels: int, samples: int) -> None:
    """With as many values as samples nothing is lost."""
    audio = noise(samples, channels)
    basis = fit_linear([audio], size=1024)
    values = linear_encode(audio, basis)
    assert values.shape == (1, num_frames(samples, 512), 1024)
    np.testing.assert_allclose(linear_decode(values, basis, audio.shape), audio, atol=1e-5)


def test_linear_autoencoder_keeps_most_energy() -> None:
    """With few values it keeps the directions that have most of the energy."""

    def pink(seconds: int, seed: int) -> np.ndarray:
        spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=(2, seconds * SAMPLING_RATE)))
        frequency = np.fft.rfftfreq(seconds * SAMPLING_RATE, 1 / SAMPLING_RATE)
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 50))).astype(np.float32)

    basis, audio = fit_linear([pink(20, seed) for seed in range(5)], size=92), pink(2, 9)
    kept = linear_decode(linear_encode(audio, basis), basis, audio.shape)
    # 11:1, both channels alike: all below a frequency near 2 kHz stays, the rest goes.
    assert si_sdr(low_pass(audio, 1_500), low_pass(kept, 1_500)) > 20
    treble = kept - low_pass(kept, 2_500)
    assert np.square(treble).sum() < 0.1 * np.square(audio - low_pass(audio, 2_500)).sum()
