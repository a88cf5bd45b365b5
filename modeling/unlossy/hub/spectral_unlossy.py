"""Spectra of mid and side and back, and the noise that is substituted.

Letters: B batch, C channels, N samples, T frames, F bins. A spectrum is a pair of real tensors `(B, C, T, F)`: ONNX has
no complex numbers, and a CPU works on contiguous real ones in half of the time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from .configuration_unlossy import PHASE_FRAMES, UnlossySpectrumConfig

Count = TypeVar("Count", int, Tensor)


def cached_tensor(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`lru_cache` for a function that makes a tensor, which training can use even if inference mode needed it first."""
    return lru_cache(torch.inference_mode(False)(function))


@dataclass(frozen=True)
class Spectrum:
    """Bins of an STFT, all but the one at half the sampling rate: real `Tensor`s of the same shape, `(B, C, T, F)`."""

    real: Tensor
    imaginary: Tensor

    def __add__(self, other: "Spectrum") -> "Spectrum":
        return Spectrum(self.real + other.real, self.imaginary + other.imaginary)

    def __sub__(self, other: "Spectrum") -> "Spectrum":
        return Spectrum(self.real - other.real, self.imaginary - other.imaginary)

    def __mul__(self, other: "Spectrum") -> "Spectrum":
        real = self.real * other.real - self.imaginary * other.imaginary
        return Spectrum(real, self.real * other.imaginary + self.imaginary * other.real)

    def scaled(self, gain: Tensor) -> "Spectrum":
        """Times a real gain."""
        return Spectrum(self.real * gain, self.imaginary * gain)

    def conjugate(self) -> "Spectrum":
        return Spectrum(self.real, -self.imaginary)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Spectrum":
        """The same function of both parts."""
        return Spectrum(function(self.real), function(self.imaginary))

    def power(self) -> Tensor:
        """Squared magnitude, without the square root that `abs` has a poor gradient for."""
        return torch.addcmul(self.real.square(), self.imaginary, self.imaginary)


class FrontEnd(nn.Module):
    """Audio to the spectrum of mid and side, and back. It has no weights."""

    def __init__(self, config: UnlossySpectrumConfig):
        super().__init__()
        self.n_fft, self.hop_length, self.block_alignment = config.n_fft, config.hop_length, config.block_alignment

    def forward(self, audio: Tensor) -> tuple[Spectrum, Tensor]:
        """
        Args:
            audio (`Tensor` of shape `(B, C, N)`): mono or stereo, ±1.

        Returns:
            the bins that bands cover, of shape `(B, 2, T, n_fft / 2)`, and the bin at half the sampling rate, real of
                shape `(B, 2, T, 1)`, which passes through a network as it is.
        """
        if audio.ndim != 3 or audio.shape[1] not in (1, 2):
            raise ValueError(f"Expected audio of shape (batch_size, 1 or 2, samples), got {tuple(audio.shape)}.")
        return stft(to_mid_side(audio.float()), self.n_fft)

    def inverse(self, bins: Spectrum, top_bin: Tensor, channels: int, samples: int) -> Tensor:
        """What [`~FrontEnd.forward`] returns, to audio of shape `(B, channels, samples)`."""
        return from_mid_side(istft(bins, top_bin, samples), channels)

    def frame_mask(self, padding_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """`(B, N)` to `(B, T, 1, 1)`: one on the frames that an unpadded signal would have."""
        if padding_mask is None:
            return None
        frames = num_frames(padding_mask.shape[1], self.hop_length)
        valid = num_frames(padding_mask.long().sum(dim=1), self.hop_length)
        mask = torch.arange(frames, device=padding_mask.device) < valid[:, None]
        return mask[:, :, None, None].to(dtype)

    def noise(self, offset: int | Tensor, frames: int, device: torch.device) -> Tensor:
        """White noise under so many frames of a block that starts at `offset` [samples], `(1, 2, samples)`.

        Raises:
            ValueError: blocks can't start there.
        """
        if isinstance(offset, int) and offset % self.block_alignment:
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


def stft(audio: Tensor, n_fft: int) -> tuple[Spectrum, Tensor]:
    """Hann-windowed spectrum of a real signal with zeros around it, a hop of a quarter of the window, and phases that
    count from the beginning of the signal.

    With phases that count from there instead of from the frame's own start, a steady tone in the middle of a bin keeps
    its phase from frame to frame, so that a convolution over time can add up what belongs together. A sample has the
    same place in every frame for that: its position modulo the window's length.

    Args:
        audio (`Tensor` of shape `(B, C, N)`): float32.

    Returns:
        the spectrum `(B, C, T, n_fft / 2)` with `T = num_frames(N)`, and the bin at half the sampling rate, real of
            shape `(B, C, T, 1)`.
    """
    hop_length = n_fft // 4
    frames = num_frames(audio.shape[2], hop_length)
    # Two hops before the signal and one behind it; what is left of the last one.
    audio = nn.functional.pad(audio, (2 * hop_length, (frames + 1) * hop_length - audio.shape[2]))
    hops = audio.unflatten(2, (-1, hop_length))
    order = _hop_order(frames, audio.device)
    quarters = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device).unflatten(0, (4, hop_length))
    places = torch.arange(frames, device=audio.device)[:, None] + order
    windowed = hops.index_select(2, places.flatten()) * quarters.index_select(0, order.flatten())
    return _rfft(windowed.flatten(2).unflatten(2, (-1, n_fft)))


