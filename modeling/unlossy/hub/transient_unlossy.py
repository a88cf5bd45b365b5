"""The transient gate: before an onset nothing masks an error, and a corrected spectrum spreads its correction over a
window as a codec spreads its error over a block (pre-echo)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .spectral_unlossy import upsample


def gate_transients(audio: Tensor, degraded: Tensor, step: int, lead: int, rise: float) -> Tensor:
    """Before each onset, keep whichever of the corrected and the degraded audio has less energy.

    What is there beside the quiet original is error, be it the codec's or the correction's. Where the correction is
    next to nothing, as with a lossless file, there is next to nothing to choose.

    Args:
        audio, degraded (`Tensor` of shape `(B, C, N)`): corrected audio and what was corrected. They begin on the same
            multiple of `step` for a block to agree with the whole.
        step (`int`): resolution of the levels that onsets are found in [samples].
        lead (`int`): how long before an onset the choice is made [steps].
        rise (`float`): how much louder it is after an onset than before [power ratio].

    Returns:
        `Tensor` of the same shape. A sample depends on the corrected audio within three steps.
    """
    samples, degraded = audio.shape[2], degraded.float()
    steps = -(-samples // step) + 1  # one more, as if the signal went on in silence

    def energy(x: Tensor) -> Tensor:
        return F.avg_pool1d(F.pad(x.square().sum(dim=1, keepdim=True), (0, steps * step - samples)), step)

    def highest(x: Tensor, before: int, after: int) -> Tensor:
        return F.max_pool1d(F.pad(x, (before, after)), before + after + 1, 1)

    given = energy(degraded)
    ahead = F.pad(highest(given, 0, lead - 1)[..., 1:], (0, 1))
    before_onset = (ahead > rise * highest(given, lead - 1, 0) + 1e-9).to(given)
    louder = before_onset * (energy(audio) > given)
    corrected = 1 - highest(louder, 1, 1) * highest(before_onset, 1, 1)
    # From one step to the next, a slope.
    return torch.lerp(degraded, audio, upsample(corrected, step)[..., :samples])


__all__ = ["gate_transients"]
