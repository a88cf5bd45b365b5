"""The steps from a cut to finished music: tone, width, balance, level, limiting and remixing.

Signals are float32 of shape `(2, samples)`, with full scale ±1, at 44.1 kHz. All that is random is drawn from the
generator that a function gets.
"""

import numpy as np
import torch
import torchaudio.functional as F

from .recordings import SAMPLING_RATE


def random_tone(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the tone at random: a gentle tilt (up to 9 dB over all octaves) and one broad bell (up to 4 dB)."""
    tone = torch.from_numpy(audio) / 32  # torchaudio's filters clip at ±1
    tone = F.treble_biquad(tone, SAMPLING_RATE, rng.uniform(-9, 9), 1000.0, Q=0.2)
    centre, gain, q = 1000 * 2 ** rng.uniform(-3, 3.5), rng.uniform(-4, 4), rng.uniform(0.4, 1.2)
    return F.equalizer_biquad(tone, SAMPLING_RATE, centre, gain, q).numpy() * 32


def limit(audio: np.ndarray, threshold: float) -> np.ndarray:
    """Limit peaks to `threshold` (full scale is 1) by a gain that is smooth over about 15 ms, as a limiter with
    look-ahead does in mastering."""
    block = 32
    padded = np.pad(np.abs(audio).max(axis=0), (0, -audio.shape[1] % block))
    gains = np.minimum(1.0, threshold / np.maximum(padded.reshape(-1, block).max(axis=1), 1e-9))
    reach = 10  # [blocks] on each side: the mean of minima over the same window never lets a peak through
    lowest = np.lib.stride_tricks.sliding_window_view(np.pad(gains, 2 * reach, mode="edge"), 2 * reach + 1).min(axis=1)
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(lowest, window / window.sum(), mode="valid")
    positions = (np.arange(len(gains)) + 0.5) * block
    return (audio * np.interp(np.arange(audio.shape[1]), positions, smooth)).astype(np.float32)


def pan(audio: np.ndarray, position: float) -> np.ndarray:
    """Shift the balance of a stereo signal to a position from -1 (left) to 1 (right)."""
    gains = np.array([[min(1.0, 1 - position)], [min(1.0, 1 + position)]], dtype=np.float32)
    return audio * gains


def remix(voice: np.ndarray, backing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix a foreground over a backing. Each gets a tone of its own, and the foreground is up to 4 dB softer or louder
    than the backing, by ITU-R BS.1770, which leaves pauses out."""
    given, wanted = (F.loudness(torch.from_numpy(part), SAMPLING_RATE).item() for part in (voice, backing))
    voice = voice * 10 ** ((wanted - given + rng.uniform(-4, 4)) / 20)
    return pan(random_tone(voice, rng), rng.uniform(-0.3, 0.3)) + random_tone(backing, rng)


def finish(audio: np.ndarray, rng: np.random.Generator, *, limited: float = 0.3) -> np.ndarray:
    """Give a cut what a finished recording has: a tone, a width, a balance, perhaps a limiter, and peaks between -20
    and -0.3 dBFS.

    Args:
        limited (`float`, defaults to 0.3): probability of a limiter.
    """
    if rng.random() < 0.5:
        audio = random_tone(audio, rng)
    if rng.random() < 0.1:
        audio = np.repeat(audio.mean(axis=0, keepdims=True), 2, axis=0)
    elif rng.random() < 0.5:
        mid, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) / 2 * rng.uniform(0.4, 1.4)
        audio = np.stack([mid + side, mid - side])
    if rng.random() < 0.3:
        audio = pan(audio, rng.uniform(-0.4, 0.4))
    peak = max(float(np.abs(audio).max()), 1e-9)
    audio = audio / peak
    if rng.random() < limited:
        audio = limit(audio, 10 ** (-rng.uniform(2, 8) / 20))
        audio = audio / max(float(np.abs(audio).max()), 1e-9)
    level = rng.uniform(-3, -0.3) if rng.random() < 0.8 else rng.uniform(-20, -3)
    return (audio * 10 ** (level / 20)).astype(np.float32)