def istft(bins: Spectrum, top_bin: Tensor, samples: int) -> Tensor:
    """The inverse of [`stft`]: to audio `(B, C, samples)`."""
    frames, n_fft = bins.real.shape[2], 2 * bins.real.shape[3]
    hop_length = n_fft // 4
    window = torch.hann_window(n_fft, dtype=top_bin.dtype, device=top_bin.device)
    quarters = window.unflatten(0, (4, hop_length))
    order = _hop_order(frames, top_bin.device)
    parts = _irfft(bins, top_bin).flatten(2).unflatten(2, (-1, hop_length)) * quarters.index_select(0, order.flatten())
    # A hop is the sum of its place in the four frames that it is part of; the first one is part of three.
    parts = nn.functional.pad(parts, (0, 0, 4, 0))
    hop = torch.arange(frames - 2, device=top_bin.device)[:, None]
    frame = hop + torch.arange(4, device=top_bin.device)
    audio = parts.index_select(2, (4 * frame + hop % 4).flatten()).unflatten(2, (-1, 4)).sum(dim=3)
    energy = quarters.square()
    energy = torch.where(hop == 0, energy[:3].sum(dim=0), energy.sum(dim=0))
    return (audio / energy).flatten(2).narrow(2, 0, samples)


def _hop_order(frames: int, device: torch.device) -> Tensor:
    """Which of a frame's four hops, from the earliest on, stands in each of its places: `(T, 4)`."""
    return (torch.arange(4, device=device) - 2 - torch.arange(frames, device=device)[:, None]) % 4


def _rfft(frames: Tensor) -> tuple[Spectrum, Tensor]:
    """Real frames `(B, C, T, n_fft)` to their spectrum and the bin at half the sampling rate."""
    if torch.compiler.is_exporting():
        return _products_rfft(frames)
    spectrum = torch.fft.rfft(frames)
    bins = spectrum[..., :-1]
    return Spectrum(bins.real.contiguous(), bins.imag.contiguous()), spectrum[..., -1:].real


def _irfft(bins: Spectrum, top_bin: Tensor) -> Tensor:
    """The inverse of [`_rfft`]."""
    if torch.compiler.is_exporting():
        return _products_irfft(bins, top_bin)
    spectrum = torch.complex(nn.functional.pad(bins.real, (0, 1)), nn.functional.pad(bins.imaginary, (0, 1)))
    spectrum[..., -1:] = top_bin
    return torch.fft.irfft(spectrum)


