"""Heads that correct what the codec left: a mask against its noise, an average that restores tones, and what keeps the
correction from doing harm.

Letters: B batch, T frames, F bins, K bands, C channels of a band. Spectra are `(B, 2, T, F)`, cells
`(B, T, cells, 2)`, of mid and side.
"""

import torch
from torch import Tensor, nn

from .cells_unlossy import CellGrid, adjacent_mean, makeup_gain, power_ratio
from .configuration_unlossy import UnlossyConfig
from .detail_unlossy import CellAnalysis
from .layers_unlossy import BandHead
from .spectral_unlossy import Spectrum, phase_advance

WEIGHT_SCALE = 0.3  # of weights against biases in the heads: see `BandLinear`


class MaskHead(nn.Module):
    """`X · (W + M) + R`: the Wiener gain W attenuates what drowns in the codec's noise, M is a bounded complex mask,
    and the residual R fills spectral holes."""

    def __init__(self, config: UnlossyConfig, grid: CellGrid):
        super().__init__()
        self.config, self.grid = config, grid
        # For each bin of mid and side: R and M.
        self.spectrum = BandHead(config, tuple(config.band_widths), per_unit=8, scale=WEIGHT_SCALE)
        # For each cell of mid and side: the codec's noise, relative to the cell's own energy.
        self.noise = BandHead(config, config.cells_per_band, per_unit=2)

    def forward(self, bins: Spectrum, energy: Tensor, hidden: Tensor) -> Spectrum:
        """
        Args:
            bins (`Spectrum`): of the input.
            energy (`Tensor` of shape `(B, T, cells, 2)`): of its cells.
            hidden (`Tensor` of shape `(B, T, K, C)`): from the decoder.

        Returns:
            bins of the same shape.
        """
        noise = energy * self.noise(hidden).float().permute(0, 2, 3, 1).clamp(min=0.0)
        # An empty bin counts with a share of its cell: its gain would be a matter of chance.
        signal = bins.power() + self.grid.spread(power_ratio(self.config.wiener_floor) * energy + 1e-9)
        wiener = signal / (signal + self.grid.spread(noise))
        values = self.spectrum(hidden).float().unflatten(1, (2, 2, 2))  # R and M, channels, parts
        residual, mask = (Spectrum(values[:, which, :, 0], values[:, which, :, 1]) for which in (0, 1))
        mask = mask.map(torch.tanh)
        masked = bins * Spectrum(wiener + mask.real, mask.imaginary)
        reference = self.grid.reference(energy, self.config.reference_slope)
        return masked + residual.scaled(self.grid.spread(reference.sqrt()))


class ToneHead(nn.Module):
    """What the frames before and after add in the narrow bands: a short filter over time, as in
    https://arxiv.org/abs/1904.08369, that follows the phase of tones.

    A steady tone is the same in adjacent frames but for its phase, which is advanced by what is measured, and for the
    codec's error, which is another one in every frame.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.config = config
        # For each bin of mid and side: a weight for each earlier and later frame.
        units = tuple(config.band_widths[:-1])
        self.weights = BandHead(config, units, per_unit=4 * config.tone_frames, scale=WEIGHT_SCALE)

    def forward(self, bins: Spectrum, hidden: Tensor) -> Spectrum:
        """Bins and the decoder's output `(B, T, K, C)` to what is added to them, which is zero above the narrow
        bands."""
        weights = torch.tanh(self.weights(hidden).float())
        earlier_and_later = weights.unflatten(1, (2, self.config.tone_frames, 2)).unbind(1)
        highest, width = bins.real.shape[3], weights.shape[3]
        before = after = own = bins.map(lambda x: x[..., :width])
        advance, added = phase_advance(own), own.map(torch.zeros_like)
        # Limiting louder frames keeps a tone from beginning before its onset.
        most = power_ratio(self.config.adjacent_limit) * own.power()
        for earlier, later in zip(*(weights.unbind(1) for weights in earlier_and_later), strict=True):
            before = before.map(lambda x: nn.functional.pad(x, (0, 0, 1, -1))) * advance
            after = (after * advance.conjugate()).map(lambda x: nn.functional.pad(x, (0, 0, -1, 1)))
            for weight, other in ((earlier, before), (later, after)):
                added = added + other.scaled(weight * (most / (other.power() + 1e-12)).clamp(max=1.0).sqrt())
        return added.map(lambda x: nn.functional.pad(x, (0, highest - width)))


class SoftThreshold(nn.Module):
    """Make-up gain for the side, and a soft threshold on the correction in each cell.

    The correction attenuates what is noisy, the side more than the mid: without make-up gain the stereo image becomes
    narrower. Small corrections are mostly errors of estimation, so that a very good input would be worse for them. The
    threshold is higher where the highest band is preserved: at such bitrates there is little to correct.
    """

    def __init__(self, config: UnlossyConfig, grid: CellGrid):
        super().__init__()
        self.config, self.grid = config, grid

    def forward(self, corrected: Spectrum, bins: Spectrum, cells: CellAnalysis) -> Spectrum:
        """Corrected bins, bins of the input and what its cells hold, to the faithful bins."""
        config, grid = self.config, self.grid
        side = grid.energy(corrected.power()[:, 1:])
        gain = makeup_gain(cells.energy[..., 1:], side, config.max_lost)
        change = corrected.scaled(grid.spread(torch.cat([torch.ones_like(gain), gain], dim=3))) - bins

        low_hz, high_hz = config.full_band_hz
        band = grid.band_weights(low_hz, high_hz, bins.real.device)
        full_band = (adjacent_mean(cells.preserved[..., :1], config.context_frames) * band).sum(2, keepdim=True)
        least, least_of_full_band = map(power_ratio, (config.correction_threshold, config.full_band_threshold))
        threshold = (least + (least_of_full_band - least) * full_band.square()) * cells.energy
        share = (1 - threshold / (grid.energy(change.power()) + 1e-9)).clamp(min=0.0)
        return bins + change.scaled(grid.spread(share))


__all__ = ["MaskHead", "SoftThreshold", "ToneHead"]
