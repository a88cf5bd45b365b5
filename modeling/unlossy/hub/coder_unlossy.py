"""The autoencoder: all of a frame goes through some ninety values, the envelope's and the waveform's.

    audio ── STFT ── levels of cells ── encoder, narrowing ── envelope ─┬─ decoder, widening ── levels ─┐
      └───── MDCT ── coefficients ── as the decoded levels say ─────────┴─ waveform ── coefficients ────┴─ audio

Levels hardly change from one frame to the next: they are coded four frames at a time, by a linear transform, which
starts as the best there is (principal components), and by what convolutional networks beside it add.

As in transform codecs (CELT, https://www.rfc-editor.org/rfc/rfc6716), coefficients are coded relative to an envelope,
and noise under the envelope stands for those that were not. Which ones are coded needs no side information: it follows
from the envelope, which the decoder has as well. Both must choose exactly the same ones, also from a rounded embedding
and on another machine. So the envelope is made of whole steps, as it would be stored anyway, and the choice is made
from the linear transform of those alone, in double precision, where no two cells are near enough for doubt.

Letters: B batch, T frames, J blocks of two frames, C mid and side.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .configuration_unlossy import UnlossyConfig
from .layers_unlossy import ConvNextBlock, ZeroLinear
from .loss_unlossy import level_weights
from .spectral_unlossy import cell_levels, inaudible_energy, mdct, spread_cells

STEP = 0.13  # of an envelope's values: what it changes all levels by, as the loss weights them [features]
SILENCE = 1e-11  # variance of a coefficient that counts as none: -110 dB
# Levels [nepers of energy] with mean about 0 and deviation about 1; -120 dB is the lowest.
LEVEL_SCALE, LEVEL_SHIFT = 6.0, 2.2
SILENT_LEVEL = math.log(1e-12) / LEVEL_SCALE + LEVEL_SHIFT  # the feature that silence has
GROUP = 4  # frames; blocks of a longer signal start with a group, see `UnlossyConfig.block_alignment`
BLOCK = 2  # frames whose waveform is coded together: an MDCT with windows as long as the STFT's
FADE = math.log(100)  # what is so much weaker than the weakest coded coefficient costs no fidelity [nepers of energy]


class Coder(nn.Module):
    """Levels and coefficients to the embedding, and the embedding to levels and coefficients."""

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.config = config
        self.values, sizes, kernel = 2 * len(config.cell_widths), config.hidden_sizes, (config.kernel_size, 1)

        def stack() -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList(ConvNextBlock(size, config.expansion, kernel) for _ in range(depth))
                for size, depth in zip(sizes, config.depths, strict=True)
            )

        self.linear_encoder = nn.Linear(GROUP * self.values, GROUP * config.envelope_size)
        self.linear_decoder = nn.Linear(GROUP * config.envelope_size, GROUP * self.values)
        self.input = nn.Linear(2 * self.values, sizes[0])
        self.encoder_levels = stack()
        self.narrowing = nn.ModuleList(_normalised(before, after) for before, after in pairwise(sizes))
        self.bottleneck = nn.Sequential(
            nn.LayerNorm(GROUP * sizes[-1]), ZeroLinear(GROUP * sizes[-1], GROUP * config.envelope_size)
        )
        self.widest = nn.Linear(GROUP * config.envelope_size, GROUP * sizes[-1])
        self.widening = nn.ModuleList(_normalised(after, before) for before, after in pairwise(sizes))
        self.decoder_levels = stack()
        self.output = nn.Sequential(nn.LayerNorm(sizes[0]), ZeroLinear(sizes[0], self.values))

    def levels(self, bin_power: Tensor) -> tuple[Tensor, Tensor]:
        """Power of the STFT's bins `(B, T, F - 1, C)` to level and unevenness of their cells, `(B, T, cells · C)`, both
        with mean about 0 and deviation about 1. Levels count from what is audible in their frame: no value is to be
        spent on the others."""
        level, unevenness = cell_levels(bin_power, self.config.cell_widths, self.config.n_fft)
        energy = torch.exp(level)
        level = torch.log(energy + inaudible_energy(energy))
        return (level / LEVEL_SCALE + LEVEL_SHIFT).flatten(2), (0.7 * unevenness - 0.4).flatten(2)

    def encode_envelope(self, bin_power: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Power of the STFT's bins `(B, T, F - 1, C)` to the envelope's values `(B, T, envelope_size)`, whole
        steps of [`steps`]. In training they are not rounded, but get noise of as much."""
        level, unevenness = self.levels(bin_power)
        hidden = self.input(torch.cat([level, unevenness], dim=2).to(self.input.weight.dtype))
        for index, blocks in enumerate(self.encoder_levels):
            if index:
                hidden = self.narrowing[index - 1](hidden)
            hidden = _run(blocks, hidden, frame_mask)
        if frame_mask is not None:
            hidden = hidden * frame_mask[:, :, :, 0]
        linear = self.linear_encoder(grouped(level.to(hidden.dtype), SILENT_LEVEL))
        envelope = (linear + self.bottleneck(grouped(hidden))).float()
        steps = self.steps().to(envelope)
        if self.training:
            envelope = envelope + steps * (torch.rand_like(envelope) - 0.5)
        else:
            envelope = steps * torch.round(envelope / steps)
        # What a last group has beyond the end is lost, with and without padding.
        envelope = envelope.unflatten(2, (GROUP, -1)).flatten(1, 2)[:, : level.shape[1]]
        return envelope if frame_mask is None else envelope * frame_mask[:, :, :, 0].float()

    def decode_envelope(self, envelope: Tensor, frame_mask: Tensor | None) -> Tensor:
        """The envelope's values `(B, T, envelope_size)` to the mean power of a bin in each cell `(B, T, cells, C)`."""
        values, frames = grouped(envelope.to(self.widest.weight.dtype)), envelope.shape[1]

        def ungrouped(x: Tensor) -> Tensor:
            return x.unflatten(2, (GROUP, -1)).flatten(1, 2)[:, :frames]

        hidden = ungrouped(self.widest(values))
        for index in reversed(range(len(self.decoder_levels))):
            hidden = _run(self.decoder_levels[index], hidden, frame_mask)
            if index:
                hidden = self.widening[index - 1](hidden)
        level = LEVEL_SCALE * ((ungrouped(self.linear_decoder(values)) + self.output(hidden)).float() - LEVEL_SHIFT)
        full_scale = (self.config.n_fft / 4) ** 2
        energy = full_scale * torch.exp(level.clamp(max=10.0)).unflatten(2, (-1, 2))
        return energy if frame_mask is None else energy * frame_mask.float()

    @torch.no_grad()
    def steps(self) -> Tensor:
        """Of each of a group's values, `(GROUP · envelope_size,)`, float64 on the CPU: all change the levels by as
        much, as is best for their number of bits."""
        weights = level_weights(self.config.cell_widths, self.config.sampling_rate / self.config.n_fft)
        return STEP / (self.linear_decoder.weight.cpu().double() * weights.repeat(GROUP)[:, None]).norm(dim=0)

    def encode_waveform(self, mid_side: Tensor, envelope: Tensor, energy: Tensor, mask: Tensor | None) -> Tensor:
        """Audio `(B, C, N)`, its envelope and what that is decoded to, to `(B, T, waveform_size)`."""
        chosen, deviation = self.choose(envelope, mask), self._deviation(energy)
        coefficients = mdct(mid_side, BLOCK * self.config.hop_length)[:, : chosen.shape[1]].flatten(2)
        values = (coefficients / deviation).gather(2, chosen).unflatten(2, (BLOCK, -1)).flatten(1, 2)
        # What a last block has beyond the end is lost, with and without padding: the less important half.
        values = values[:, : energy.shape[1]]
        return values if mask is None else values * mask[:, :, :, 0].float()

    def decode_waveform(
        self, waveform: Tensor, envelope: Tensor, energy: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The waveform's values, the envelope and what that is decoded to, to coefficients of the MDCT, and the
        deviation of the detail in each, both `(B, J, C, BLOCK · hop_length)`."""
        chosen, deviation = self.choose(envelope, mask), self._deviation(energy)
        values = grouped(waveform.float(), size=BLOCK) * deviation.gather(2, chosen)
        coefficients = torch.zeros_like(deviation).scatter(2, chosen, values)
        # Noise in place of what was nearly coded costs most fidelity, and hardly more of it is heard.
        variance = deviation.square()
        weakest = variance.gather(2, chosen[:, :, -1:])
        nearly = (1 - torch.log(weakest / variance) / FADE).clamp(0, 1)
        low, high = self.config.detail_threshold, self.config.kept_threshold
        doubt = (low + (high - low) * nearly) * math.log(10) / 20
        missing = ((variance - SILENCE).clamp(min=0).sqrt() * torch.exp(-doubt)).scatter(2, chosen, 0.0)
        return coefficients.unflatten(2, (2, -1)), missing.unflatten(2, (2, -1))

    @torch.no_grad()
    def choose(self, envelope: Tensor, mask: Tensor | None) -> Tensor:
        """The coefficients that are coded, first mid's, then side's, the strongest first: indices
        `(B, J, BLOCK · waveform_size)`."""
        steps = self.steps()
        # Always on the CPU: not every device has double precision.
        values = steps * torch.round(grouped(envelope).cpu().double() / steps)
        linear = self.linear_decoder
        levels = nn.functional.linear(values, linear.weight.cpu().double(), linear.bias.cpu().double())
        levels = levels.unflatten(2, (GROUP, -1)).flatten(1, 2)[:, : envelope.shape[1]]
        energy = torch.exp(LEVEL_SCALE * levels).unflatten(2, (-1, 2))
        if mask is not None:
            energy = energy * mask.cpu()
        order = self._coefficients(_blocks(energy)).sort(dim=2, descending=True, stable=True).indices
        return order[:, :, : BLOCK * self.config.waveform_size].to(envelope.device)

    def _deviation(self, energy: Tensor) -> Tensor:
        """Mean power of a bin in each cell to the standard deviation of the coefficients, `(B, J, C · …)`."""
        # White noise of variance 1 has the window's energy, 3/8 · n_fft, in every bin, and 1 in every coefficient.
        return (self._coefficients(_blocks(energy)) / (0.375 * self.config.n_fft) + SILENCE).sqrt()

    def _coefficients(self, cells: Tensor) -> Tensor:
        """`(B, J, cells, C)` to `(B, J, C · BLOCK · hop_length)`: to each coefficient what its cell has."""
        return spread_cells(cells, self.config.cell_widths).transpose(2, 3).flatten(2)


def _blocks(energy: Tensor) -> Tensor:
    """`(B, T, cells, C)` to `(B, J, cells, C)`: the mean under the window of the MDCT."""
    padded = nn.functional.pad(energy, (0, 0, 0, 0, 1, 1 + energy.shape[1] % BLOCK))
    return padded[:, 1:-1:2] / 2 + (padded[:, :-2:2] + padded[:, 2::2]) / 4


def grouped(x: Tensor, silence: float = 0.0, size: int = GROUP) -> Tensor:
    """`(B, T, values)` to `(B, ⌈T / size⌉, size · values)`, filled up with `silence`."""
    return nn.functional.pad(x, (0, 0, 0, -x.shape[1] % size), value=silence).unflatten(1, (-1, size)).flatten(2)


def _normalised(size_in: int, size_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(size_in), nn.Linear(size_in, size_out))


def _run(blocks: nn.Module, hidden: Tensor, frame_mask: Tensor | None) -> Tensor:
    hidden = hidden[:, :, None]
    for block in blocks:  # type: ignore[attr-defined]  # a list of modules is a module
        hidden = block(hidden, frame_mask)
    return hidden[:, :, 0]


__all__ = ["GROUP", "Coder", "grouped"]
