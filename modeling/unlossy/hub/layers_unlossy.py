"""Layers of the networks: bands in, encoder, decoder, values for each bin or cell out.

Letters: B batch, T frames, K bands, C channels. Activations are `(B, T, K, C)` throughout: pointwise layers need no
transpose and the depthwise convolution gets the channels-last memory that CPUs are fastest with. What comes in and goes
out lies bin by bin, one plane for each feature or value: `(B, 2, T, F)` and the like.
Everything is local in time, so that blocks of a long signal give the same samples as the whole.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_unlossy import UnlossyConfig
from .spectral_unlossy import Spectrum

FEATURES = 6  # of a bin: real part, imaginary part and level, each of mid and side


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero, whatever module it is part of: see [`initialise`]."""


class BandLinear(nn.Module):
    """A linear layer of its own for each of `count` bands, in one batched product.

    Its weights count the features of a bin, or the values for it, one after another, bin by bin. Those that come in and
    go out lie in planes, bin after bin of the same feature.

    Args:
        features_in, features_out (`int`, default to 1): of each bin.
        zero_init (`bool`, defaults to `False`): start at zero.
        scale (`float`, defaults to 1.0): of the product, not of the bias. Below 1 the bias learns faster, so that what
            holds for every input is not learned by turning the layers before into constants.
    """

    def __init__(
        self,
        count: int,
        size_in: int,
        size_out: int,
        features_in: int = 1,
        features_out: int = 1,
        zero_init: bool = False,
        scale: float = 1.0,
    ):
        super().__init__()
        self.features_in, self.features_out, self.zero_init, self.scale = features_in, features_out, zero_init, scale
        self.weight = nn.Parameter(torch.empty(count, size_in, size_out))
        self.bias = nn.Parameter(torch.empty(count, 1, size_out))

    def forward(self, x: Tensor) -> Tensor:
        """`(count, rows, size_in)` to `(count, rows, size_out)`."""
        weight = self.weight.unflatten(1, (-1, self.features_in)).transpose(1, 2).flatten(1, 2)
        weight, bias = (
            part.unflatten(2, (-1, self.features_out)).transpose(2, 3).flatten(2) for part in (weight, self.bias)
        )
        return torch.baddbmm(bias, x, weight, alpha=self.scale)


class BandSplit(nn.Module):
    """Bins of mid and side to bands, as in https://arxiv.org/abs/2209.15174: a linear layer for each group of equal
    bands."""

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        self.full_scale, self.exponent = config.n_fft / 4, config.compression_exponent
        self.groups = list(zip(config.band_counts, config.band_widths, strict=True))
        self.linears = nn.ModuleList(
            BandLinear(count, width * FEATURES, config.hidden_sizes[0], features_in=FEATURES)
            for count, width in self.groups
        )

    def forward(self, bins: Spectrum) -> Tensor:
        """Bins of mid and side, `(B, 2, T, F)`, to `(B, T, K, C)`."""
        level = torch.log(bins.power() * self.full_scale**-2 + 1e-12)
        compressed = bins.scaled(torch.exp(level * ((self.exponent - 1) / 2) - math.log(self.full_scale)))
        # -120 dB, the noise floor of 16 bits in one bin, to 0 dB becomes -3 .. 3. Treble is often below -80 dB.
        features = torch.stack([compressed.real, compressed.imaginary, level / 4.6 + 3], dim=2).flatten(1, 2)
        features = features.to(next(self.parameters()).dtype)
        batch, _, frames, _ = features.shape
        bands = []
        parts = features.split([count * width for count, width in self.groups], dim=3)
        for part, group, linear in zip(parts, self.groups, self.linears, strict=True):
            flat = part.unflatten(3, group).permute(3, 0, 2, 1, 4).flatten(1, 2).flatten(2)
            bands.append(linear(flat).unflatten(1, (batch, frames)))
        return torch.cat(bands).permute(1, 2, 0, 3)


