"""What a clip goes through on its way from a cut to finished music: tone, width, balance, level, limiting, remixing.

Signals are `np.ndarray` of shape `(2, samples)`, float32, full scale ±1, at 44.1 kHz. Everything random is drawn from
the generator that is handed in.
"""

import numpy as np
import torch
import torchaudio.functional as F

from .recordings import SAMPLING_RATE


def equalize(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gentle random tilt (±9 dB from the lowest to the highest, over all octaves) and one broad bell (±4 dB)."""
    tone = torch.from_numpy(audio) / 32  # torchaudio's filters clip at ±1
    tone = F.treble_biquad(tone, SAMPLING_RATE, rng.uniform(-9, 9), 1000.0, Q=0.2)
    centre, gain, q = 1000 * 2 ** rng.uniform(-3, 3.5), rng.uniform(-4, 4), rng.uniform(0.4, 1.2)
    return F.equalizer_biquad(tone, SAMPLING_RATE, centre, gain, q).numpy() * 32


def limit(audio: np.ndarray, threshold: float) -> np.ndarray:
    """Peak limiter with look-ahead as in mastering: a smooth gain (about 15 ms) that keeps peaks at `threshold`."""
    block = 32
    padded = np.pad(np.abs(audio).max(axis=0), (0, -audio.shape[1] % block))
    gains = np.minimum(1.0, threshold / np.maximum(padded.reshape(-1, block).max(axis=1), 1e-9))
    reach = 10  # [blocks] a side; the minimum over the window, then the average over it, never exceeds the threshold
    lowest = np.lib.stride_tricks.sliding_window_view(np.pad(gains, 2 * reach, mode="edge"), 2 * reach + 1).min(axis=1)
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(lowest, window / window.sum(), mode="valid")
    positions = (np.arange(len(gains)) + 0.5) * block
    return (audio * np.interp(np.arange(audio.shape[1]), positions, smooth)).astype(np.float32)


def pan(audio: np.ndarray, position: float) -> np.ndarray:
    """Balance of a stereo signal, -1 (left) to 1 (right)."""
    gains = np.array([[min(1.0, 1 - position)], [min(1.0, 1 + position)]], dtype=np.float32)
    return audio * gains


def remix(voice: np.ndarray, backing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A foreground over a backing, both with a tone of their own, the foreground from 4 dB softer to 4 dB louder (by
    ITU-R BS.1770, to which pauses don't count)."""
    given, wanted = (F.loudness(torch.from_numpy(part), SAMPLING_RATE).item() for part in (voice, backing))
    voice = voice * 10 ** ((wanted - given + rng.uniform(-4, 4)) / 20)
    return pan(equalize(voice, rng), rng.uniform(-0.3, 0.3)) + equalize(backing, rng)


def finish(audio: np.ndarray, rng: np.random.Generator, *, limited: float = 0.3) -> np.ndarray:
    """Width, tone, balance, limiting and level of a finished clip; peaks between -20 and -0.3 dBFS.

    Args:
        limited (`float`, defaults to 0.3): probability of a limiter, as in mastering.
    """
    if rng.random() < 0.5:
        audio = equalize(audio, rng)
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
