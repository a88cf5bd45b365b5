"""What many test modules share: synthesised signals, what they are compared by, and tiny configurations."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlossy.hub.audio_unlossy import AudioReader

RATE = 44_100  # [Hz]
CANON = Path(__file__).parents[1] / "space" / "examples" / "canon.flac"
TINY: dict[str, Any] = {"hidden_sizes": (8, 8), "depths": (1, 1), "embedding_size": 32, "detail_size": 16}
TINY_AUTOENCODER: dict[str, Any] = {
    "hidden_sizes": (24, 16),
    "depths": (1, 1),
    "embedding_size": 32,
    "envelope_size": 8,
}


def noise(samples: int = RATE, channels: int = 2, *, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """White noise `(channels, samples)` with an RMS of `level`."""
    return np.random.default_rng(seed).normal(0, level, (channels, samples)).astype(np.float32)


def tones(samples: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """Steady tones and noise `(channels, samples)`, different in every channel, far from full scale."""
    random = np.random.default_rng(0)
    time = np.arange(samples) / rate
    sines = [np.sin(2 * np.pi * random.uniform(100, 3500, (4, 1)) * time).sum(axis=0) for _ in range(channels)]
    return (0.03 * np.stack(sines) + random.normal(0, 0.005, (channels, samples))).astype(np.float32)


def notes(samples: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """Decaying notes over a little noise `(channels, samples)`, whose correlation with itself has one clear peak."""
    random = np.random.default_rng(0)
    time = np.arange(samples) / rate
    audio = np.zeros((channels, samples))
    for _ in range(12):
        frequency, beat = random.uniform(80, 6000), random.uniform(2, 5)
        decaying = np.sin(2 * np.pi * frequency * time) * np.exp(-5 * (time * beat % 1))
        audio += random.normal(size=(channels, 1)) * decaying
    # Drawn last, so that the notes are the same at every rate and length.
    audio += 0.01 * random.normal(size=(channels, samples))
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def clip(seconds: float, channels: int = 2, *, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A chord with four bursts of noise a second `(channels, samples)`, as in a dataset."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    chord = np.sin(2 * np.pi * random.uniform(200, 2000, (3, 1)) * time).sum(axis=0)
    audio = 0.1 * chord + random.normal(0, 0.1, (channels, len(time))) * np.exp(-6 * (time % 0.25))
    return np.clip(audio, -1, 1).astype(np.float32)


def music(samples: int, channels: int = 2, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Chords and noise `(batch, channels, samples)`, different in every channel and item."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / RATE
    pitch = 110 * 2 ** (torch.rand(batch, channels, 5, 1, generator=generator) * 5)
    chords = torch.sin(2 * torch.pi * pitch * time).sum(dim=2) / 12
    return chords + torch.randn(batch, channels, samples, generator=generator) / 100


def snr(wanted: np.ndarray | torch.Tensor, given: np.ndarray | torch.Tensor) -> float:
    """Signal-to-noise ratio of `given` [dB]."""
    signal, other = torch.as_tensor(wanted).double(), torch.as_tensor(given).double()
    return (10 * torch.log10(signal.square().sum() / (signal - other).square().sum().clamp(min=1e-30))).item()


def find_lag(audio: np.ndarray, reference: np.ndarray) -> int:
    """Samples by which `audio` is late, from the peak of the cross-correlation of the first channels."""
    size = 2 * max(audio.shape[1], reference.shape[1])
    spectra = [np.fft.rfft(signal[0], size) for signal in (audio, reference)]
    peak = int(np.argmax(np.fft.irfft(spectra[0] * spectra[1].conj(), size)))
    return peak if peak < size // 2 else peak - size


def read_with_warnings(path: Path, **options: bool) -> tuple[np.ndarray, list[str]]:
    """All samples `(channels, samples)` of a file, and what its reader warns of."""
    with AudioReader(path, **options) as reader:
        return np.concatenate(list(reader.blocks(50_000)), axis=1), reader.warnings


def read(path: Path, **options: bool) -> np.ndarray:
    """All samples `(channels, samples)` of a file."""
    return read_with_warnings(path, **options)[0]
