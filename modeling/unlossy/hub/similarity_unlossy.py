"""The neurogram similarity that ViSQOL is made of, from cells and differentiable: how alike two envelopes sound.

Letters: B batch, T frames, C channels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .cells_unlossy import CellGrid
from .spectral_unlossy import cached_tensor

BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 50.0, 24_000.0
# ViSQOL's frames are 80 ms long and 20 ms apart. Spectra of 46 ms every 12 ms come near to that smeared over five
# frames, every other one kept.
SMEAR = (0.03, 0.24, 0.46, 0.24, 0.03)
STEP = 2  # [frames]
FLOOR = -45.0  # below it nothing counts; 90 dB below full scale, for levels here are halved
WINDOW = (0.0113, 0.0838, 0.6195)  # weight of a corner, a side and the centre of 3 × 3
INTENSITY_FLOOR = 1e-4
# How much ViSQOL's rating in audio mode falls with each band's dissimilarity, from the lowest up: the gradient of its
# support vector regression where all bands have a similarity of 0.95. Nine bands above 6.7 kHz are 88 % of it.
RATING_SLOPES = (
    *(0.06, 0.02, 0.02, 0.02, 0.02, 0.02, 0.03, 0.04, 0.03, 0.03, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02),
    *(0.02, 0.02, 0.03, 0.02, 0.02, 0.02, 0.02, 0.09, 0.30, 0.37, 0.45, 0.54, 0.55, 0.43, 0.36, 0.24),
)  # fmt: skip
STILLNESS = 2e-3  # variance added to both: steady levels are alike, and gradients stay finite


def auditory_levels(energy: Tensor, grid: CellGrid) -> Tensor:
    """Levels in gammatone bands, equally spaced on the ERB-rate scale.

    Args:
        energy (`Tensor` of shape `(B, T, cells, C)`): of cells.
        grid (`CellGrid`): the cells.

    Returns:
        `Tensor` of shape `(B, C, BANDS, ⌈T / STEP⌉)`: as in ViSQOL, half of the usual decibels of full scale.
    """
    weights = _gammatone(grid, energy.device)
    bands = torch.einsum("btnc,kn->bckt", energy, weights)
    batch, channels, _, frames = bands.shape
    smear = torch.tensor(SMEAR, device=energy.device)[None, None]
    bands = F.conv1d(bands.reshape(-1, 1, frames), smear, stride=STEP, padding=len(SMEAR) // 2)
    return 5 * torch.log10(bands.view(batch, channels, BANDS, -1) * (2 / grid.n_fft**2) + 1e-12)


def similarity(reference: Tensor, levels: Tensor) -> Tensor:
    """Neurogram similarity (NSIM, Hines and Harte, 2012): mean level and pattern within 3 × 3 points, 1 for the same.

    Args:
        reference, levels (`Tensor` of shape `(B, C, bands, T)`): from [`auditory_levels`].

    Returns:
        `Tensor` of the same shape.
    """
    reference, levels = (x.clamp(min=FLOOR) - FLOOR for x in (reference, levels))
    corner, side, centre = WINDOW
    window = torch.tensor([[corner, side, corner], [side, centre, side], [corner, side, corner]], device=levels.device)

    def mean(x: Tensor) -> Tensor:
        padded = F.pad(x.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, window[None, None])[:, 0].view_as(x)

    mean_reference, mean_levels = mean(reference), mean(levels)
    variance_reference = (mean(reference.square()) - mean_reference.square()).clamp(min=0)
    variance_levels = (mean(levels.square()) - mean_levels.square()).clamp(min=0)
    covariance = mean(reference * levels) - mean_reference * mean_levels
    intensity = 2 * mean_reference * mean_levels + INTENSITY_FLOOR
    intensity = intensity / (mean_reference.square() + mean_levels.square() + INTENSITY_FLOOR)
    deviations = torch.sqrt((variance_reference + STILLNESS) * (variance_levels + STILLNESS))
    return intensity * (covariance + STILLNESS) / deviations


def band_weights() -> Tensor:
    """What each band counts for, `(BANDS,)`, in all 1: by the rating that hangs on it, and all of them a little."""
    weights = torch.tensor(RATING_SLOPES) + 1 / BANDS
    return weights / weights.sum()


@cached_tensor
def _gammatone(grid: CellGrid, device: torch.device) -> Tensor:
    """Power that each band gets from the energy of each cell: `(BANDS, cells)`; filters of fourth order, after
    Slaney's "An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank" (1993)."""
    width = torch.tensor(grid.widths, dtype=torch.float32)
    cells = (torch.cumsum(width, dim=0) - width / 2) * grid.hertz_per_bin
    quality, narrowest = 9.26449, 24.7
    offset = quality * narrowest
    steps = torch.arange(BANDS, 0, -1) / BANDS
    span = math.log((LOWEST_HZ + offset) / (HIGHEST_HZ + offset))
    centres = torch.exp(steps * span) * (HIGHEST_HZ + offset) - offset
    bandwidths = 1.019 * (centres / quality + narrowest)
    return ((1 + ((cells - centres[:, None]) / bandwidths[:, None]) ** 2) ** -4 * width).to(device)


__all__ = ["auditory_levels", "band_weights", "similarity"]
