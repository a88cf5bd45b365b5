"""Spectra of mid and side and back, and the noise that is substituted: shapes `(..., time)`.

Letters: B batch, C channels, N samples, T frames, F bins. Spectra are `(B, T, F, C)`, as the network's layers are.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from .configuration_unlossy import PHASE_FRAMES, UnlossySpectrumConfig

Count = TypeVar("Count", int, Tensor)


def cached_tensor(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`lru_cache` for a function that makes a tensor, which training can use even if inference mode needed it first."""
    return lru_cache(torch.inference_mode(False)(function))


class FrontEnd(nn.Module):
    """Audio to the phase-referenced spectrum of mid and side, and back. It has no weights."""

    def __init__(self, config: UnlossySpectrumConfig):
        super().__init__()
        self.n_fft, self.hop_length, self.block_alignment = config.n_fft, config.hop_length, config.block_alignment

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            audio (`Tensor` of shape `(B, C, N)`): mono or stereo, ±1.

        Returns:
            the bins that bands cover, complex64 of shape `(B, T, n_fft / 2, 2)`, and the bin at half the sampling
                rate, `(B, T, 1, 2)`, which passes through a network as it is.
        """
        if audio.ndim != 3 or audio.shape[1] not in (1, 2):
            raise ValueError(f"Expected audio of shape (batch_size, 1 or 2, samples), got {tuple(audio.shape)}.")
        spectrum = stft(to_mid_side(audio.float()), self.n_fft, self.hop_length)
        _, frames, bins, _ = spectrum.shape
        spectrum = spectrum * phase_reference(frames, bins, spectrum.device)
        return spectrum[:, :, :-1], spectrum[:, :, -1:]

    def inverse(self, bins: Tensor, top_bin: Tensor, channels: int, samples: int) -> Tensor:
        """What [`~FrontEnd.forward`] returns, to audio of shape `(B, channels, samples)`."""
        spectrum = torch.cat([bins, top_bin], dim=2)
        _, frames, all_bins, _ = spectrum.shape
        spectrum = spectrum * phase_reference(frames, all_bins, spectrum.device).conj()
        return from_mid_side(istft(spectrum, samples, self.n_fft, self.hop_length), channels)

    def frame_mask(self, padding_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """`(B, N)` to `(B, T, 1, 1)`: one on the frames that an unpadded signal would have."""
        if padding_mask is None:
            return None
        frames = num_frames(padding_mask.shape[1], self.hop_length)
        valid = num_frames(padding_mask.long().sum(dim=1), self.hop_length)
        mask = torch.arange(frames, device=padding_mask.device) < valid[:, None]
        return mask[:, :, None, None].to(dtype)

    def noise(self, offset: int, frames: int, device: torch.device) -> Tensor:
        """White noise under so many frames of a block that starts at `offset` [samples], `(1, 2, samples)`.

        Raises:
            ValueError: blocks can't start there.
        """
        if offset % self.block_alignment:
            raise ValueError(f"offset must be a multiple of {self.block_alignment} samples, got {offset}.")
        return position_noise(offset, (frames - 1) * self.hop_length, channels=2, seed=0, device=device)[None]


def to_mid_side(audio: Tensor) -> Tensor:
    """`(B, C, N)` with one or two channels to mid and side `(B, 2, N)`; the side of a mono signal is zero."""
    if audio.shape[1] == 1:
        return torch.cat([audio, torch.zeros_like(audio)], dim=1)
    left, right = audio.unbind(dim=1)
    return torch.stack([(left + right) / 2, (left - right) / 2], dim=1)


def from_mid_side(mid_side: Tensor, channels: int) -> Tensor:
    """The inverse of [`to_mid_side`]: `(B, 2, N)` to `(B, channels, N)`."""
    mid, side = mid_side.unbind(dim=1)
    return mid[:, None] if channels == 1 else torch.stack([mid + side, mid - side], dim=1)


def num_frames(samples: Count, hop_length: int) -> Count:
    """Frames whose window (4 hops long) overlaps a signal of `samples` samples that starts at frame 0's centre."""
    return (samples + hop_length - 1) // hop_length + 2


