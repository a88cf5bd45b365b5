"""Variations of clips: other speeds, tones and levels, so that a predictor can't recognise the clips of its corpus.

Real recordings under a free licence are few, and some thousand clips are soon known by heart. They are varied before
they are encoded. An equaliser after the encoder, as in `part: detail`, is no substitute, because the encoder has
already decided what to drop.
"""

import numpy as np

from ..corpus.mixing import random_tone
from ..corpus.recordings import SAMPLING_RATE, resample

SPEED = 0.3  # [octaves], faster or slower
PLAYED_AS_IT_IS, EQUALISED = 0.2, 0.6  # shares of the variations
LOW_PASSED = 0.15  # of the variations become recordings whose own treble ends early
EDGE = (4000.0, 16000.0)  # [Hz], drawn from: where their treble begins to fall
SLOPE = (24.0, 400.0)  # [dB an octave], drawn from: a gentle fall or a brick wall
PEAK = (-12.0, -0.3)  # [dBFS], drawn from


def varied(clean: np.ndarray, rng: np.random.Generator, *, low_pass: bool) -> np.ndarray:
    """Vary a clip: mostly its speed (and pitch with it) and its tone, sometimes its treble, and its level.

    Args:
        clean (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz, not silent.
        low_pass (`bool`): whether some lose their treble. It should be false where the codec removes the treble anyway:
            such a pair looks like any other of its bitrate, but nothing is missing from it, so that it teaches not to
            predict treble at all.

    Returns:
        `np.ndarray` of shape `(channels, samples)`, float32, with no more samples than `clean`.
    """
    samples = clean.shape[1]
    if rng.random() >= PLAYED_AS_IT_IS:
        clean = resample(clean, SAMPLING_RATE * 2 ** rng.uniform(-SPEED, SPEED))[:, :samples]
    if rng.random() < EQUALISED:
        clean = random_tone(random_tone(clean, rng), rng)
    if low_pass and rng.random() < LOW_PASSED:
        edge, slope = (np.exp(rng.uniform(*np.log(bounds))) for bounds in (EDGE, SLOPE))
        clean = roll_off(clean, edge, slope)
    return clean * np.float32(10 ** (rng.uniform(*PEAK) / 20) / max(float(np.abs(clean).max()), 1e-6))


def roll_off(audio: np.ndarray, edge: float, slope: float) -> np.ndarray:
    """Low-pass a clip without a change of phase.

    Args:
        audio (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz.
        edge (`float`): frequency up to which nothing changes [Hz].
        slope (`float`): how steeply the level falls above it [dB an octave].

    Returns:
        `np.ndarray` of the same shape, float32.
    """
    octaves = np.log2(np.maximum(np.fft.rfftfreq(audio.shape[1], 1 / SAMPLING_RATE) / edge, 1.0))
    gain = 10 ** (-slope * octaves / 20)
    return np.fft.irfft(np.fft.rfft(audio) * gain, n=audio.shape[1]).astype(np.float32)