def _products_rfft(frames: Tensor) -> tuple[Spectrum, Tensor]:
    """[`_rfft`] as matrix products, in two steps (Cooley and Tukey, 1965), which take ONNX Runtime a quarter of
    the time of its own transform."""
    n_fft = frames.shape[-1]
    short, long = _factors(n_fft)
    samples = frames.unflatten(-1, (long, short)).transpose(-1, -2)
    first = Spectrum(*(samples @ part for part in _rotations(long, long, long)))
    turned = first * Spectrum(*_rotations(n_fft, short, long))
    cosines, sines = _rotations(short, short // 2, short)
    both = torch.cat([turned.real, turned.imaginary], dim=-2)
    real = torch.cat([cosines, -sines], dim=1) @ both
    imaginary = torch.cat([sines, cosines], dim=1) @ both
    return Spectrum(real.flatten(-2), imaginary.flatten(-2)), frames @ _alternating(n_fft)[:, None]


def _products_irfft(bins: Spectrum, top_bin: Tensor) -> Tensor:
    """[`_irfft`] as matrix products, see [`_products_rfft`]."""
    n_fft = 2 * bins.real.shape[-1]
    short, long = _factors(n_fft)
    # The bins that are not there are conjugates: twice the real part. That counts bin 0 twice.
    cosines, sines = (2 / n_fft * part for part in _rotations(short, short // 2, short))
    real, imaginary = (part.unflatten(-1, (-1, long)).transpose(-1, -2) for part in (bins.real, bins.imaginary))
    first = Spectrum(real @ cosines + imaginary @ sines, imaginary @ cosines - real @ sines)
    turned = first * Spectrum(*_rotations(n_fft, long, short)).conjugate()
    cosines, sines = _rotations(long, long, long)
    samples = torch.cat([cosines, sines], dim=1) @ torch.cat([turned.real, turned.imaginary], dim=-2)
    ends = torch.stack([-torch.ones(short), _alternating(short)]) / n_fft
    samples = samples + torch.cat([bins.real[..., :1], top_bin], dim=-1)[..., None, :] @ ends
    return samples.flatten(-2)


def _factors(n_fft: int) -> tuple[int, int]:
    """Two factors of a window's length that are as near to each other as can be, the first of them even."""
    short = max(factor for factor in range(2, math.isqrt(n_fft) + 1, 2) if n_fft % factor == 0)
    return short, n_fft // short


def _rotations(turn: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of exp(−2πi · row · column / turn), `(rows, columns)`."""
    steps = torch.arange(rows)[:, None] * torch.arange(columns) % turn
    angles = steps.double() * (-2 * math.pi / turn)
    return angles.cos().float(), angles.sin().float()


def _alternating(count: int) -> Tensor:
    """1, −1, 1, …"""
    return 1.0 - 2.0 * (torch.arange(count) % 2)


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
    hops = padded.unflatten(2, (-1, hop_length))
    windows = torch.cat([hops[:, :, :-1], hops[:, :, 1:]], dim=3)  # (B, C, T, 2 · hop)
    with torch.autocast(audio.device.type, enabled=False):  # samples need all their bits
        return (windows @ _mdct_basis(hop_length, audio.device)).transpose(1, 2)


def imdct(coefficients: Tensor, samples: int) -> Tensor:
    """The inverse of [`mdct`]: `(B, T, C, hop_length)` to `(B, C, samples)`."""
    hop_length = coefficients.shape[3]
    with torch.autocast(coefficients.device.type, enabled=False):
        windows = coefficients.transpose(1, 2) @ _mdct_basis(hop_length, coefficients.device).T
    return (windows[:, :, :-1, hop_length:] + windows[:, :, 1:, :hop_length]).flatten(2).narrow(2, 0, samples)


def _mdct_basis(hop_length: int, device: torch.device) -> Tensor:
    """Window times cosines, `(2 · hop_length, hop_length)`."""
    if torch.compiler.is_exporting():  # made when the file is loaded, which is smaller by eight megabytes for that
        return _make_mdct_basis(hop_length)
    return _cached_mdct_basis(hop_length).to(device)


def _make_mdct_basis(hop_length: int) -> Tensor:
    time = torch.arange(2 * hop_length, dtype=torch.float64)[:, None] + 0.5
    frequency = torch.arange(hop_length) + 0.5
    window = torch.sin(math.pi * time / (2 * hop_length)) * math.sqrt(2 / hop_length)
    return (window * torch.cos(math.pi / hop_length * (time + hop_length / 2) * frequency)).float()


_cached_mdct_basis = cached_tensor(_make_mdct_basis)


def phase_advance(bins: Spectrum) -> Spectrum:
    """How far the phase of a steady tone advances from one frame to the next, measured over five frames and three bins.

    Args:
        bins (`Spectrum`): from bin 0 up.

    Returns:
        `Spectrum` of the same shape: at each frame the advance since the frame before. Its magnitude says how well
            those frames and bins agree, from 0 for noise to 1 for a tone.
    """
    # Phases that count from the beginning turn by a quarter more from one bin of a tone to the next.
    quarters = torch.arange(bins.real.shape[3], device=bins.real.device) % 4
    zero, one, two, three = ((quarters == number).float() for number in range(4))
    turn = Spectrum(zero - two, three - one)
    turns = bins.map(lambda x: x[:, :, 1:]) * bins.map(lambda x: x[:, :, :-1]).conjugate() * turn.conjugate()
    turns = turns.map(lambda x: nn.functional.pad(x, (0, 0, 1, 0)))
    agreement = _sum_nearby(torch.sqrt(turns.power() + 1e-20)) + 1e-9
    return (turns.map(_sum_nearby) * turn).scaled(1 / agreement)


def _sum_nearby(values: Tensor) -> Tensor:
    """Sum over five frames and three bins of `(B, C, T, F)`, with nothing beyond the ends."""
    frames, bins = values.shape[2:]
    padded = nn.functional.pad(values, (1, 1, PHASE_FRAMES, PHASE_FRAMES))
    over_bins = padded[..., :bins] + padded[..., 1:-1] + padded[..., 2:]
    parts = [over_bins[:, :, shift : shift + frames] for shift in range(2 * PHASE_FRAMES + 1)]
    return torch.stack(parts).sum(dim=0)


def position_noise(start: int | Tensor, samples: int, channels: int, seed: int, device: torch.device) -> Tensor:
    """White noise that is a function of the absolute sample position, so that blocks agree with the whole.

    A counter-based generator (the finaliser of SplitMix64, Steele et al., OOPSLA 2014) on integers gives the same
    samples on every device.

    Returns:
        float32 `Tensor` of shape `(channels, samples)`: uniform, variance 1.
    """
    position = start + torch.arange(samples, device=device, dtype=torch.int64)
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
    energy = nn.functional.avg_pool1d(nn.functional.pad(treble.square(), (0, -samples % grid)), grid)
    now = moving_mean(moving_mean(energy, short), short)
    envelope = torch.sqrt(now + floor * moving_mean(energy, long) + 1e-12)
    return upsample(envelope, grid)[:, :, :samples]


def upsample(x: Tensor, factor: int) -> Tensor:
    """Linear interpolation of `(..., points)` to `(..., factor · points)`, as `torch.nn.functional.interpolate` has it:
    each point in the middle of its part, the first and the last one held. Three products in place of many gathers."""
    place = (torch.arange(factor, device=x.device, dtype=x.dtype) + 0.5) / factor - 0.5
    before, after = (-place).clamp(min=0.0), place.clamp(min=0.0)
    previous, following = torch.cat([x[..., :1], x[..., :-1]], -1), torch.cat([x[..., 1:], x[..., -1:]], -1)
    parts = previous[..., None] * before + x[..., None] * (1 - before - after) + following[..., None] * after
    return parts.flatten(-2)


def moving_mean(x: Tensor, width: int) -> Tensor:
    """Mean of the last dimension over an odd `width` around each value, with nothing beyond the ends. Sums of twice as
    many values at each step: a pooling layer adds up all of them for each value."""
    length, total, added, size = x.shape[-1], torch.zeros_like(x), 0, 1
    sums = nn.functional.pad(x, (width // 2, width // 2))
    while added < width:
        if width & size:
            total, added = total + sums[..., added : added + length], added + size
        sums, size = sums[..., :-size] + sums[..., size:], 2 * size
    return total / width


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch has only the arithmetic one, which repeats the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
