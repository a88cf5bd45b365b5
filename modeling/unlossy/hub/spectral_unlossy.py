"""Spectra, mid and side, frequency cells and the noise carrier: pure functions, shapes `(..., time)`.

Letters: B batch, C channels, N samples, T frames, F bins. Spectra are `(B, T, F, C)`, as the network's layers are.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

# Of `treble_envelope`: its grid [samples], two windows [points], 1.1 and 47 ms, and the share of the mean over the
# longer one that there is at least [power ratio].
GRID, SHORT, LONG, LEAST_PART = 16, 3, 129, 0.01

# Of a frame's loudest cell: what is quieter is not heard beside it [power ratio].
INAUDIBLE = 10**-7.5

NOTHING = 1e-12  # beside a full-scale sine [power ratio]: -120 dB
SILENCE = math.log(NOTHING)  # [nepers of energy]

Count = TypeVar("Count", int, Tensor)


def cached_tensor(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`lru_cache` for a function that makes a tensor, which training can use even if inference mode needed it first."""
    return lru_cache(torch.inference_mode(False)(function))


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
    audio = torch.nn.functional.pad(audio.reshape(batch * channels, samples), (0, padded - samples))
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
    padded = torch.nn.functional.pad(audio, (hop_length, frames * hop_length - audio.shape[2]))
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


