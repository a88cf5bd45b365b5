"""The autoencoder: all of a frame goes through some ninety values, the envelope's and the waveform's.

    audio ── STFT ── levels of cells ── encoder, narrowing ── envelope ─┬─ decoder, widening ── levels ─┐
      └───── MDCT ── coefficients ── as the decoded levels say ─────────┴─ waveform ── coefficients ────┴─ audio

Levels hardly change from one frame to the next: they are coded four frames at a time, by a linear transform, which
starts as the best there is (principal components), and by what convolutional networks beside it add.

As in transform codecs (CELT, https://www.rfc-editor.org/rfc/rfc6716), coefficients are coded relative to an envelope,
and noise under the envelope stands for those that were not. Which ones are coded needs no side information: it follows
from the envelope, which the decoder has as well. A codec makes hard decisions of that kind, which a slightly different
envelope (rounded, or computed on another machine) would turn into garbage, and which have no gradient. Here the share
of each coefficient is a smooth function of the levels.

Letters: B batch, T frames, C mid and side.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .configuration_unlossy import UnlossyConfig
from .layers_unlossy import LEVEL_SCALE, LEVEL_SHIFT, ConvNextBlock, ZeroLinear, cell_features
from .spectral_unlossy import cached_tensor, cell_levels, inaudible_energy

SHARPNESS = 4.0  # of the choice among candidates: one with half the energy of the strongest gets a sixteenth
SIDE_RANK = 4.0  # a coefficient of the side is as important as the mid's at so many times its frequency
SILENCE = 1e-11  # variance of a coefficient that counts as none: -110 dB
SILENT_LEVEL = math.log(1e-12) / LEVEL_SCALE + LEVEL_SHIFT  # the feature that silence has
GROUP = 4  # frames; blocks of a longer signal start with a group, see `UnlossyConfig.block_alignment`


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
        """Power of the STFT's bins `(B, T, F - 1, C)` to `cell_features` of their cells, `(B, T, cells · C)`.
        Levels count from what is audible in their frame: no value is to be spent on the others."""
        level, unevenness = cell_levels(bin_power, self.config.cell_widths, self.config.n_fft)
        energy = torch.exp(level)
        return cell_features(torch.log(energy + inaudible_energy(energy)), unevenness)

    def encode_envelope(self, bin_power: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Power of the STFT's bins `(B, T, F - 1, C)` to the envelope's values `(B, T, envelope_size)`."""
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
        envelope = envelope.unflatten(2, (GROUP, -1)).flatten(1, 2)[:, : level.shape[1]]
        # What a last group has beyond the end is lost, with and without padding.
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
        return full_scale * torch.exp(level.clamp(max=10.0)).unflatten(2, (-1, 2))

    def encode_waveform(self, coefficients: Tensor, energy: Tensor) -> Tensor:
        """Coefficients of the MDCT `(B, T, C, hop_length)` and decoded energy of cells to `(B, T, waveform_size)`."""
        index = self._candidates(energy)
        deviation, share = self._shares(energy)
        chosen = coefficients.flatten(2)[:, :, index]
        return (share * chosen / deviation).unflatten(2, (self.config.candidates, -1)).sum(2)

    def decode_waveform(self, waveform: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """The waveform's values and the decoded energy of cells to coefficients of the MDCT, and the deviation of what
        is missing in each, both `(B, T, C, hop_length)`."""
        index = self._candidates(energy)
        deviation, share = self._shares(energy)
        total = share.square().unflatten(2, (self.config.candidates, -1)).sum(2)
        kept = share / total.repeat(1, 1, self.config.candidates)
        values = deviation * kept * waveform.float().repeat(1, 1, self.config.candidates)
        variance = self._variance(energy)
        coefficients = torch.zeros_like(variance).index_copy(2, index, values)
        missing = variance.index_copy(2, index, variance[:, :, index] * (1 - share * kept).clamp(min=0))
        return tuple(part.unflatten(2, (2, -1)) for part in (coefficients, missing.sqrt()))  # type: ignore[return-value]

    def _shares(self, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Deviation of each candidate and its share in the value that it is coded by, `(B, T, all candidates)`."""
        variance = self._variance(energy)[:, :, self._candidates(energy)] + SILENCE
        logits = SHARPNESS * torch.log(variance).unflatten(2, (self.config.candidates, -1))
        return variance.sqrt(), logits.softmax(dim=2).flatten(2)

    def _variance(self, energy: Tensor) -> Tensor:
        """Mean power of a bin in each cell to the variance of the coefficients, `(B, T, C · hop_length)`."""
        # White noise of variance 1 has the window's energy, 3/8 · n_fft, in every bin, and 1 in every coefficient.
        variance = (energy / (0.375 * self.config.n_fft) - SILENCE).clamp(min=0)
        return variance.transpose(2, 3).flatten(2)[:, :, _cell_of(self.config.cell_widths).to(energy.device)]

    def _candidates(self, energy: Tensor) -> Tensor:
        config = self.config
        return _candidates(config.waveform_size, config.candidates, config.hop_length).to(energy.device)


def grouped(x: Tensor, silence: float = 0.0) -> Tensor:
    """`(B, T, size)` to `(B, ⌈T / GROUP⌉, GROUP · size)`, filled up with `silence`."""
    return nn.functional.pad(x, (0, 0, 0, -x.shape[1] % GROUP), value=silence).unflatten(1, (-1, GROUP)).flatten(2)


def _normalised(size_in: int, size_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(size_in), nn.Linear(size_in, size_out))


def _run(blocks: nn.Module, hidden: Tensor, frame_mask: Tensor | None) -> Tensor:
    hidden = hidden[:, :, None]
    for block in blocks:  # type: ignore[attr-defined]  # a list of modules is a module
        hidden = block(hidden, frame_mask)
    return hidden[:, :, 0]


@cached_tensor
def _cell_of(widths: tuple[int, ...]) -> Tensor:
    """For each coefficient, first the mid's, then the side's, the cell that it lies in: `(2 · hop_length,)`."""
    of_mid = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths) // 2)
    return torch.cat([of_mid, of_mid + len(widths)])


@cached_tensor
def _candidates(size: int, candidates: int, hop_length: int) -> Tensor:
    """Indices of the coefficients that share each of `size` values: `(candidates · size,)`, candidate by candidate.

    The first candidates are the coefficients that mostly matter most. Of the others, the most important ones share
    their value with the least important of the first, which can be spared.
    """
    frequency = torch.arange(hop_length, dtype=torch.float64)
    order = torch.cat([frequency, SIDE_RANK * (frequency + 0.5)]).argsort(stable=True)
    rows = order[: candidates * size].view(candidates, size)
    return torch.cat([rows[:1], rows[1:].flip(1)]).flatten()


__all__ = ["GROUP", "Coder", "grouped"]
