"""More clips out of those that there are. A predictor of treble soon knows some thousand clips by heart, and real
recordings under a free licence are few; another speed moves all that it could recognise them by.

An equaliser after the encoder, as in `part: detail`, is no substitute: the encoder has decided already what to drop.
"""

import numpy as np
import soxr

from .mixing import equalize
from .recordings import SAMPLING_RATE

SPEED = 0.3  # [octaves], faster or slower
PLAYED_AS_IT_IS, EQUALISED = 0.2, 0.6  # of the variations
PEAK = (-12.0, -0.3)  # [dBFS]


def varied(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    Args:
        clean (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz, not silent.

    Returns:
        `np.ndarray` of shape `(channels, up to as many samples)`: at another speed (and pitch), mostly through an
            equaliser, at another level.
    """
    samples = clean.shape[1]
    if rng.random() >= PLAYED_AS_IT_IS:
        rate = SAMPLING_RATE * 2 ** rng.uniform(-SPEED, SPEED)
        clean = soxr.resample(np.ascontiguousarray(clean.T), SAMPLING_RATE, rate).T[:, :samples]
    if rng.random() < EQUALISED:
        clean = equalize(equalize(clean, rng), rng)
    return clean * np.float32(10 ** (rng.uniform(*PEAK) / 20) / max(float(np.abs(clean).max()), 1e-6))
