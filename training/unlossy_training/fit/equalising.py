"""Random equalisers, the same for both sides of a pair, so that a corpus sounds like more recordings than it has.

Without them, a predictor of treble soon knows by heart how bright the few voices of its corpus are.
"""

import torch
from torch import Tensor

TILT = 2.0  # [dB an octave], either way, about `PIVOT`
PIVOT = 1000.0  # [Hz]
BELL = 6.0  # [dB], either way
ROLL_OFF_SHARE = 0.2  # of the pairs get treble that fades out, as old recordings and some synthesisers have


def equalise(pairs: Tensor, sampling_rate: int, share: float = 1.0) -> Tensor:
    """Filter each pair by an equaliser drawn at random: a tilt, a bell and, for some, a roll-off of the treble.

    Args:
        pairs (`Tensor` of shape `(sides, B, C, N)`): all sides of a pair get the same equaliser.
        sampling_rate (`int`): sampling rate [Hz].
        share (`float`, defaults to 1.0): share of the pairs that are filtered.

    Returns:
        `Tensor` of the same shape. The filters change no phase, so that the sides stay aligned.
    """
    batch, samples, device = pairs.shape[1], pairs.shape[3], pairs.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, device=device)

    hertz = torch.fft.rfftfreq(samples, 1 / sampling_rate, device=device).clamp(min=20.0)
    octaves = torch.log2(hertz / PIVOT)
    gain = uniform(-TILT, TILT) * octaves
    gain = gain + uniform(-BELL, BELL) * torch.exp(-(((octaves - uniform(-3.3, 3.3)) / uniform(0.3, 1.5)) ** 2))
    edge, slope = uniform(2.0, 4.0), uniform(6.0, 48.0)  # [octaves above the pivot], [dB an octave]
    rolls_off = torch.rand(batch, 1, device=device) < ROLL_OFF_SHARE
    gain = gain - rolls_off * slope * (octaves - edge).clamp(min=0)
    gain = gain * (torch.rand(batch, 1, device=device) < share)
    return torch.fft.irfft(torch.fft.rfft(pairs) * (10 ** (gain / 20))[:, None], n=samples)
