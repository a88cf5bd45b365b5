"""Figures that restoration is judged by. Audio is `(channels, samples)` at 44.1 kHz, reference first."""

import functools

import numpy as np
import soxr

SAMPLING_RATE = 44_100  # [Hz]
_VISQOL_RATE = 48_000  # [Hz]


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio over all channels together [dB] (https://arxiv.org/abs/1811.02508).

    100 dB stands for no distortion at all.
    """
    target, given = reference.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
    energy = target @ target
    if energy == 0:
        raise ValueError("SI-SDR is not defined for a silent reference.")
    projection = (given @ target / energy) * target
    distortion = given - projection
    ratio = float(np.dot(projection, projection)) / max(float(np.dot(distortion, distortion)), 1e-30)
    return float(min(10 * np.log10(ratio), 100.0))


def log_spectral_distance(
    reference: np.ndarray, estimate: np.ndarray, n_fft: int = 2048, hop_length: int = 512, floor_db: float = -80.0
) -> float:
    """Root mean square over bins, mean over frames and channels, of the difference in level [dB].

    Levels are floored at `floor_db` below the reference's loudest bin, so that inaudible differences don't count.
    """
    window = np.hanning(n_fft + 1)[:-1]

    def power(audio: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(audio, n_fft, axis=-1)[:, ::hop_length]
        return np.abs(np.fft.rfft(frames * window)) ** 2

    wanted, given = power(reference), power(estimate)
    floor = max(wanted.max() * 10 ** (floor_db / 10), 1e-20)
    difference = 10 * np.log10(np.maximum(wanted, floor) / np.maximum(given, floor))
    return float(np.sqrt((difference**2).mean(axis=-1)).mean())


def visqol(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Perceived quality, 1 … 4.73, of the mono downmix (ViSQOL v3 in audio mode, https://arxiv.org/abs/2004.09584)."""
    mono = [soxr.resample(audio.mean(axis=0), SAMPLING_RATE, _VISQOL_RATE) for audio in (reference, estimate)]
    return float(_visqol().measure_from_arrays(*(audio.astype(np.float64) for audio in mono), _VISQOL_RATE).moslqo)


@functools.cache
def _visqol():
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api
