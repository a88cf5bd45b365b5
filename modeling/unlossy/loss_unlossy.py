"""What training asks of the restorer, every term in decibels.

* `waveform`: change of the error's energy against the degraded input's, over the whole signal. Its mean over clips is
  what the SI-SDR delta measures, so that loud and quiet, good and bad clips count alike.
* `zones`: the same in zones of about an octave, so that the bass alone does not decide.
* `envelope`: error of the predicted energy deficit in each cell. Phase is lost where the codec kept nothing, and the
  envelope is what can be predicted there.
* `disturbance`: what the detail's noise costs in signal-to-noise ratio. It is watched, not minimised: next to nothing
  in the treble, its gradient in a loud, well-kept bass is a thousand times that of all other terms.

Letters: B batch, C channels, N samples, T frames, F bins (all but the top one).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from .spectral_unlossy import cell_energy, power

DECIBEL = 10 / math.log(10)
WEIGHTS = {"waveform": 1.0, "zones": 0.5, "envelope": 0.5}
# Errors this far below the clean signal count as none: what is already good must stay, and a pair without any
# degradation must not divide by zero.
WAVEFORM_FLOOR = 10**-4.0
ZONE_FLOOR = 10**-2.5
# A smaller deficit is none [nepers of energy]: 2.2 dB. Where the codec kept a cell to within some decibels, its error
# is small too, and noise would be more than the error. This keeps the detail out of what the codec kept.
TOLERATED_DEFICIT = 0.5


def restoration_loss(
    *,
    degraded: Tensor,
    faithful: Tensor,
    present: Tensor,
    deficit: Tensor,
    detail_power: Tensor,
    clean: Tensor,
    degraded_audio: Tensor,
    faithful_audio: Tensor,
    clean_audio: Tensor,
    cell_widths: tuple[int, ...],
    hertz_per_bin: float,
    frame_mask: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """
    Args:
        degraded, faithful, clean (complex `Tensor` of shape `(B, T, F, 2)`): mid/side spectra of the input, the input
            as corrected without detail, and the target.
        present (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin that deficits are counted from.
        deficit (`Tensor` of shape `(B, T, cells, 2)`): predicted [nepers of energy]; below 0 counts as 0.
        detail_power (`Tensor` of shape `(B, T, cells, 2)`): mean power a bin that the detail adds.
        degraded_audio, faithful_audio, clean_audio (`Tensor` of shape `(B, C, N)`).
        cell_widths (`tuple[int, ...]`): [bins].
        hertz_per_bin (`float`): distance of two bins [Hz].
        frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.

    Returns:
        the weighted sum, and each term before weighting [dB].
    """
    valid = torch.ones_like(present[:, :, :1, :1]) if frame_mask is None else frame_mask.float()
    before = (degraded_audio.float() - clean_audio).square().sum(dim=(1, 2))
    after = (faithful_audio - clean_audio).square().sum(dim=(1, 2))
    floor = WAVEFORM_FLOOR * clean_audio.float().square().sum(dim=(1, 2)) + 1e-6
    waveform = torch.log((after + floor) / (before + floor))

    clean_power = power(clean)
    clean_zones, zones_before = _zones(clean_power), _zones(power(degraded - clean))
    zones_after = _zones(power(faithful - clean) * valid)
    zone_floor = ZONE_FLOOR * clean_zones.sum(dim=2, keepdim=True) + 1e-3
    zones = torch.log((zones_after + zone_floor) / (zones_before + zone_floor))

    wanted = cell_energy(clean_power, cell_widths)
    true_deficit = torch.log((wanted + 1e-6) / (present + 1e-6))
    true_deficit = true_deficit.where(true_deficit > TOLERATED_DEFICIT, 0)
    audible = _audible_width(cell_widths, hertz_per_bin, deficit.device)
    # Where nothing is missing every prediction below zero is right.
    distance = (deficit - true_deficit).abs().where((true_deficit > 0) | (deficit > 0), 0)
    envelope = (distance * audible * valid).sum(dim=(1, 2)) / (audible.sum() * valid.sum(dim=(1, 2)))

    with torch.no_grad():
        width = torch.tensor(cell_widths, dtype=torch.float32, device=deficit.device)[:, None]
        noise = (detail_power * width * valid).sum(dim=(1, 2, 3))
        error = zones_after.sum(dim=(1, 2)) + WAVEFORM_FLOOR * clean_zones.sum(dim=(1, 2)) + 1e-3
        disturbance = torch.log1p(noise / error)

    terms = {"waveform": waveform, "zones": zones, "envelope": envelope, "disturbance": disturbance}
    terms = {name: term.mean() * DECIBEL for name, term in terms.items()}
    loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items() if name in WEIGHTS]).sum()
    return loss, {name: term.detach() for name, term in terms.items()}


def _zones(bin_power: Tensor) -> Tensor:
    """Energy of `(B, T, F, 2)` in zones that double in width: `(B, zones, 2)`."""
    bins = bin_power.shape[2]
    edges = [0, *(bins >> shift for shift in range(7, -1, -1))]
    spectrum = bin_power.sum(dim=1)
    return torch.stack([spectrum[:, start:stop].sum(dim=1) for start, stop in pairwise(edges)], dim=1)


def _audible_width(cell_widths: tuple[int, ...], hertz_per_bin: float, device: torch.device) -> Tensor:
    """Width of each cell on the ERB-rate scale (Glasberg and Moore, 1990): `(cells, 1)`."""
    edges = torch.cumsum(torch.tensor((0, *cell_widths), dtype=torch.float32, device=device), dim=0) * hertz_per_bin
    return torch.diff(21.4 * torch.log10(1 + 0.00437 * edges))[:, None]


__all__ = ["restoration_loss"]
