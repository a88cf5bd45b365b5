"""Before an attack: a codec spreads its error over a block, and a corrected spectrum its correction over a window."""

import torch
from torch import Tensor
from torch.nn import functional as F

STEP = 64  # between the levels that attacks are found in [samples]: 1.5 ms
BEFORE = 12  # how long before an attack nothing masks an error [steps]: 17 ms
ATTACK = 8.0  # how much louder it is after an attack than before [power ratio]: 9 dB
# How far the choice for one sample depends on the corrected signal [samples].
REACH = 3 * STEP


def quieter_before_attacks(audio: Tensor, degraded: Tensor) -> Tensor:
    """Corrected audio, but before an attack whichever is quieter, it or what was to be corrected.

    What is there beside the quiet original is error, be it the codec's or the correction's. Where the correction is
    next to nothing, as with a lossless file, there is next to nothing to choose.

    Args:
        audio, degraded (`Tensor` of shape `(B, C, N)`): begin on the same multiple of `STEP` for a block to agree with
            the whole.

    Returns:
        `Tensor` of the same shape.
    """
    samples, degraded = audio.shape[2], degraded.float()
    steps = -(-samples // STEP) + 1  # one more, as if the signal went on in silence

    def energy(x: Tensor) -> Tensor:
        return F.avg_pool1d(F.pad(x.square().sum(dim=1, keepdim=True), (0, steps * STEP - samples)), STEP)

    def highest(x: Tensor, before: int, after: int) -> Tensor:
        return F.max_pool1d(F.pad(x, (before, after)), before + after + 1, 1)

    given = energy(degraded)
    ahead = F.pad(highest(given, 0, BEFORE - 1)[..., 1:], (0, 1))
    quiet = (ahead > ATTACK * highest(given, BEFORE - 1, 0) + 1e-9).to(given)
    louder = quiet * (energy(audio) > given)
    kept = 1 - highest(louder, 1, 1) * highest(quiet, 1, 1)
    # From one step to the next, a slope.
    kept = F.interpolate(F.pad(kept, (1, 1), mode="replicate"), scale_factor=STEP, mode="linear")
    return torch.lerp(degraded, audio, kept[..., STEP : STEP + samples])


__all__ = ["quieter_before_attacks"]
