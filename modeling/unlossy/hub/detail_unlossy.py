"""Detail: what is missing in each cell of mid and side, and how that is made up for.

Noise takes the place of what is missing for sure. It counts as error in full, so that it isn't worth it where only a
little is missing, or maybe nothing; there, what is left of it is turned up instead. Letters: see `spectral_unlossy.py`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .configuration_unlossy import NEARBY, UnlossyConfig
from .layers_unlossy import DetailPredictor
from .spectral_unlossy import (
    SILENCE,
    cell_energy,
    cell_power,
    inaudible_energy,
    nearby_mean,
    power,
    share_out,
    sloping_base,
    spread_cells,
)

# A cell counts as empty this far below the slope down from the cells under it, or where it is inaudible; a deficit is
# counted from there. Not so far below the slope, it counts as kept by the codec [power ratios].
EMPTY, KEPT = 10**-3, 10**-1.5
LEAST_ROOM = 1e-3  # for noise, where the codec kept everything [share]
MAX_DEFICIT = 14.0  # [nepers of energy]: 61 dB
FAINT = 1e-4  # of the loudness around: noise that is no louder costs next to no fidelity [power ratio]
LOUDER_DOUBT = 3.0  # for every 10 dB that noise is louder than that [times the threshold]
DOUBT_OF_SIDE = 2.0  # beside that of the mid, of which more is heard [ratio]
MOST_TURNED_UP = 2.0  # of energy, for a deficit that noise is not trusted with [power ratio]
AROUND = 2  # frames to either side, half a window: 23 ms
LEAST_RISE = 0.2  # that makes an attack, from before to after, in the mean over all cells [nepers of energy]
SILENT = 1e-7  # of the loudness around: what a cell counts as at least for that [power ratio]
MAX_LOSS = 4.0  # of energy in a cell that counts, where its correction leaves next to nothing [power ratio]
WIDENED = 0.75  # of what the side has lost beside the mid, in decibels [share]
MOST_WIDENED = 2.0  # of energy that counts for that [power ratio]


@dataclass
class Missing:
    """What the detail has to make up for, in each cell of mid and side, `Tensor`s of shape `(B, T, cells, 2)`.

    Attributes:
        energy: mean power a bin.
        present: the same, or where there is next to none, the level that deficits are counted from.
        deficit: how much higher it should be [nepers of energy]; below 0, nothing is missing for sure.
        kept: how far the codec kept the cell, from 0 to 1.
        loudness: sum of all cells' mean energy nearby, of shape `(B, T, 1, 1)`.
    """

    energy: Tensor
    present: Tensor
    deficit: Tensor
    kept: Tensor
    loudness: Tensor


def find_missing(
    level: Tensor, unevenness: Tensor, predictor: DetailPredictor, config: UnlossyConfig, frame_mask: Tensor | None
) -> Missing:
    """What is missing in an input, from its cells `(B, T, cells, 2)` as [`cell_levels`] gives them."""
    widths, frames = config.cell_widths, level.shape[1]
    # Silence, where a whole signal ends and a padded one goes on.
    padding = (0, 0, 0, 0, 0, -frames % config.detail_stride)
    level = torch.nn.functional.pad(level, padding, value=SILENCE)
    unevenness = torch.nn.functional.pad(unevenness, padding)
    energy = cell_power(level, config.n_fft)
    nearby = nearby_mean(energy, NEARBY)
    loudness = nearby.sum(dim=(2, 3), keepdim=True)
    relative_to = torch.log(loudness / (config.n_fft / 4) ** 2 + 1e-9)
    deficit = predictor(level, unevenness, relative_to, frame_mask)
    # What an empty cell is measured against is steady: the rhythm of what is missing is the prediction's alone.
    empty = torch.maximum(EMPTY * sloping_base(nearby, widths), inaudible_energy(nearby))
    present = torch.maximum(energy, empty) * (energy.sum(dim=(2, 3), keepdim=True) > 0)
    above = torch.log((energy + 1e-12) / (EMPTY * sloping_base(energy, widths) + 1e-12))
    kept = (above / math.log(KEPT / EMPTY)).clamp(0, 1)
    return Missing(*(x[:, :frames] for x in (energy, present, deficit, kept, loudness)))


def doubt(missing: Missing, config: UnlossyConfig) -> Tensor:
    """How much of a deficit noise is not trusted with, `(B, T, cells, 2)` [nepers of energy]. Treble that the original
    never had costs more than treble that stays away. And noise harms fidelity where the codec kept something, and the
    more the louder it would be; most of the treble is far too faint for that, and missed all the same."""
    low, high = config.detail_threshold, config.kept_threshold
    noise = missing.present * torch.expm1(missing.deficit.clamp(0, MAX_DEFICIT))
    # Half, in decibels, of how much quieter a frame is than what is around: before an attack nothing masks its noise.
    own = missing.energy.sum(dim=(2, 3), keepdim=True)
    loudness = (missing.loudness * torch.minimum(own, missing.loudness)).sqrt()
    loud = torch.log10((noise + 1e-12) / (FAINT * loudness + 1e-9)).clamp(min=0)
    decibels = (low + (high - low) * missing.kept) * (1 + LOUDER_DOUBT * loud)
    mid_and_side = torch.tensor([1.0, DOUBT_OF_SIDE], device=decibels.device)
    return decibels * mid_and_side * (math.log(10) / 10)


def energy_of_noise(missing: Missing, deficit: Tensor, config: UnlossyConfig) -> Tensor:
    """What makes up for a deficit [nepers of energy], both `(B, T, cells, 2)`. It goes where there is room for it, and
    evenly: neither the ear nor a rating sees where in a critical band energy lies, so that a loss lets the prediction
    put all of it into one cell, and that is heard as a steady tone."""
    energy = missing.present * torch.expm1(deficit.clamp(0, MAX_DEFICIT))
    room = (1 - missing.kept).clamp(min=LEAST_ROOM)
    return share_out(energy, room, config.cell_widths, config.sampling_rate / config.n_fft)


def add_detail(faithful: Tensor, missing: Missing, noise: Tensor, detail: float, config: UnlossyConfig) -> Tensor:
    """Bins without detail, and bins of noise, to bins with so much detail, all complex `(B, T, F - 1, 2)`."""
    widths, doubted = config.cell_widths, doubt(missing, config)
    power_added = energy_of_noise(missing, missing.deficit - doubted, config)
    # As loud as it has to be in every single cell: left to chance, it is now louder, now quieter.
    loudness = cell_energy(power(noise), widths)
    # The square root of the power, but with a finite gradient at zero.
    amplitude = power_added * torch.rsqrt((power_added + 1e-12) * (loudness + 1e-12))
    added = noise * spread_cells(detail * amplitude, widths)
    # With a gradient of the detail alone.
    mid_and_side, no_attack = faithful.detach(), _no_attack(missing)
    gain = torch.cat([_turned_up(mid_and_side, missing, doubted, widths), _widened(mid_and_side, missing, widths)], 3)
    return faithful + added + mid_and_side * spread_cells(detail * (gain**no_attack - 1), widths)


def _turned_up(bins: Tensor, missing: Missing, doubted: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Amplitude, `(B, T, cells, 1)`, that makes the mid louder by the part of a deficit that noise is not trusted with,
    and by half, in decibels, of what its correction took. The side has the latter back already, and its own fidelity
    counts for more."""
    deficit = torch.minimum(missing.deficit, doubted)[..., :1].clamp(0, math.log(MOST_TURNED_UP))
    return torch.exp(deficit / 2) * given_back(bins[..., :1], missing.energy[..., :1], widths)


