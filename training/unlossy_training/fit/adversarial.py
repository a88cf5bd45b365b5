"""What stage B adds to the restorer's loss: discriminators judge the detail, and only the detail learns from them."""

import torch
from torch import Tensor

from unlossy.hub.modeling_unlossy import UnlossyOutput


def detail_alone(outputs: UnlossyOutput) -> Tensor:
    """The restored audio `(B, C, N)`, with a gradient of what the detail adds to the faithful audio alone.

    The faithful bins are in both terms of the difference: their gradients cancel, but for the milliseconds before an
    attack where one of the terms has given way to the input and the other has not.
    """
    assert outputs.audio_values is not None
    assert outputs.faithful_values is not None
    return outputs.faithful_values.detach() + (outputs.audio_values - outputs.faithful_values)


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss (https://arxiv.org/abs/1705.02894), mean over discriminators of their verdicts of any shape."""
    losses = [torch.relu(1 - r).mean() + torch.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def deception_loss(fake: list[Tensor]) -> Tensor:
    """What the generator minimises, as in EnCodec (https://arxiv.org/abs/2210.13438): convincing is good enough."""
    return torch.stack([torch.relu(1 - verdict).mean() for verdict in fake]).mean()


def feature_matching_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Distance of the discriminators' hidden layers, relative to their size on real audio, as in EnCodec.

    Args:
        real, fake: for each discriminator its layers, of equal shapes.
    """
    distances = [
        (f - r.detach()).abs().mean() / (r.detach().abs().mean() + 1e-6)
        for layers_real, layers_fake in zip(real, fake, strict=True)
        for r, f in zip(layers_real, layers_fake, strict=True)
    ]
    return torch.stack(distances).mean()
