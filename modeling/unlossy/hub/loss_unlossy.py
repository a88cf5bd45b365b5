"""What training asks of the networks. Terms of the restorer's faithful part, in decibels:

* `waveform`: change of the error's energy against the degraded input's, over the whole signal. Its mean over clips is
  what the SI-SDR delta measures, so that loud and quiet, good and bad clips count alike.
* `zones`: the same in zones of about an octave, so that the bass alone does not decide.

Terms of its detail and of the autoencoder's envelope, which have levels to go by where there is no phase:

* `envelope`: error of the predicted deficit or of the level of each cell [dB].
* `level`: squared error of the long-term level in each band above the cutoff, of the detail alone [dB²]. The square
  makes it right in the mean: by the absolute error of single cells, treble that may or may not have been there comes
  out too quiet.
* `dissimilarity`: how differently the envelope moves, over time and from band to band, 0 … 1. Its temporal pattern is
  more predictable and more audible than its level. Bands are weighted by ViSQOL's sensitivity.

Letters: B batch, C channels, N samples, T frames, F bins (all but the top one).
"""

from itertools import pairwise

import torch
from torch import Tensor

from .cells_unlossy import DECIBEL, CellGrid, masked_energy
from .similarity_unlossy import STEP, auditory_levels, band_weights, similarity
from .spectral_unlossy import Spectrum

WEIGHTS = {"waveform": 1.0, "zones": 0.5, "envelope": 0.5, "level": 0.01, "dissimilarity": 10.0}
# Errors this far below the clean signal count as none: what is already good must stay, and a pair without any
# degradation must not divide by zero.
WAVEFORM_FLOOR = 10**-4.0
ZONE_FLOOR = 10**-2.5
# A smaller deficit counts as none [dB]. Where the codec preserved a cell to within some decibels, its error is small
# too, and noise would be more than the error: this keeps the detail out of preserved cells.
TOLERATED_DEFICIT = 0.5 * DECIBEL
LEVEL_FLOOR = 10**-7.5  # of the loudest band: no band's long-term level counts as lower [power ratio]
BANDS_AN_OCTAVE = 3  # that long-term levels are compared in
SIDE_WEIGHT = 0.5  # of the side's dissimilarity; a mono downmix has the mid alone