def stft(audio: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Hann-windowed spectrum of a real signal, zeros around it.

    Args:
        audio (`Tensor` of shape `(B, C, N)`): float32.

    Returns:
        complex `Tensor` of shape `(B, T, F, C)`, `T = num_frames(N)`, `F = n_fft // 2 + 1`.
    """
    batch, channels, samples = audio.shape
    padded = (num_frames(samples, hop_length) - 1) * hop_length
    audio = nn.functional.pad(audio.reshape(batch * channels, samples), (0, padded - samples))
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(audio, n_fft, hop_length, window=window, pad_mode="constant", return_complex=True)
    return spectrum.unflatten(0, (batch, channels)).permute(0, 3, 2, 1).contiguous()


def istft(spectrum: Tensor, samples: int, n_fft: int, hop_length: int) -> Tensor:
    """The inverse of [`stft`]: complex `(B, T, F, C)` to `(B, C, samples)`."""
    batch, frames, _, channels = spectrum.shape
    window = torch.hann_window(n_fft, dtype=spectrum.real.dtype, device=spectrum.device)
    flat = spectrum.permute(0, 3, 2, 1).flatten(0, 1)
    audio = torch.istft(flat, n_fft, hop_length, window=window, length=(frames - 1) * hop_length)
    return audio[:, :samples].unflatten(0, (batch, channels))


def power(spectrum: Tensor) -> Tensor:
    """Squared magnitude of a complex tensor, without the square root that `abs` has a poor gradient for."""
    real, imaginary = torch.view_as_real(spectrum).unbind(-1)
    return torch.addcmul(real.square(), imaginary, imaginary)


def mdct(audio: Tensor, hop_length: int) -> Tensor:
    """Modified discrete cosine transform with a sine window (https://doi.org/10.1109/TASSP.1986.1164954): orthonormal,
    and as many coefficients as samples.

    Args:
        audio (`Tensor` of shape `(B, C, N)`): float32.

    Returns:
        `Tensor` of shape `(B, T, C, hop_length)`; a frame is two hops long, and centred where [`stft`]'s is.
    """
    frames = num_frames(audio.shape[2], hop_length)
    padded = nn.functional.pad(audio, (hop_length, frames * hop_length - audio.shape[2]))
    windows = padded.unfold(2, 2 * hop_length, hop_length)  # (B, C, T, 2 · hop)
    with torch.autocast(audio.device.type, enabled=False):  # samples need all their bits
        return (windows @ _mdct_basis(hop_length).to(audio.device)).transpose(1, 2)


def imdct(coefficients: Tensor, samples: int) -> Tensor:
    """The inverse of [`mdct`]: `(B, T, C, hop_length)` to `(B, C, samples)`."""
    hop_length = coefficients.shape[3]
    with torch.autocast(coefficients.device.type, enabled=False):
        windows = coefficients.transpose(1, 2) @ _mdct_basis(hop_length).to(coefficients.device).T
    first, second = windows.split(hop_length, dim=3)
    return (second[:, :, :-1] + first[:, :, 1:]).flatten(2)[:, :, :samples]


@cached_tensor
def _mdct_basis(hop_length: int) -> Tensor:
    """Window times cosines, `(2 · hop_length, hop_length)`."""
    time = torch.arange(2 * hop_length, dtype=torch.float64)[:, None] + 0.5
    frequency = torch.arange(hop_length) + 0.5
    window = torch.sin(math.pi * time / (2 * hop_length)) * math.sqrt(2 / hop_length)
    return (window * torch.cos(math.pi / hop_length * (time + hop_length / 2) * frequency)).float()


def phase_reference(frames: int, bins: int, device: torch.device) -> Tensor:
    """Factors that refer each frame's phase to time zero instead of to the frame's own start.

    With them a steady tone in the middle of a bin keeps its phase from frame to frame, so that a convolution over time
    can add up what belongs together. For a hop of a quarter of the window they are powers of −i and repeat every four
    frames. Multiply by the conjugate to go back.

    Returns:
        complex64 `Tensor` of shape `(T, F, 1)`.
    """
    quarter_turns = torch.arange(4, device=device)
    # Frame t is centred on sample t · hop; torch.stft counts phase from half a window earlier: two hops.
    turns = (torch.arange(4, device=device)[:, None] + 2) * torch.arange(bins, device=device) % 4
    cycle = torch.polar(torch.ones(4, device=device), quarter_turns * (-math.pi / 2))[turns]
    return cycle.repeat(frames // 4 + 1, 1)[:frames, :, None]


def phase_advance(bins: Tensor) -> Tensor:
    """How far the phase of a steady tone advances from one frame to the next, measured over five frames and three bins.

    Args:
        bins (complex `Tensor` of shape `(B, T, F, C)`): phase-referenced, from bin 0 up.

    Returns:
        complex `Tensor` of the same shape: at each frame the advance since the frame before. Its magnitude says how
            well those frames and bins agree, from 0 for noise to 1 for a tone.
    """
    first, second = phase_reference(2, bins.shape[2], bins.device)
    apart = second * first.conj()  # the reference turns the bins of one tone differently
    turns = bins[:, 1:] * bins[:, :-1].conj() * apart.conj()
    turns = nn.functional.pad(turns, (0, 0, 0, 0, 1, 0))
    return _sum_nearby(turns) * apart / (_sum_nearby(turns.abs()) + 1e-9)


def _sum_nearby(values: Tensor) -> Tensor:
    """Sum over five frames and three bins of `(B, T, F, C)`, with nothing beyond the ends."""
    for dim, reach in ((1, PHASE_FRAMES), (2, 1)):
        padded = nn.functional.pad(values, (0, 0) * (3 - dim) + (reach, reach))
        values = padded.unfold(dim, 2 * reach + 1, 1).sum(-1)
    return values


def position_noise(start: int, samples: int, channels: int, seed: int, device: torch.device) -> Tensor:
    """White noise that is a function of the absolute sample position, so that blocks agree with the whole.

    A counter-based generator (the finaliser of SplitMix64, Steele et al., OOPSLA 2014) on integers gives the same
    samples on every device.

    Returns:
        float32 `Tensor` of shape `(channels, samples)`: uniform, variance 1.
    """
    position = torch.arange(start, start + samples, device=device, dtype=torch.int64)
    stream = torch.arange(channels, device=device, dtype=torch.int64)[:, None] + channels * seed
    x = position + stream * 0x1E3779B97F4A7C15
    x = (x ^ _shift_right(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shift_right(x, 27)) * -0x6B2FB644ECCEEE15
    x = x ^ _shift_right(x, 31)
    return (_shift_right(x, 40).float() / 2**23 - 1) * math.sqrt(3)


def shaping_envelope(audio: Tensor, grid: int, short: int, long: int, floor: float) -> Tensor:
    """Temporal noise shaping: how loud the highest frequencies of a signal are from one millisecond to the next,
    relative to the 50 ms around. Noise with this envelope doesn't begin before an onset.

    The second difference of the samples weights frequencies by their square.

    Args:
        audio (`Tensor` of shape `(B, C, N)`): the signal.
        grid (`int`): resolution [samples].
        short, long (`int`): windows of the envelope and of what it is relative to, odd [points of the grid].
        floor (`float`): the least part of the longer average that the envelope falls to [power ratio].

    Returns:
        `Tensor` of the shape of `audio`.
    """
    samples = audio.shape[2]
    treble = nn.functional.pad(audio, (2, 0)).diff(n=2, dim=2)
    pool = nn.functional.avg_pool1d
    energy = pool(nn.functional.pad(treble.square(), (0, -samples % grid)), grid)
    now = pool(pool(energy, short, 1, short // 2), short, 1, short // 2)
    envelope = torch.sqrt(now + floor * pool(energy, long, 1, long // 2) + 1e-12)
    return nn.functional.interpolate(envelope, scale_factor=grid, mode="linear")[:, :, :samples]


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch has only the arithmetic one, which repeats the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
