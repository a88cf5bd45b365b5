"""Detail: how much energy each cell of mid and side lacks, and how that is made up for.

Large, certain deficits are filled with noise (noise substitution). Small or uncertain ones are met by make-up gain on
what is there, because noise counts as error with all of its power. Letters: B batch, T frames, F bins, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .cells_unlossy import (
    DECIBEL,
    SILENCE,
    CellGrid,
    adjacent_mean,
    flatness_feature,
    makeup_gain,
    masked_energy,
    power_ratio,
)
from .configuration_unlossy import UnlossyConfig
from .layers_unlossy import Blocks, ConvNextBlock, ZeroLinear
from .spectral_unlossy import FrontEnd, Spectrum, shaping_envelope, stft, to_mid_side

# Features have mean about 0 and deviation about 1. Their scales, and those of what the networks predict, are round
# numbers of natural logarithms, as they were trained with.
FAINTEST = -25 * DECIBEL  # lowest level relative to the loudness around [dB]
LEVEL_DEVIATION, LEVEL_OFFSET = 5 * DECIBEL, 2.4
DEFICIT_DEVIATION, MOST_FILLED = 4 * DECIBEL, 12 * DECIBEL  # of the refiner's features [dB]
PREDICTED, REFINED = 8 * DECIBEL, 4 * DECIBEL  # what an output of 1 means [dB]
LEAST_ROOM = 1e-3  # of a preserved cell, for noise [share]


@dataclass
class CellAnalysis:
    """What an input holds and lacks in each cell of mid and side, `Tensor`s of shape `(B, T, cells, 2)`.

    Attributes:
        energy: of the cell.
        reference: the same, or in a spectral hole the energy that deficits are counted from.
        deficit: predicted, by how much the energy is too low; below 0, nothing is missing [dB].
        preserved: how far the codec preserved the cell, from 0 to 1.
        loudness: energy of all cells, averaged over the frames around, of shape `(B, T, 1, 1)`.
    """

    energy: Tensor
    reference: Tensor
    deficit: Tensor
    preserved: Tensor
    loudness: Tensor


class DetailPredictor(nn.Module):
    """From the level of each cell of the input to its deficit: convolutions over time, all cells at once, as in Vocos
    (https://arxiv.org/abs/2306.00814), and as many frames together as `config.detail_stride` says.

    Treble follows what is below it, across the whole spectrum and within some hundredths of a second. This network sees
    both at a fraction of the trunk's cost, and learns from cells alone, many times faster.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.stride, size = config.detail_stride, config.detail_size
        values = 2 * len(config.cell_widths) * self.stride
        self.input = nn.Linear(2 * values, size)
        self.blocks = Blocks(
            ConvNextBlock(size, config.expansion, (config.detail_kernel_size, 1), dilation)
            for dilation in config.detail_dilations
        )
        self.norm = nn.LayerNorm(size)
        self.output = ZeroLinear(size, values)

    def forward(self, level: Tensor, flatness: Tensor, mask: Tensor | None) -> Tensor:
        """
        Args:
            level, flatness (`Tensor` of shape `(B, T, cells, 2)`, `T` a multiple of the stride): as features.
            mask (`Tensor` of shape `(B, T / stride, 1, 1)`, *optional*): 1 on audio, 0 on padding.

        Returns:
            `Tensor` of shape `(B, T, cells, 2)`: deficit [dB].
        """
        features = torch.cat([level, flatness], dim=2).flatten(2).unflatten(1, (-1, self.stride)).flatten(2)
        hidden = self.blocks(self.input(features.to(self.input.weight.dtype))[:, :, None], mask)
        deficit = PREDICTED * self.output(self.norm(hidden))[:, :, 0].float()
        return deficit.unflatten(2, (self.stride, *level.shape[2:])).flatten(1, 2)


class DetailRefiner(nn.Module):
    """A second look at a predicted deficit: 2-D convolutions over frames and cells, the same weights for all cells.

    How treble changes from one cell to the next is alike at any frequency and for any cutoff. So this needs few
    weights, and few recordings to learn them from.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.stride, size = config.detail_stride, config.refiner_size
        values = 2 * self.stride  # mid and side of the frames that are taken together
        self.input = nn.Linear(4 * values, size)
        self.position = nn.Parameter(torch.empty(len(config.cell_widths), size))
        self.blocks = Blocks(
            ConvNextBlock(size, config.expansion, (3, 3), dilation) for dilation in config.refiner_dilations
        )
        self.norm = nn.LayerNorm(size)
        self.output = ZeroLinear(size, values)

    def forward(self, level: Tensor, flatness: Tensor, deficit: Tensor, mask: Tensor | None) -> Tensor:
        """
        Args:
            level, flatness, mask: see [`DetailPredictor`].
            deficit (`Tensor` of shape `(B, T, cells, 2)`): as predicted so far [dB].

        Returns:
            `Tensor` of shape `(B, T, cells, 2)`: deficit [dB].
        """
        filled = level + deficit.clamp(0.0, MOST_FILLED) / LEVEL_DEVIATION
        features = torch.stack([level, flatness, deficit / DEFICIT_DEVIATION, filled], dim=4).flatten(3)
        features = features.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(3)
        hidden = self.input(features.to(self.input.weight.dtype)) + self.position
        more = REFINED * self.output(self.norm(self.blocks(hidden, mask))).float()
        return deficit + more.unflatten(3, (self.stride, 2)).transpose(2, 3).flatten(1, 2)


class DetailHead(nn.Module):
    """Finds what each cell of the input lacks."""

    def __init__(self, config: UnlossyConfig, grid: CellGrid):
        super().__init__()
        self.config, self.grid = config, grid
        self.predictor = DetailPredictor(config)
        self.refiner = DetailRefiner(config)

    def forward(self, level: Tensor, flatness: Tensor, frame_mask: Tensor | None = None) -> CellAnalysis:
        """
        Args:
            level, flatness (`Tensor` of shape `(B, T, cells, 2)`): of the input, see [`CellGrid.levels`] [dB].
            frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.
        """
        config, frames, stride = self.config, level.shape[1], self.config.detail_stride
        # Silence, where a whole signal ends and a padded one goes on.
        padding = (0, 0, 0, 0, 0, -frames % stride)
        level = nn.functional.pad(level, padding, value=SILENCE)
        flatness = nn.functional.pad(flatness, padding)
        energy = self.grid.level_energy(level)
        around = adjacent_mean(energy, config.context_frames)
        loudness = around.sum(dim=(2, 3), keepdim=True)
        # How loud the recording is says nothing about what it lacks.
        relative = level - DECIBEL * torch.log(loudness / self.grid.full_scale + 1e-9)
        features = relative.clamp(min=FAINTEST) / LEVEL_DEVIATION + LEVEL_OFFSET, flatness_feature(flatness)
        mask = None if frame_mask is None else frame_mask[:, ::stride]
        deficit = self.refiner(*features, self.predictor(*features, mask), mask)
        # The level of a hole is steady: the rhythm of what is missing is the prediction's alone.
        hole = power_ratio(config.hole_level)
        empty = torch.maximum(hole * self.grid.reference(around, config.reference_slope), masked_energy(around))
        reference = torch.maximum(energy, empty) * (energy.sum(dim=(2, 3), keepdim=True) > 0)
        slope = self.grid.reference(energy, config.reference_slope)
        above = DECIBEL * torch.log((energy + 1e-12) / (hole * slope + 1e-12))
        preserved = (above / (config.preserved_level - config.hole_level)).clamp(0.0, 1.0)
        return CellAnalysis(*(x[:, :frames] for x in (energy, reference, deficit, preserved, loudness)))


class DetailFill(nn.Module):
    """Makes up for the deficits: noise for what is certain, make-up gain for the rest. It has no weights."""

    def __init__(self, config: UnlossyConfig, grid: CellGrid, front_end: FrontEnd):
        super().__init__()
        self.config, self.grid, self.front_end = config, grid, front_end

    def forward(
        self, faithful: Spectrum, cells: CellAnalysis, audio: Tensor, amount: float | Tensor, offset: int | Tensor
    ) -> Spectrum:
        """
        Args:
            faithful (`Spectrum`): corrected bins.
            audio (`Tensor` of shape `(B, C, N)`): the input.
            amount (`float`): of the detail, from 0 to 1.
            offset (`int`): position of the block in a longer signal [samples].

        Returns:
            bins of the same shape.
        """
        grid, caution = self.grid, self.caution(cells)
        noise = self.noise(audio, faithful.real.shape[2], offset)
        substituted = self.noise_energy(cells, cells.deficit - caution)
        # As loud as it has to be in every single cell: left to chance, it is now louder, now quieter.
        loudness = grid.energy(noise.power())
        # The square root of the energy, but with a finite gradient at zero.
        amplitude = substituted * torch.rsqrt((substituted + 1e-12) * (loudness + 1e-12))
        added = noise.scaled(grid.spread(amount * amplitude))
        corrected = grid.energy(faithful.power())
        gain = torch.cat([self.mid_gain(corrected, cells, caution), self.side_gain(corrected, cells)], dim=3)
        return faithful.scaled(grid.spread(1 + amount * (gain ** self.steadiness(cells) - 1))) + added

    def noise(self, audio: Tensor, frames: int, offset: int | Tensor) -> Spectrum:
        """Bins of noise that rises and falls as the treble of `audio` does, `(B, 2, frames, F)`."""
        config = self.config
        noise = self.front_end.noise(offset, frames, audio.device)
        # As if the signal went on in silence, wherever in a frame it ends.
        audio = nn.functional.pad(audio.float(), (0, noise.shape[2] - audio.shape[2]))
        shape = shaping_envelope(
            to_mid_side(audio),
            config.shaping_grid,
            config.shaping_short,
            config.shaping_long,
            power_ratio(config.shaping_floor),
        )
        bins, _ = stft(noise * shape, config.n_fft)
        return bins.map(lambda x: x[:, :, :frames])

    def caution(self, cells: CellAnalysis) -> Tensor:
        """The part of each deficit that no noise is substituted for, `(B, T, cells, 2)` [dB].

        Treble that the original never had is worse than missing treble. And noise harms fidelity in preserved cells,
        the more the louder it is; most treble is far too faint for that, and missed all the same.
        """
        config = self.config
        noise = cells.reference * excess(cells.deficit, config.max_deficit)
        # Half, in decibels, of how much quieter a frame is than what is around: before an onset nothing masks noise.
        own = cells.energy.sum(dim=(2, 3), keepdim=True)
        loudness = (cells.loudness * torch.minimum(own, cells.loudness)).sqrt()
        loud = torch.log10((noise + 1e-12) / (power_ratio(config.faint_noise) * loudness + 1e-9)).clamp(min=0.0)
        least = config.hole_caution + (config.preserved_caution - config.hole_caution) * cells.preserved
        mid_and_side = torch.tensor([1.0, config.side_caution], device=loud.device)
        return least * (1 + config.loud_caution * loud) * mid_and_side

    def noise_energy(self, cells: CellAnalysis, deficit: Tensor) -> Tensor:
        """Energy of the noise that makes up for a deficit [dB], both `(B, T, cells, 2)`. It goes where there is room
        for it, and evenly: neither the ear nor a rating tells where in a critical band energy lies, so that the loss
        lets the prediction put all of it into one cell, and that is heard as a steady tone."""
        energy = cells.reference * excess(deficit, self.config.max_deficit)
        return self.grid.smooth(energy, (1 - cells.preserved).clamp(min=LEAST_ROOM))

    def mid_gain(self, corrected: Tensor, cells: CellAnalysis, caution: Tensor) -> Tensor:
        """Make-up gain for the mid, `(B, T, cells, 1)` [amplitude ratio]: for the part of a deficit that no noise is
        substituted for, and for half of what the correction removed. The side has the latter back already, and its own
        fidelity counts for more."""
        deficit = torch.minimum(cells.deficit, caution)[..., :1].clamp(0.0, self.config.max_makeup_gain)
        makeup = makeup_gain(cells.energy[..., :1], corrected[..., :1], self.config.max_lost)
        return torch.exp(deficit / (2 * DECIBEL)) * makeup

    def side_gain(self, corrected: Tensor, cells: CellAnalysis) -> Tensor:
        """Make-up gain for the side, `(B, T, cells, 1)` [amplitude ratio]: even with half returned in each cell, the
        correction removes more from the side than from the mid, and the stereo image becomes narrower. One gain for all
        cells, averaged over 0.3 s, costs the least fidelity, for it is small everywhere."""
        config, grid = self.config, self.grid
        before, after = (
            adjacent_mean(grid.total(energy), config.context_frames) + 1e-9 for energy in (cells.energy, corrected)
        )
        lost = before / after
        beyond_mid = (lost[..., 1:] / lost[..., :1]).clamp(1.0, power_ratio(config.max_side_lost))
        return (beyond_mid ** (config.side_share / 2)).expand(-1, -1, len(grid.widths), -1)

    def steadiness(self, cells: CellAnalysis) -> Tensor:
        """1 in steady frames, falling towards 0 with the square of the energy ratio in frames around an onset,
        `(B, T, 1, 1)`: make-up gain would amplify the error that a codec spreads before it."""
        config = self.config
        level = torch.log(cells.energy + power_ratio(config.rise_floor) * cells.loudness + 1e-9).mean(dim=(2, 3))
        reach = config.rise_frames
        padded = nn.functional.pad(level, (reach, reach), mode="replicate")
        rise = padded[:, 2 * reach :] - padded[:, : -2 * reach]
        return torch.exp(-2 * (rise - config.rise_threshold / DECIBEL).clamp(min=0.0))[:, :, None, None]


def excess(deficit: Tensor, most: float) -> Tensor:
    """The energy that a deficit [dB] is, relative to what is there; a deficit above `most` [dB] counts as that."""
    return torch.expm1(deficit.clamp(0.0, most) / DECIBEL)


__all__ = ["CellAnalysis", "DetailFill", "DetailHead"]