def faithful_terms(
    *,
    degraded: Spectrum,
    faithful: Spectrum,
    clean: Spectrum,
    degraded_audio: Tensor,
    faithful_audio: Tensor,
    clean_audio: Tensor,
    frame_mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """
    Args:
        degraded, faithful, clean (`Spectrum`): of mid and side of the input, of the input as corrected without detail,
            and of the target.
        degraded_audio, faithful_audio, clean_audio (`Tensor` of shape `(B, C, N)`).
        frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.

    Returns:
        `waveform` and `zones`, each of shape `()` [dB].
    """
    before = (degraded_audio.float() - clean_audio).square().sum(dim=(1, 2))
    after = (faithful_audio - clean_audio).square().sum(dim=(1, 2))
    floor = WAVEFORM_FLOOR * clean_audio.float().square().sum(dim=(1, 2)) + 1e-6
    waveform = torch.log((after + floor) / (before + floor))

    error = (faithful - clean).power()
    clean_zones, zones_before = _zones(clean.power()), _zones((degraded - clean).power())
    zones_after = _zones(error if frame_mask is None else error * frame_mask.float().transpose(1, 2))
    zone_floor = ZONE_FLOOR * clean_zones.sum(dim=2, keepdim=True) + 1e-3
    zones = torch.log((zones_after + zone_floor) / (zones_before + zone_floor))
    return {"waveform": waveform.mean() * DECIBEL, "zones": zones.mean() * DECIBEL}


def detail_terms(
    *,
    energy: Tensor,
    reference: Tensor,
    deficit: Tensor,
    filled: Tensor,
    clean: Tensor,
    grid: CellGrid,
    frame_mask: Tensor | None = None,
    known: Tensor | None = None,
) -> dict[str, Tensor]:
    """
    Args:
        energy (`Tensor` of shape `(B, T, cells, 2)`): of the input.
        reference (`Tensor` of shape `(B, T, cells, 2)`): energy that deficits are counted from.
        deficit (`Tensor` of shape `(B, T, cells, 2)`): predicted [dB]; below 0 counts as 0.
        filled (`Tensor` of shape `(B, T, cells, 2)`): energy with detail.
        clean (`Tensor` of shape `(B, T, cells, 2)`): energy of the clean signal.
        grid (`CellGrid`): the cells.
        frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.
        known (bool `Tensor` of shape `(B, 1, cells, 1)`, *optional*): where `clean` is to be believed. Elsewhere
            any prediction is right.

    Returns:
        `envelope` [dB], `level` [dB²] and `dissimilarity` (0 … 1), each of shape `()`.
    """
    valid = torch.ones_like(reference[:, :, :1, :1]) if frame_mask is None else frame_mask.float()
    if known is not None:
        filled, clean = filled.where(known, filled.detach()), clean.where(known, filled.detach())
    true_deficit = DECIBEL * torch.log((clean + 1e-6) / (reference + 1e-6))
    true_deficit = true_deficit.where(true_deficit > TOLERATED_DEFICIT, 0)
    # Where nothing is missing every prediction below zero is right.
    error = (deficit - true_deficit).where((true_deficit > 0) | (deficit > 0), 0)
    if known is not None:
        error = error.where(known, 0)
    hole = valid * (energy < reference)
    if known is not None:
        hole = hole * known
    return {
        # Of the absolute error, whose minimum is the median: any other quantile is a bias.
        "envelope": _audible_mean(error.abs(), valid, grid),
        "level": _level_error(clean, filled, hole, valid, grid).mean(),
        "dissimilarity": _dissimilarity(clean, filled, valid, grid, SIDE_WEIGHT),
    }


def coding_terms(
    *, energy: Tensor, clean: Tensor, grid: CellGrid, side_weight: float, frame_mask: Tensor | None = None
) -> dict[str, Tensor]:
    """What training asks of an autoencoder. (Its waveform follows from the envelope without any weights of its own.)

    Args:
        energy, clean (`Tensor` of shape `(B, T, cells, 2)`): energy of cells, decoded and of the clean signal.
        grid, frame_mask: see [`detail_terms`].
        side_weight (`float`): of the side's dissimilarity.

    Returns:
        `envelope` [dB] and `dissimilarity` (0 … 1), each of shape `()`.
    """
    valid = torch.ones_like(energy[:, :, :1, :1]) if frame_mask is None else frame_mask.float()
    floor = masked_energy(clean) + 1e-6
    distance = DECIBEL * torch.log((energy + floor) / (clean + floor)).abs()
    return {
        "envelope": _audible_mean(distance, valid, grid),
        "dissimilarity": _dissimilarity(clean, energy, valid, grid, side_weight),
    }


def _audible_mean(distance: Tensor, valid: Tensor, grid: CellGrid) -> Tensor:
    """Mean of `(B, T, cells, 2)`, cells weighted by the ERBs that they cover, of shape `()`."""
    audible = grid.erb_widths()[:, None].to(distance)
    means = (distance * audible * valid).sum(dim=(1, 2)) / (audible.sum() * valid.sum(dim=(1, 2)))
    return means.mean()


def _level_error(clean: Tensor, given: Tensor, hole: Tensor, valid: Tensor, grid: CellGrid) -> Tensor:
    """Squared error of the long-term level in spectral holes [dB²], `(B, 2)`: mean over the bands that are holes for
    more than half of the time, 0 where there are none."""
    edges = grid.edges_hz.to(clean)
    centres = (edges[1:] + edges[:-1]) / 2
    band = ((centres / centres[0]).log2() * BANDS_AN_OCTAVE).long()
    band = torch.nn.functional.one_hot(band).to(clean) * (edges[1:] - edges[:-1])[:, None]  # (cells, bands)

    def in_bands(cells: Tensor) -> Tensor:
        return cells.sum(dim=1).transpose(1, 2) @ band  # (B, 2, bands)

    with torch.autocast(given.device.type, enabled=False):  # sums of energies need all their bits
        wanted, got = in_bands(clean * hole), in_bands(given * hole)
        floor = LEVEL_FLOOR * in_bands(clean * valid).amax(dim=2, keepdim=True) + 1e-6
        counted = (in_bands(hole) > 0.5 * in_bands(valid.expand_as(hole))).to(clean)
    error = DECIBEL * torch.log((got + floor) / (wanted + floor))
    return (error.square() * counted).sum(dim=2) / counted.sum(dim=2).clamp(min=1)


def _dissimilarity(clean: Tensor, given: Tensor, valid: Tensor, grid: CellGrid, side_weight: float) -> Tensor:
    with torch.autocast(given.device.type, enabled=False):  # differences of squares need all their bits
        similar = similarity(*(auditory_levels(cells * valid, grid) for cells in (clean, given)))
    compared = valid[:, ::STEP, :, 0].transpose(1, 2)  # (B, 1, frames)
    # The last frame is compared together with the one after, which is there or not as padding has it.
    compared = compared * torch.nn.functional.pad(compared[:, :, 1:], (0, 1))
    weights = band_weights().to(similar)[:, None]
    different = ((1 - similar) * weights).sum(dim=2) * compared  # (B, mid and side, frames)
    of_each = different.sum(dim=2) / compared.sum(dim=2).clamp(min=1)
    return (of_each * torch.tensor([1.0, side_weight], device=given.device)).mean()


def weighted_sum(terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of shape `()`, and the terms without their gradients."""
    loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
    return loss, {name: term.detach() for name, term in terms.items()}


def _zones(bin_power: Tensor) -> Tensor:
    """Energy of `(B, 2, T, F)` in zones that double in width: `(B, zones, 2)`."""
    bins = bin_power.shape[3]
    edges = [0, *(bins >> shift for shift in range(7, -1, -1))]
    spectrum = bin_power.sum(dim=2)
    return torch.stack([spectrum[:, :, start:stop].sum(dim=2) for start, stop in pairwise(edges)], dim=1)


__all__ = ["coding_terms", "detail_terms", "faithful_terms", "weighted_sum"]