def steady_phase(frames: int, bins: int, device: torch.device) -> Tensor:
    """Factors that refer each frame's phase to time zero instead of to the frame's own start.

    With them a steady tone in the middle of a bin keeps its phase from frame to frame, so that a convolution over
    time can add up what belongs together. For a hop of a quarter of the window they are powers of −i and repeat every
    four frames. Multiply by the conjugate to go back.

    Returns:
        complex64 `Tensor` of shape `(T, F, 1)`.
    """
    quarter_turns = torch.arange(4, device=device)
    # Frame t is centred on sample t · hop; torch.stft counts phase from half a window earlier: two hops.
    turns = (torch.arange(4, device=device)[:, None] + 2) * torch.arange(bins, device=device) % 4
    cycle = torch.polar(torch.ones(4, device=device), quarter_turns * (-math.pi / 2))[turns]
    return cycle.repeat(frames // 4 + 1, 1)[:frames, :, None]


def phase_advance(bins: Tensor) -> Tensor:
    """By how much a steady tone's phase turns from one frame to the next, measured over five frames and three bins.

    Args:
        bins (complex `Tensor` of shape `(B, T, F, C)`): with [`steady_phase`], from bin 0 up.

    Returns:
        complex `Tensor` of the same shape: at each frame the turn since the frame before. Its magnitude says how well
            those frames and bins agree, from 0 for noise to 1 for a tone.
    """
    first, second = steady_phase(2, bins.shape[2], bins.device)
    apart = second * first.conj()  # by which steady phase has the bins of one tone turn differently
    turns = bins[:, 1:] * bins[:, :-1].conj() * apart.conj()
    turns = torch.nn.functional.pad(turns, (0, 0, 0, 0, 1, 0))
    return _sum_nearby(turns) * apart / (_sum_nearby(turns.abs()) + 1e-9)


def _sum_nearby(values: Tensor) -> Tensor:
    """Sum over five frames and three bins of `(B, T, F, C)`, with nothing beyond the ends."""
    for dim, reach in ((1, 2), (2, 1)):
        padded = torch.nn.functional.pad(values, (0, 0) * (3 - dim) + (reach, reach))
        values = padded.unfold(dim, 2 * reach + 1, 1).sum(-1)
    return values


def cell_energy(bin_power: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Mean power a bin in each cell: `(B, T, F, C)` to `(B, T, cells, C)`, cells `widths` bins wide from bin 0 up."""
    sizes = [width * count for width, count in _runs(widths)]
    parts = zip(bin_power[:, :, : sum(widths)].split(sizes, dim=2), _runs(widths), strict=True)
    return torch.cat([part.unflatten(2, (count, width)).mean(3) for part, (width, count) in parts], dim=2)


def cell_levels(bin_power: Tensor, widths: tuple[int, ...], n_fft: int) -> tuple[Tensor, Tensor]:
    """What an unscaled STFT with a Hann window shows of each cell.

    Returns:
        level, a full-scale sine in a bin being 0 and nothing `SILENCE`, and unevenness, the arithmetic over the
            geometric mean of its bins, both `(B, T, cells, C)` [nepers of energy].
    """
    relative = bin_power / (n_fft / 4) ** 2  # to a full-scale sine
    level = torch.log(cell_energy(relative, widths) + NOTHING)
    return level, level - cell_energy(torch.log(relative + NOTHING), widths)


def cell_power(level: Tensor, n_fft: int) -> Tensor:
    """The inverse of [`cell_levels`]' level: mean power a bin."""
    return (torch.exp(level) - NOTHING).clamp(min=0) * (n_fft / 4) ** 2


def nearby_mean(cells: Tensor, frames: int) -> Tensor:
    """Mean over so many frames to either side, with nothing beyond the ends: `(B, T, cells, C)` to the same shape."""
    flat = cells.flatten(2).transpose(1, 2)
    mean = torch.nn.functional.avg_pool1d(flat, 2 * frames + 1, 1, frames)
    return mean.transpose(1, 2).view_as(cells)


@cached_tensor
def cells_in_band(widths: tuple[int, ...], low: float, high: float) -> Tensor:
    """How much each cell counts in the mean over a band from `low` to `high` [bins], `(cells, 1)`; all in all, 1."""
    edges = torch.cumsum(torch.tensor((0, *widths), dtype=torch.float64), dim=0).clamp(low, high)
    return (edges.diff() / (high - low))[:, None].float()


def inaudible_energy(energy: Tensor) -> Tensor:
    """What is not heard beside the loudest cell of its frame: `(B, T, cells, C)` to `(B, T, 1, 1)`."""
    return INAUDIBLE * energy.amax(dim=(2, 3), keepdim=True)


def spread_cells(cells: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Each cell's value on each of its bins: `(B, T, cells, C)`, one or two channels, to `(B, T, sum(widths), C)`."""
    channels = cells.shape[3]
    # Mid and side as one number: copying pairs of numbers takes ten times as long.
    cells = torch.view_as_complex(cells.contiguous()) if channels == 2 else cells.squeeze(3)
    counts = [count for _, count in _runs(widths)]
    parts = zip(cells.split(counts, dim=2), _runs(widths), strict=True)
    spread = torch.cat([part[..., None].expand(-1, -1, -1, width).flatten(2) for part, (width, _) in parts], dim=2)
    return torch.view_as_real(spread) if channels == 2 else spread[..., None]


def share_out(energy: Tensor, room: Tensor, widths: tuple[int, ...], hertz_per_bin: float) -> Tensor:
    """What each cell has, shared among the cells that the ear does not tell from it: those within half of the wider
    equivalent rectangular bandwidth (Glasberg and Moore, 1990), a bandwidth in all.

    Args:
        energy (`Tensor` of shape `(B, T, cells, C)`): mean power a bin.
        room (`Tensor` of shape `(B, T, cells, C)`): above 0; what a cell gets goes by it and by the cell's width.
        hertz_per_bin (`float`): [Hz].

    Returns:
        `Tensor` of the shape of `energy`: mean power a bin, in all as much as before.
    """
    width = torch.tensor(widths, dtype=energy.dtype, device=energy.device)[:, None]
    near = _indistinguishable(widths, hertz_per_bin).to(energy)

    def sum_near(cells: Tensor) -> Tensor:
        return (cells.transpose(2, 3) @ near).transpose(2, 3)  # one product for all frames

    with torch.autocast(energy.device.type, enabled=False):  # sums of energies need all their bits
        return room * sum_near(width * energy / sum_near(width * room))


@cached_tensor
def _indistinguishable(widths: tuple[int, ...], hertz_per_bin: float) -> Tensor:
    """1 for two cells whose centres are at most half a bandwidth apart, else 0, `(cells, cells)`."""
    edges = torch.cumsum(torch.tensor((0, *widths), dtype=torch.float64), dim=0) * hertz_per_bin
    centre = (edges[1:] + edges[:-1]) / 2
    bandwidth = 24.7 * (1 + 0.00437 * centre)
    wider = torch.maximum(bandwidth, bandwidth[:, None])
    return ((centre - centre[:, None]).abs() <= wider / 2).float()


def sloping_base(energy: Tensor, widths: tuple[int, ...], slope_db: float = -1.5, per_bins: int = 16) -> Tensor:
    """Energy that detail is measured against: a cell's own, or the slope down from the cells below where that is more.

    Args:
        energy (`Tensor` of shape `(B, T, cells, C)`): mean power a bin.
        slope_db (`float`): fall of the slope over `per_bins` bins [dB].

    Returns:
        `Tensor` of the same shape, at least `energy`; zero where everything from the cell down is zero.
    """
    width = torch.tensor(widths, dtype=energy.dtype, device=energy.device)[:, None]
    centre = torch.cumsum(width, dim=0) - width / 2
    tilt = torch.exp(centre * (slope_db / per_bins * math.log(10) / 10))
    return torch.cummax(energy / tilt, dim=2).values * tilt


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


def treble_envelope(audio: Tensor) -> Tensor:
    """How loud the highest frequencies that there are, are from one millisecond to the next, relative to the 50 ms
    around: `(B, C, N)` to the same shape.

    Taken twice, the difference of neighbouring samples weights frequencies by their square.
    """
    samples = audio.shape[2]
    treble = torch.nn.functional.pad(audio, (2, 0)).diff(n=2, dim=2)
    pool = torch.nn.functional.avg_pool1d
    energy = pool(torch.nn.functional.pad(treble.square(), (0, -samples % GRID)), GRID)
    short = pool(pool(energy, SHORT, 1, SHORT // 2), SHORT, 1, SHORT // 2)
    envelope = torch.sqrt(short + LEAST_PART * pool(energy, LONG, 1, LONG // 2) + 1e-12)
    return torch.nn.functional.interpolate(envelope, scale_factor=GRID, mode="linear")[:, :, :samples]


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch has only the arithmetic one, which repeats the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _runs(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """Neighbouring equal widths together: `(4, 4, 8)` to `[(4, 2), (8, 1)]`."""
    runs: list[tuple[int, int]] = []
    for width in widths:
        if runs and runs[-1][0] == width:
            runs[-1] = (width, runs[-1][1] + 1)
        else:
            runs.append((width, 1))
    return runs