class BandHead(nn.Module):
    """Bands `(B, T, K, C)` to values for each unit of a band, its bins or its cells: `(B, per_unit, T, all units)`.
    They start at zero.

    Args:
        units (`tuple[int, ...]`): units of a band in each group, from the lowest up; the highest may be left out.
        scale (`float`, defaults to 1.0): see [`BandLinear`].
    """

    def __init__(self, config: UnlossyConfig, units: tuple[int, ...], per_unit: int, scale: float = 1.0):
        super().__init__()
        self.counts, self.per_unit = list(config.band_counts[: len(units)]), per_unit
        self.linears = nn.ModuleList(
            BandLinear(
                count, config.hidden_sizes[0], unit * per_unit, features_out=per_unit, zero_init=True, scale=scale
            )
            for count, unit in zip(self.counts, units, strict=True)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        batch, frames = hidden.shape[:2]
        bands = hidden.permute(2, 0, 1, 3).flatten(1, 2)
        values = []
        for part, linear in zip(bands[: sum(self.counts)].split(self.counts), self.linears, strict=True):
            value = linear(part).unflatten(1, (batch, frames)).unflatten(3, (self.per_unit, -1))
            values.append(value.permute(1, 3, 2, 0, 4).flatten(3))
        return torch.cat(values, dim=3)


class ConvNextBlock(GradientCheckpointingLayer):
    """ConvNeXt block (https://arxiv.org/abs/2201.03545) over frames and bands. The residual branch starts at zero, so
    that the block is an identity at initialisation.

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
        """`(B, T, K, C)` to the same shape. `frame_mask` `(B, T, 1, 1)` is zero on padding: the convolution then sees
        the zeros that it sees beyond the end of an unpadded signal."""
        x = hidden if frame_mask is None else hidden * frame_mask
        with torch.autocast("cpu", enabled=False):
            # In the weights' precision: the gradient of a depthwise kernel takes three times as long in bf16.
            x = self.depthwise(x.permute(0, 3, 1, 2).to(self.depthwise.weight.dtype)).permute(0, 2, 3, 1)
        return hidden + self.narrow(self.activation(self.widen(self.norm(x))))


def block_levels(sizes: Iterable[int], depths: Iterable[int], expansion: int, kernel: tuple[int, int]) -> nn.ModuleList:
    """Blocks for each level of an encoder or decoder, outermost first."""
    return nn.ModuleList(
        Blocks(ConvNextBlock(size, expansion, kernel) for _ in range(depth))
        for size, depth in zip(sizes, depths, strict=True)
    )


class Blocks(nn.ModuleList):
    """Blocks one after another."""

    def forward(self, hidden: Tensor, frame_mask: Tensor | None) -> Tensor:
        """`(B, T, K, C)` to the same shape."""
        for block in self:
            hidden = block(hidden, frame_mask)
        return hidden


class Encoder(nn.Module):
    """Bands to the embedding: at every level blocks, then adjacent bands are merged in pairs."""

    def __init__(self, config: UnlossyConfig):
        super().__init__()
        sizes, kernel = config.hidden_sizes, (config.kernel_size, config.kernel_size)
        self.levels = block_levels(sizes, config.depths, config.expansion, kernel)
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
            hidden = blocks(hidden, frame_mask)
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
        self.levels = block_levels(sizes, config.depths, config.expansion, kernel)
        self.norm = nn.LayerNorm(sizes[0])

    def forward(self, embeddings: Tensor, skips: list[Tensor], frame_mask: Tensor | None) -> Tensor:
        """`(B, T, embedding_size)`, and the outputs of the encoder's levels, to `(B, T, K, C)`."""
        hidden = self.bottleneck(embeddings).unflatten(2, (self.innermost_bands, -1))
        for level in reversed(range(len(self.levels))):
            hidden = self.levels[level](hidden + skips[level], frame_mask)
            if level:
                hidden = self.splits[level - 1](hidden).unflatten(3, (2, -1)).flatten(2, 3)
        return self.norm(hidden)


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Initial weights of a layer of either network, as `PreTrainedModel._init_weights` gives them."""
    if isinstance(module, ZeroLinear):
        init.zeros_(module.weight)
        if module.bias is not None:
            init.zeros_(module.bias)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        init.lecun_normal_(module.weight)
        if module.bias is not None:
            init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        init.ones_(module.weight)
        init.zeros_(module.bias)
    elif isinstance(module, BandLinear):
        if module.zero_init:
            init.zeros_(module.weight)
        else:
            init.trunc_normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        init.zeros_(module.bias)
