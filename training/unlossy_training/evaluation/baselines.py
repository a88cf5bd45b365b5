"""Baselines: two simple ways to fill the treble above a cutoff, and the best linear autoencoder.

All work on mid and side, so that the treble has the right place in the stereo image and in a mono downmix.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from unlossy.hub.cells_unlossy import CellGrid
from unlossy.hub.spectral_unlossy import (
    Spectrum,
    from_mid_side,
    imdct,
    istft,
    mdct,
    position_noise,
    stft,
    to_mid_side,
)
from unlossy.metrics import SAMPLING_RATE

N_FFT, HOP_LENGTH = 2048, 512  # [samples]
CELL_WIDTH = 16  # [bins], 345 Hz: the resolution of the envelope


def copy_up(degraded: np.ndarray, cutoff_hz: float | None) -> np.ndarray:
    """Fill the treble blindly: repeat the octave below the cutoff above it, without a change.

    Args:
        degraded (`np.ndarray` of shape `(channels, samples)`): float32, one or two channels at 44.1 kHz.
        cutoff_hz (`float` or `None`): where its spectrum ends [Hz]; with `None` there is nothing to fill.

    Returns:
        `np.ndarray` of the same shape.
    """
    if cutoff_hz is None:
        return degraded
    first = _first_bin(cutoff_hz)

    def copied(bins: Tensor) -> Tensor:
        octave = bins[..., first // 2 : first]
        missing = bins.shape[3] - first
        copies = octave.repeat(1, 1, 1, math.ceil(missing / octave.shape[3]))
        return torch.cat([bins[..., :first], copies[..., :missing]], dim=3)

    return _audio(_spectrum(degraded).map(copied), degraded.shape)


def oracle_noise(degraded: np.ndarray, cutoff_hz: float | None, clean: np.ndarray) -> np.ndarray:
    """Fill the treble with noise that has the original's own envelope, in cells of `CELL_WIDTH` bins and one frame.

    No restorer knows that envelope. This is the most that predicting the shape of the treble can reach.

    Args:
        degraded (`np.ndarray` of shape `(channels, samples)`): float32, one or two channels at 44.1 kHz.
        cutoff_hz (`float` or `None`): where its spectrum ends [Hz]; with `None` there is nothing to fill.
        clean (`np.ndarray`): the original, of the same shape.

    Returns:
        `np.ndarray` of the same shape.
    """
    if cutoff_hz is None:
        return degraded
    first = _first_bin(cutoff_hz)
    kept = _spectrum(degraded).map(lambda x: x[..., :first])
    clean_treble = _spectrum(clean).map(lambda x: x[..., first:])
    cells, rest = divmod(N_FFT // 2 - first, CELL_WIDTH)
    widths = (CELL_WIDTH,) * cells + ((rest,) if rest else ())
    grid = CellGrid(widths, N_FFT, SAMPLING_RATE)
    envelope = grid.spread(grid.energy(clean_treble.power())).sqrt()
    noise = position_noise(0, degraded.shape[1], 2, seed=0, device=torch.device("cpu"))
    # White noise of variance 1 has the energy of the window in every bin: 3/8 of its length for a Hann window.
    carrier = stft(noise[None], N_FFT)[0].map(lambda x: x[..., first:])
    treble = carrier.scaled(envelope / math.sqrt(3 / 8 * N_FFT))
    whole = (torch.cat(parts, dim=3) for parts in ((kept.real, treble.real), (kept.imaginary, treble.imaginary)))
    return _audio(Spectrum(*whole), degraded.shape)


def fit_linear(clips: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Fit the linear autoencoder: find the directions with most of the energy of music (PCA).

    Its frames are those of an MDCT with a hop of `HOP_LENGTH`, mid and side together, because an MDCT has as many
    values as there are samples. In an STFT, whose frames overlap more, most components would repeat one another.

    Args:
        clips (iterable of `np.ndarray` of shape `(channels, samples)`): one or two channels at 44.1 kHz.
        size (`int`): number of values for each frame.

    Returns:
        `np.ndarray` of shape `(2 · HOP_LENGTH, size)`: float32, orthonormal columns.
    """
    covariance = np.zeros((2 * HOP_LENGTH, 2 * HOP_LENGTH))
    for clip in clips:
        frames = _mdct(clip)
        covariance += frames.T @ frames
    return np.linalg.eigh(covariance)[1][:, : -size - 1 : -1].astype(np.float32)


def linear_encode(audio: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Encode audio `(channels, samples)` by a basis of [`fit_linear`]: float32 of shape `(1, frames, size)`."""
    return (_mdct(audio) @ basis)[None]


def linear_decode(values: np.ndarray, basis: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Decode values of [`linear_encode`] to audio of `shape` `(channels, samples)`."""
    channels, samples = shape
    coefficients = torch.from_numpy(values @ basis.T).unflatten(2, (2, HOP_LENGTH))
    return from_mid_side(imdct(coefficients, samples), channels)[0].numpy()


def _mdct(audio: np.ndarray) -> np.ndarray:
    """`(channels, samples)` to float32 `(frames, 2 · HOP_LENGTH)`, first mid, then side."""
    mid_side = to_mid_side(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None])
    return mdct(mid_side, HOP_LENGTH)[0].flatten(1).numpy()


def _first_bin(cutoff_hz: float) -> int:
    return math.ceil(cutoff_hz / SAMPLING_RATE * N_FFT)


def _spectrum(audio: np.ndarray) -> Spectrum:
    """`(channels, samples)` to the spectra of mid and side, without the bin at half the sampling rate."""
    return stft(to_mid_side(torch.from_numpy(audio)[None]), N_FFT)[0]


def _audio(spectrum: Spectrum, shape: tuple[int, ...]) -> np.ndarray:
    channels, samples = shape
    return from_mid_side(istft(spectrum, torch.zeros_like(spectrum.real[..., :1]), samples), channels)[0].numpy()
