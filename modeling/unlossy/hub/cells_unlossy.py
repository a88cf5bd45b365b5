"""Cells: neighbouring bins whose energy in a frame is taken together, like the scale-factor bands of a codec.

Letters: B batch, T frames, F bins, C channels (mid and side). Cells are `(B, T, cells, C)`, bins `(B, C, T, F)`. The
energy of a cell is the mean power of its bins in an unscaled STFT with a Hann window, where a full-scale sine has a
power of `(n_fft / 4)²`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .configuration_unlossy import UnlossySpectrumConfig
from .spectral_unlossy import cached_tensor, moving_mean

DECIBEL = 10 / math.log(10)  # a natural logarithm of energy in decibels
NOTHING = 1e-12  # what every bin is taken to have at least, relative to full scale [power ratio]
SILENCE = -120.0  # the level of that [dB]
MASKED = 10**-7.5  # of a frame's loudest cell: what is weaker is not heard beside it [power ratio]


def power_ratio(decibels: float) -> float:
    """A level as a ratio of energies."""
    return float(10 ** (decibels / 10))


@dataclass(frozen=True)
class CellGrid:
    """The cells of a spectrum, and what they have to do with each other. A plain value: tensors that follow from it
    are cached for every device, in single precision whatever the network's.

    Args:
        widths (`tuple[int, ...]`): width of every cell, from bin 0 up [bins].
        n_fft (`int`): length of the window [samples].
        sampling_rate (`int`): [Hz].
    """

    widths: tuple[int, ...]
    n_fft: int
    sampling_rate: int

    @classmethod
    def of(cls, config: UnlossySpectrumConfig) -> "CellGrid":
        return cls(config.cell_widths, config.n_fft, config.sampling_rate)

    @property
    def hertz_per_bin(self) -> float:
        return self.sampling_rate / self.n_fft

    @property
    def full_scale(self) -> float:
        """Power of a full-scale sine in the middle of a bin."""
        return (self.n_fft / 4) ** 2

    @property
    def edges_hz(self) -> Tensor:
        """Lower edge of every cell, and the upper one of the last: float64 of shape `(cells + 1,)` [Hz]."""
        return torch.tensor((0, *self.widths), dtype=torch.float64).cumsum(0) * self.hertz_per_bin

    def energy(self, bin_power: Tensor) -> Tensor:
        """Mean power of the bins in each cell: `(B, C, T, F)` to `(B, T, cells, C)`."""
        sizes = [width * count for width, count in self._runs]
        parts = zip(bin_power[..., : sum(sizes)].split(sizes, dim=3), self._runs, strict=True)
        means = [part.unflatten(3, (count, width)).mean(4) for part, (width, count) in parts]
        return torch.cat(means, dim=3).permute(0, 2, 3, 1)

    def spread(self, cells: Tensor) -> Tensor:
        """Each cell's value on each of its bins: `(B, T, cells, C)` to `(B, C, T, F)`."""
        cells = cells.permute(0, 3, 1, 2)
        if torch.compiler.is_exporting():  # a product takes ONNX Runtime half of the time of what copies
            cell_of_bin = [cell for cell, width in enumerate(self.widths) for _ in range(width)]
            return cells @ torch.eye(len(self.widths)).index_select(1, torch.tensor(cell_of_bin)).to(cells.dtype)
        counts = [count for _, count in self._runs]
        parts = zip(cells.split(counts, dim=3), self._runs, strict=True)
        return torch.cat([part[..., None].expand(*part.shape, width).flatten(3) for part, (width, _) in parts], dim=3)

    def total(self, energy: Tensor) -> Tensor:
        """Energy of all cells together, bin by bin: `(B, T, cells, C)` to `(B, T, 1, C)`."""
        return (_width(self, energy.device) * energy).sum(dim=2, keepdim=True)

    def levels(self, bin_power: Tensor) -> tuple[Tensor, Tensor]:
        """Level and spectral flatness of each cell.

        Args:
            bin_power (`Tensor` of shape `(B, C, T, F)`): of the STFT.

        Returns:
            level, 0 for a full-scale sine in every bin and `SILENCE` for nothing, and flatness, the geometric over the
                arithmetic mean of the bins, both `(B, T, cells, C)` [dB].
        """
        relative = bin_power / self.full_scale
        level = torch.log(self.energy(relative) + NOTHING)
        return DECIBEL * level, DECIBEL * (self.energy(torch.log(relative + NOTHING)) - level)

    def level_energy(self, level: Tensor) -> Tensor:
        """The inverse of [`~CellGrid.levels`]: a level [dB] to energy."""
        return (torch.exp(level / DECIBEL) - NOTHING).clamp(min=0.0) * self.full_scale

    def reference(self, energy: Tensor, slope: float) -> Tensor:
        """A cell's own energy, or the slope down from the cells below it where that is more.

        Args:
            energy (`Tensor` of shape `(B, T, cells, C)`): of cells.
            slope (`float`): [dB a bin].

        Returns:
            `Tensor` of the same shape; zero where everything from the cell down is zero.
        """
        tilt = _tilt(self, slope, energy.device)
        highest, cells, step = energy / tilt, len(self.widths), 1
        while step < cells:  # the highest of twice as many cells at each step
            highest = torch.maximum(highest, torch.nn.functional.pad(highest[:, :, :-step], (0, 0, step, 0)))
            step *= 2
        return highest * tilt

    def smooth(self, energy: Tensor, room: Tensor) -> Tensor:
        """ERB smoothing: energy shared among the cells that the ear does not tell apart, those whose centres are within
        half of the wider equivalent rectangular bandwidth (Glasberg and Moore, 1990).

        Args:
            energy (`Tensor` of shape `(B, T, cells, C)`): of cells.
            room (`Tensor` of shape `(B, T, cells, C)`): above 0; a cell's share goes by it and by the cell's width.

        Returns:
            `Tensor` of the same shape, with the same energy in all.
        """
        width, near = _width(self, energy.device), _within_erb(self, energy.device)

        def sum_near(cells: Tensor) -> Tensor:
            return (cells.transpose(2, 3) @ near).transpose(2, 3)  # one product for all frames

        with torch.autocast(energy.device.type, enabled=False):  # sums of energies need all their bits
            return room * sum_near(width * energy / sum_near(width * room))

    def band_weights(self, low_hz: float, high_hz: float, device: torch.device) -> Tensor:
        """What each cell counts in the mean over a band, `(cells, 1)`, in all 1."""
        return _band_weights(self, low_hz, high_hz, device)

    def erb_widths(self) -> Tensor:
        """Width of each cell on the ERB-rate scale (Glasberg and Moore, 1990): float64 of shape `(cells,)`."""
        return torch.diff(21.4 * torch.log10(1 + 0.00437 * self.edges_hz))

    def level_weights(self, side_weight: float) -> Tensor:
        """What to scale the levels of mid and side `(cells · 2,)` by, so that their squares count by the ERBs that a
        cell covers, and the side by `side_weight`: float64."""
        return torch.outer(self.erb_widths(), torch.tensor([1.0, side_weight])).sqrt().flatten()

    @cached_property
    def _runs(self) -> list[tuple[int, int]]:
        """Adjacent cells of equal width together: `(4, 4, 8)` to `[(4, 2), (8, 1)]`."""
        runs: list[tuple[int, int]] = []
        for width in self.widths:
            count = runs.pop()[1] if runs and runs[-1][0] == width else 0
            runs.append((width, count + 1))
        return runs


