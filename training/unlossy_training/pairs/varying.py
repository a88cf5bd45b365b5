"""More clips out of those that there are. A predictor of treble soon knows some thousand clips by heart, and real
recordings under a free licence are few; another speed moves all that it could recognise them by.

An equaliser after the encoder, as in `part: detail`, is no substitute: the encoder has decided already what to drop.
Nor is a low-pass: where an original ends by itself, a codec would have kept more, and nothing is missing.
"""

import numpy as np

from ..corpus.mixing import equalize
from ..corpus.recordings import SAMPLING_RATE, resample

SPEED = 0.3  # [octaves], faster or slower
PLAYED_AS_IT_IS, EQUALISED = 0.2, 0.6  # of the variations
LOW_PASSED = 0.15  # of the variations: recordings whose own treble ends early
EDGE = (4000.0, 16000.0)  # [Hz] where it begins to end
SLOPE = (24.0, 400.0)  # [dB an octave], from fading out to a brick wall
PEAK = (-12.0, -0.3)  # [dBFS]


def varied(clean: np.ndarray, rng: np.random.Generator, *, low_pass: bool) -> np.ndarray:
    """
    Args:
        clean (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz, not silent.
        low_pass (`bool`): some lose their treble. Not where the codec takes it anyway: such a pair looks like any other
            of its bitrate, has nothing missing, and teaches that treble is not to be guessed.

    Returns:
        `np.ndarray` of shape `(channels, up to as many samples)`: at another speed (and pitch), mostly through an
            equaliser, now and then through a low-pass, at another level.
    """
    samples = clean.shape[1]
    if rng.random() >= PLAYED_AS_IT_IS:
        clean = resample(clean, SAMPLING_RATE * 2 ** rng.uniform(-SPEED, SPEED))[:, :samples]
    if rng.random() < EQUALISED:
        clean = equalize(equalize(clean, rng), rng)
    if low_pass and rng.random() < LOW_PASSED:
        edge, slope = (np.exp(rng.uniform(*np.log(bounds))) for bounds in (EDGE, SLOPE))
        clean = roll_off(clean, edge, slope)
    return clean * np.float32(10 ** (rng.uniform(*PEAK) / 20) / max(float(np.abs(clean).max()), 1e-6))


def roll_off(audio: np.ndarray, edge: float, slope: float) -> np.ndarray:
    """
    Args:
        audio (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz.
        edge (`float`): what is below stays [Hz].
        slope (`float`): of what is above [dB an octave].

    Returns:
        `np.ndarray` of the same shape, in phase with `audio`.
    """
    octaves = np.log2(np.maximum(np.fft.rfftfreq(audio.shape[1], 1 / SAMPLING_RATE) / edge, 1.0))
    gain = 10 ** (-slope * octaves / 20)
    return np.fft.irfft(np.fft.rfft(audio) * gain, n=audio.shape[1]).astype(np.float32)