def _widened(bins: Tensor, missing: Missing, widths: tuple[int, ...]) -> Tensor:
    """Amplitude, `(B, T, cells, 1)`, that keeps the stereo image from becoming narrower: even with half given back in
    each cell, the correction takes more from the side than from the mid. For the rest, one gain for all cells, from a
    mean over 0.3 s, costs the least fidelity, for it is small everywhere."""
    width = torch.tensor(widths, dtype=missing.energy.dtype, device=bins.device)[:, None]

    def all_cells(energy: Tensor) -> Tensor:
        return nearby_mean((width * energy).sum(dim=2, keepdim=True), NEARBY) + 1e-9

    lost = all_cells(missing.energy) / all_cells(cell_energy(power(bins), widths))
    narrower = (lost[..., 1:] / lost[..., :1]).clamp(1, MOST_WIDENED)
    return (narrower ** (WIDENED / 2)).expand(-1, -1, len(widths), -1)


def _no_attack(missing: Missing) -> Tensor:
    """1 where it gets no louder, towards 0 in a frame around an attack, by the square of its rise, `(B, T, 1, 1)`: the
    error that a codec spreads before it would be turned up as well."""
    level = torch.log(missing.energy + SILENT * missing.loudness + 1e-9).mean(dim=(2, 3))
    padded = torch.nn.functional.pad(level, (AROUND, AROUND), mode="replicate")
    rise = padded[:, 2 * AROUND :] - padded[:, : -2 * AROUND]
    return torch.exp(-2 * (rise - LEAST_RISE).clamp(min=0))[:, :, None, None]


def given_back(bins: Tensor, energy: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Amplitude that gives cells of corrected bins back half, in decibels, of the energy that they had."""
    lost = energy / (cell_energy(power(bins), widths) + 1e-9)
    return lost.clamp(1, MAX_LOSS) ** 0.25