def adjacent_mean(cells: Tensor, frames: int) -> Tensor:
    """Mean over so many frames to either side, with nothing beyond the ends: `(B, T, cells, C)` to the same shape."""
    return moving_mean(cells.movedim(1, 3), 2 * frames + 1).movedim(3, 1)


def masked_energy(energy: Tensor) -> Tensor:
    """What is not heard beside the loudest cell of its frame: `(B, T, cells, C)` to `(B, T, 1, 1)`."""
    return MASKED * energy.amax(dim=(2, 3), keepdim=True)


def flatness_feature(flatness: Tensor) -> Tensor:
    """Spectral flatness [dB] as a feature, with mean about 0 and deviation about 1 for music."""
    return -0.4 - 0.7 / DECIBEL * flatness


def makeup_gain(before: Tensor, after: Tensor, most: float) -> Tensor:
    """Make-up gain: half, in decibels, of the energy that a correction has removed from each cell.

    Args:
        before, after (`Tensor` of shape `(B, T, cells, C)`): energy of the cells.
        most (`float`): of the loss that counts [dB].

    Returns:
        `Tensor` of shape `(B, T, cells, C)` [amplitude ratio].
    """
    lost = before / (after + 1e-9)
    return lost.clamp(1.0, power_ratio(most)) ** 0.25


@cached_tensor
def _width(grid: CellGrid, device: torch.device) -> Tensor:
    """[bins], `(cells, 1)`."""
    return torch.tensor(grid.widths, dtype=torch.float32, device=device)[:, None]


@cached_tensor
def _tilt(grid: CellGrid, slope: float, device: torch.device) -> Tensor:
    """A slope [dB a bin] at the centre of each cell, `(cells, 1)` [power ratio]."""
    width = _width(grid, device)
    return torch.exp((torch.cumsum(width, dim=0) - width / 2) * (slope / DECIBEL))


@cached_tensor
def _within_erb(grid: CellGrid, device: torch.device) -> Tensor:
    """1 for two cells whose centres are at most half a bandwidth apart, else 0, `(cells, cells)`."""
    centre = (grid.edges_hz[1:] + grid.edges_hz[:-1]) / 2
    bandwidth = 24.7 * (1 + 0.00437 * centre)
    wider = torch.maximum(bandwidth, bandwidth[:, None])
    return ((centre - centre[:, None]).abs() <= wider / 2).float().to(device)


@cached_tensor
def _band_weights(grid: CellGrid, low_hz: float, high_hz: float, device: torch.device) -> Tensor:
    """See [`~CellGrid.band_weights`]."""
    return (grid.edges_hz.clamp(low_hz, high_hz).diff() / (high_hz - low_hz))[:, None].float().to(device)


__all__ = ["CellGrid"]
