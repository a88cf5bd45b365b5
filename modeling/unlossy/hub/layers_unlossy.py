"""Layers of the autoencoder: bands in, encoder, decoder, heads out.

Letters: B batch, T frames, K bands, C channels. Activations are `(B, T, K, C)` throughout: pointwise layers need no
transpose and the depthwise convolution gets the channels-last memory that CPUs are fastest with.
Everything is local in time, so that blocks of a long signal give the same samples as the whole.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_unlossy import UnlossyConfig

# How far below its surroundings' loudness the level of a cell still counts [nepers of energy].
FAINTEST = -25.0
MOST_FILLED = 12.0  # [nepers of energy]: a deficit that is more is none, or a wild guess


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero. (`_init_weights` never gets to see a module without parameters of its own, so
    the layer itself has to say so.)"""


class BandLinear(nn.Module):
    """A linear layer of its own for each of `count` bands, in one batched product.

    Args:
        zero_init (`bool`, defaults to `False`): start at zero.
        scale (`float`, defaults to 1.0): of the product, not of the bias: the bias learns faster, so that what holds
            for every input is not learned by turning the layers before into constants.
    """

    def __init__(self, count: int, size_in: int, size_out: int, zero_init: bool = False, scale: float = 1.0):
        super().__init__()
        self.zero_init, self.scale = zero_init, scale
        self.weight = nn.Parameter(torch.empty(count, size_in, size_out))
        self.bias = nn.Parameter(torch.empty(count, 1, size_out))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, count, size_in)` to `(B, T, count, size_out)`."""
        batch, frames, count, size = x.shape
        flat = x.permute(2, 0, 1, 3).reshape(count, batch * frames, size)
        product = torch.baddbmm(self.bias, flat, self.weight, alpha=self.scale)
        return product.unflatten(1, (batch, frames)).permute(1, 2, 0, 3)


class BandSplit(nn.Module):
    """Spectral features `(B, T, F, features)` to bands `(B, T, K, C)`; a linear layer for each group of equal bands."""

    def __init__(self, config: UnlossyConfig, features: int):
        super().__init__()
        self.groups = list(zip(config.band_counts, config.band_widths, strict=True))
        self.linears = nn.ModuleList(
            BandLinear(count, width * features, config.hidden_sizes[0]) for count, width in self.groups
        )

    def forward(self, features: Tensor) -> Tensor:
        parts = features.split([count * width for count, width in self.groups], dim=2)
        bands = [
            linear(part.unflatten(2, group).flatten(3))
            for part, group, linear in zip(parts, self.groups, self.linears, strict=True)
        ]
        return torch.cat(bands, dim=2)


class BandHead(nn.Module):
    """Bands `(B, T, K, C)` to values for each unit of a band, its bins or its cells: `(B, T, all units, per_unit)`.

    Args:
        units (`list[int]`): units of a band in each group; groups from the lowest up, the highest may be left out.
    """

    def __init__(self, config: UnlossyConfig, units: list[int], per_unit: int, zero_init: bool, scale: float = 1.0):
        super().__init__()
        self.counts, self.per_unit = list(config.band_counts[: len(units)]), per_unit
        self.linears = nn.ModuleList(
            BandLinear(count, config.hidden_sizes[0], unit * per_unit, zero_init, scale)
            for count, unit in zip(self.counts, units, strict=True)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        parts = hidden[:, :, : sum(self.counts)].split(self.counts, dim=2)
        values = [
            linear(part).unflatten(3, (-1, self.per_unit)).flatten(2, 3)
            for part, linear in zip(parts, self.linears, strict=True)
        ]
        return torch.cat(values, dim=2)


class ConvNextBlock(GradientCheckpointingLayer):
    """ConvNeXt block (https://arxiv.org/abs/2201.03545) over frames and bands. It starts as an identity, so that what
    is particular to an input reaches the heads undrowned.

    Args:
        kernel (`tuple[int, int]`): of the depthwise convolution [frames, bands].
        dilation (`int`, defaults to 1): of the same, over frames.
    """

    def __init__(self, size: int, expansion: int, kernel: tuple[int, int], dilation: int = 1):
        super().__init__()
        padding = (dilation * (kernel[0] // 2), kernel[1] // 2)
        self.depthwise = nn.Conv2d(size, size, kernel, padding=padding, dilation=(dilation, 1), groups=size)
        self.norm = nn.LayerNorm(size)
        self.widen = nn.Linear(size, size * expansion)
        self.activation = nn.GELU()  # its tanh approximation takes a CPU three times as long
        self.narrow = ZeroLinear(size * expansion, size, bias=False)

    def forward(self, hidden: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """`(B, T, K, C)` to the same shape. `frame_mask` `(B, T, 1, 1)` is zero on padding, which the convolution must
        see as the zeros that it sees beyond the end of an unpadded signal."""
        x = hidden if frame_mask is None else hidden * frame_mask
        with torch.autocast("cpu", enabled=False):
            # In the weights' precision: the gradient of a depthwise kernel takes three times as long in bf16.
            x = self.depthwise(x.permute(0, 3, 1, 2).to(self.depthwise.weight.dtype)).permute(0, 2, 3, 1)
        return hidden + self.narrow(self.activation(self.widen(self.norm(x))))


class Encoder(nn.Module):
    """Bands to the embedding: at every level blocks, then neighbouring bands are merged in pairs."""

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        sizes, kernel = config.hidden_sizes, (config.kernel_size, config.kernel_size)
        self.levels = nn.ModuleList(
            nn.ModuleList(ConvNextBlock(size, config.expansion, kernel) for _ in range(depth))
            for size, depth in zip(sizes, config.depths, strict=True)
        )
        self.merges = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(2 * before), nn.Linear(2 * before, after, bias=False))
            for before, after in pairwise(sizes)
        )
        innermost = config.level_sizes[-1]
        self.bottleneck = nn.Sequential(nn.LayerNorm(innermost), nn.Linear(innermost, config.embedding_size))

    def forward(self, hidden: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """`(B, T, K, C)` to the embedding `(B, T, embedding_size)` and the levels' outputs, outermost first."""
        skips = []
        for level, blocks in enumerate(self.levels):
            if level:
                hidden = self.merges[level - 1](hidden.unflatten(2, (-1, 2)).flatten(3))
            for block in blocks:  # type: ignore[attr-defined]  # a list of modules is a module
                hidden = block(hidden, frame_mask)
            skips.append(hidden)
        return self.bottleneck(hidden.flatten(2)), skips


class Decoder(nn.Module):
    """The embedding to bands: the encoder's mirror image, each band split into two on the way out."""

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        sizes, kernel = config.hidden_sizes, (config.kernel_size, config.kernel_size)
        self.innermost_bands = config.num_bands >> (len(sizes) - 1)
        self.bottleneck = nn.Linear(config.embedding_size, config.level_sizes[-1])
        self.splits = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(after), nn.Linear(after, 2 * before, bias=False))
            for before, after in pairwise(sizes)
        )
        self.levels = nn.ModuleList(
            nn.ModuleList(ConvNextBlock(size, config.expansion, kernel) for _ in range(depth))
            for size, depth in zip(sizes, config.depths, strict=True)
        )
        self.norm = nn.LayerNorm(sizes[0])

    def forward(self, embeddings: Tensor, skips: list[Tensor] | None, frame_mask: Tensor | None) -> Tensor:
        """`(B, T, embedding_size)` to `(B, T, K, C)`; `skips` are the encoder's, or `None` without skip connections."""
        hidden = self.bottleneck(embeddings).unflatten(2, (self.innermost_bands, -1))
        for level in reversed(range(len(self.levels))):
            if skips is not None:
                hidden = hidden + skips[level]
            for block in self.levels[level]:  # type: ignore[attr-defined]
                hidden = block(hidden, frame_mask)
            if level:
                hidden = self.splits[level - 1](hidden).unflatten(3, (2, -1)).flatten(2, 3)
        return self.norm(hidden)


class DetailPredictor(nn.Module):
    """From each cell's energy in the degraded spectrum to what is missing there: convolutions over time, all cells at
    once, as in Vocos (https://arxiv.org/abs/2306.00814), and as many frames together as `config.detail_stride` says.
    Then a second look at every cell and its neighbours.

    Treble follows what is below it, across the whole spectrum and within some hundredths of a second. This sees both at
    a fraction of the trunk's cost, and learns from cells alone, many times faster. It hears everything equally loud:
    how loud the recording is says nothing about what is missing.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.stride, size = config.detail_stride, config.detail_size
        values = 2 * len(config.cell_widths) * self.stride
        self.input = nn.Linear(2 * values, size)
        self.blocks = nn.ModuleList(
            ConvNextBlock(size, config.expansion, (config.detail_kernel_size, 1), dilation)
            for dilation in config.detail_dilations
        )
        self.norm = nn.LayerNorm(size)
        self.output = ZeroLinear(size, values)
        self.refiner = DetailRefiner(config)

    def forward(self, level: Tensor, unevenness: Tensor, loudness: Tensor, frame_mask: Tensor | None) -> Tensor:
        """
        Args:
            level (`Tensor` of shape `(B, T, cells, 2)`, `T` a multiple of the stride): of mid and side, a full-scale
                sine in a bin being 0 [nepers of energy].
            unevenness (`Tensor` of shape `(B, T, cells, 2)`): arithmetic over geometric mean of the bins [nepers of
                energy].
            loudness (`Tensor` of shape `(B, T, 1, 1)`): what `level` is heard relative to [nepers of energy].
            frame_mask (`Tensor` of shape `(B, T, 1, 1)`, *optional*): 1 on audio, 0 on padding.

        Returns:
            `Tensor` of shape `(B, T, cells, 2)`: deficit [nepers of energy].
        """
        relative = (level - loudness).clamp(min=FAINTEST)
        level, unevenness = relative / 5 + 2.4, 0.7 * unevenness - 0.4
        features = torch.cat([level, unevenness], dim=2).flatten(2).unflatten(1, (-1, self.stride)).flatten(2)
        hidden = self.input(features.to(self.input.weight.dtype))[:, :, None]
        mask = None if frame_mask is None else frame_mask[:, :: self.stride]
        for block in self.blocks:
            hidden = block(hidden, mask)
        deficit = 8 * self.output(self.norm(hidden))[:, :, 0].float()
        deficit = deficit.unflatten(2, (self.stride, *relative.shape[2:])).flatten(1, 2)
        return self.refiner(level, unevenness, deficit, mask)


class DetailRefiner(nn.Module):
    """A second look at a predicted deficit: 2-D convolutions over frames and cells, the same weights for all cells.

    What the treble does from one cell to the next holds at any frequency and for any cutoff, so that this needs few
    weights, and few recordings to learn them from.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.stride, size = config.detail_stride, config.refiner_size
        values = 2 * self.stride  # mid and side of the frames that are taken together
        self.input = nn.Linear(4 * values, size)
        self.position = nn.Parameter(torch.empty(len(config.cell_widths), size))
        self.blocks = nn.ModuleList(
            ConvNextBlock(size, config.expansion, (3, 3), dilation) for dilation in config.refiner_dilations
        )
        self.norm = nn.LayerNorm(size)
        self.output = ZeroLinear(size, values)

    def forward(self, level: Tensor, unevenness: Tensor, deficit: Tensor, mask: Tensor | None) -> Tensor:
        """
        Args:
            level, unevenness (`Tensor` of shape `(B, T, cells, 2)`): as features.
            deficit (`Tensor` of shape `(B, T, cells, 2)`): as predicted so far [nepers of energy].
            mask (`Tensor` of shape `(B, T / stride, 1, 1)`, *optional*): 1 on audio, 0 on padding.

        Returns:
            `Tensor` of shape `(B, T, cells, 2)`: deficit [nepers of energy].
        """
        filled = level + deficit.clamp(0, MOST_FILLED) / 5
        features = torch.stack([level, unevenness, deficit / 4, filled], dim=4).flatten(3)
        features = features.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(3)
        hidden = self.input(features.to(self.input.weight.dtype)) + self.position
        for block in self.blocks:
            hidden = block(hidden, mask)
        more = 4 * self.output(self.norm(hidden)).float()
        return deficit + more.unflatten(3, (self.stride, 2)).transpose(2, 3).flatten(1, 2)
