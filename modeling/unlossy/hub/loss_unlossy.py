"""What training asks of the restorer. Terms of what stays faithful to the input, in decibels:

* `waveform`: change of the error's energy against the degraded input's, over the whole signal. Its mean over clips is
  what the SI-SDR delta measures, so that loud and quiet, good and bad clips count alike.
* `zones`: the same in zones of about an octave, so that the bass alone does not decide.

And of the detail, which has the envelope to go by where the codec kept no phase:

* `envelope`: error of the predicted energy deficit in each cell [dB].
* `dissimilarity`: how differently the envelope moves, over time and from band to band, 0 … 1. The level of what is
  missing is often a guess, its rhythm seldom, and it is what the ear follows. Bands count by the rating that hangs on
  them.

Letters: B batch, C channels, N samples, T frames, F bins (all but the top one).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from .similarity_unlossy import STEP, auditory_levels, band_weights, similarity
from .spectral_unlossy import inaudible_energy, power

DECIBEL = 10 / math.log(10)
WEIGHTS = {"waveform": 1.0, "zones": 0.5, "envelope": 0.5, "dissimilarity": 10.0}
# Errors this far below the clean signal count as none: what is already good must stay, and a pair without any
# degradation must not divide by zero.
WAVEFORM_FLOOR = 10**-4.0
ZONE_FLOOR = 10**-2.5
# A smaller deficit is none [nepers of energy]: 2.2 dB. Where the codec kept a cell to within some decibels, its error
# is small too, and noise would be more than the error. This keeps the detail out of what the codec kept.
TOLERATED_DEFICIT = 0.5
SIDE_WEIGHT = 0.5  # of the side's dissimilarity; the mid is what a mono downmix lets hear


def faithful_terms(
    *,
    degraded: Tensor,
    faithful: Tensor,
    clean: Tensor,
    degraded_audio: Tensor,
    faithful_audio: Tensor,
    clean_audio: Tensor,
    frame_mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """
    Args:
        degraded, faithful, clean (complex `Tensor` of shape `(B, T, F, 2)`): mid/side spectra of the input, the input
            as corrected without detail, and the target.
        degraded_audio, faithful_audio, clean_audio (`Tensor` of shape `(B, C, N)`).
        frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.

    Returns:
        `waveform` and `zones`, each of shape `()` [dB].
    """
    before = (degraded_audio.float() - clean_audio).square().sum(dim=(1, 2))
    after = (faithful_audio - clean_audio).square().sum(dim=(1, 2))
    floor = WAVEFORM_FLOOR * clean_audio.float().square().sum(dim=(1, 2)) + 1e-6
    waveform = torch.log((after + floor) / (before + floor))

    error = power(faithful - clean)
    clean_zones, zones_before = _zones(power(clean)), _zones(power(degraded - clean))
    zones_after = _zones(error if frame_mask is None else error * frame_mask.float())
    zone_floor = ZONE_FLOOR * clean_zones.sum(dim=2, keepdim=True) + 1e-3
    zones = torch.log((zones_after + zone_floor) / (zones_before + zone_floor))
    return {"waveform": waveform.mean() * DECIBEL, "zones": zones.mean() * DECIBEL}


def detail_terms(
    *,
    present: Tensor,
    deficit: Tensor,
    filled: Tensor,
    wanted: Tensor,
    cell_widths: tuple[int, ...],
    n_fft: int,
    sampling_rate: int,
    frame_mask: Tensor | None = None,
    known: Tensor | None = None,
) -> dict[str, Tensor]:
    """
    Args:
        present (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin that deficits are counted from.
        deficit (`Tensor` of shape `(B, T, cells, 2)`): predicted [nepers of energy]; below 0 counts as 0.
        filled (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin with detail.
        wanted (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin of the clean signal.
        cell_widths (`tuple[int, ...]`): [bins].
        n_fft (`int`): [samples].
        sampling_rate (`int`): [Hz].
        frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.
        known (bool `Tensor` of shape `(B, 1, cells, 1)`, *optional*): where `wanted` is to be believed. Elsewhere
            any prediction is right.

    Returns:
        `envelope` [dB] and `dissimilarity` (0 … 1), each of shape `()`.
    """
    valid = torch.ones_like(present[:, :, :1, :1]) if frame_mask is None else frame_mask.float()
    if known is not None:
        filled, wanted = filled.where(known, filled.detach()), wanted.where(known, filled.detach())
    true_deficit = torch.log((wanted + 1e-6) / (present + 1e-6))
    true_deficit = true_deficit.where(true_deficit > TOLERATED_DEFICIT, 0)
    # Where nothing is missing every prediction below zero is right.
    error = (deficit - true_deficit).where((true_deficit > 0) | (deficit > 0), 0)
    if known is not None:
        error = error.where(known, 0)
    return {
        # Of the absolute error, whose minimum is the median: any other quantile is a bias.
        "envelope": _audible_mean(error.abs(), valid, cell_widths, sampling_rate / n_fft),
        "dissimilarity": _dissimilarity(wanted, filled, valid, cell_widths, n_fft, sampling_rate),
    }


def coding_terms(
    *,
    energy: Tensor,
    wanted: Tensor,
    cell_widths: tuple[int, ...],
    n_fft: int,
    sampling_rate: int,
    frame_mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """What training asks of an autoencoder. (Its waveform follows from the envelope without any weights of its own.)

    Args:
        energy, wanted (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin, decoded and of the clean signal.
        cell_widths, n_fft, sampling_rate, frame_mask: see [`detail_terms`].

    Returns:
        `envelope` [dB] and `dissimilarity` (0 … 1), each of shape `()`.
    """
    valid = torch.ones_like(energy[:, :, :1, :1]) if frame_mask is None else frame_mask.float()
    floor = inaudible_energy(wanted) + 1e-6
    distance = torch.log((energy + floor) / (wanted + floor)).abs()
    return {
        "envelope": _audible_mean(distance, valid, cell_widths, sampling_rate / n_fft),
        "dissimilarity": _dissimilarity(wanted, energy, valid, cell_widths, n_fft, sampling_rate),
    }


def _audible_mean(distance: Tensor, valid: Tensor, cell_widths: tuple[int, ...], hertz_per_bin: float) -> Tensor:
    """Mean of `(B, T, cells, 2)` [nepers of energy], cells weighted by what they are to the ear, of shape `()` [dB]."""
    audible = audible_width(cell_widths, hertz_per_bin)[:, None].to(distance)
    means = (distance * audible * valid).sum(dim=(1, 2)) / (audible.sum() * valid.sum(dim=(1, 2)))
    return means.mean() * DECIBEL


def _dissimilarity(
    wanted: Tensor, given: Tensor, valid: Tensor, cell_widths: tuple[int, ...], n_fft: int, sampling_rate: int
) -> Tensor:
    with torch.autocast(given.device.type, enabled=False):  # differences of squares need all their bits
        levels = [auditory_levels(cells * valid, cell_widths, n_fft, sampling_rate) for cells in (wanted, given)]
        similar = similarity(*levels)
    kept = valid[:, ::STEP, :, 0].transpose(1, 2)  # (B, 1, frames)
    # The last frame is compared together with the one after, which is there or not as padding has it.
    kept = kept * torch.nn.functional.pad(kept[:, :, 1:], (0, 1))
    weights = band_weights().to(similar)[:, None]
    different = ((1 - similar) * weights).sum(dim=2) * kept  # (B, mid and side, frames)
    of_each = different.sum(dim=2) / kept.sum(dim=2).clamp(min=1)
    return (of_each * torch.tensor([1.0, SIDE_WEIGHT], device=given.device)).mean()


def weighted_sum(terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of shape `()`, and the terms without their gradients."""
    loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
    return loss, {name: term.detach() for name, term in terms.items()}


def _zones(bin_power: Tensor) -> Tensor:
    """Energy of `(B, T, F, 2)` in zones that double in width: `(B, zones, 2)`."""
    bins = bin_power.shape[2]
    edges = [0, *(bins >> shift for shift in range(7, -1, -1))]
    spectrum = bin_power.sum(dim=1)
    return torch.stack([spectrum[:, start:stop].sum(dim=1) for start, stop in pairwise(edges)], dim=1)


def audible_width(cell_widths: tuple[int, ...], hertz_per_bin: float) -> Tensor:
    """Width of each cell on the ERB-rate scale (Glasberg and Moore, 1990): float64 of shape `(cells,)`."""
    edges = torch.cumsum(torch.tensor((0, *cell_widths), dtype=torch.float64), dim=0) * hertz_per_bin
    return torch.diff(21.4 * torch.log10(1 + 0.00437 * edges))


def level_weights(cell_widths: tuple[int, ...], hertz_per_bin: float) -> Tensor:
    """By what to scale the levels of mid and side `(cells · 2)`, so that their squares count as the loss weights them:
    the side less, and wide cells of the treble as much as the ear makes of them. float64."""
    return torch.outer(audible_width(cell_widths, hertz_per_bin), torch.tensor([1.0, SIDE_WEIGHT])).sqrt().flatten()


__all__ = ["coding_terms", "detail_terms", "faithful_terms", "weighted_sum"]
