"""One step of training: what `fit` repeats and `benchmark_fit` measures."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import torch
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import AutoConfig

from unlossy import UnlossyAutoencoder, UnlossyAutoencoderConfig, UnlossyConfig, UnlossyModel
from unlossy.hub.layers_unlossy import BandLinear
from unlossy.hub.modeling_unlossy import UnlossyOutput
from unlossy.hub.modeling_unlossy_autoencoder import grouped

from ..hub_files import Network, load_network
from ..pairs.cells import Cells, CellSegments
from ..pairs.segments import AnySegments, Segments, StreamedSegments, batches
from .config import FitConfig
from .equalising import equalise

# At these steps the average starts anew from the weights as they are, so that untrained ones are soon forgotten.
FORGETTING_STEPS = range(0, 1000, 200)


class NotFiniteError(FloatingPointError):
    """A gradient is NaN or infinite. Gradients are shared, so every process raises this at the same step."""


class DetailAlone(nn.Module):
    """A restorer of which only the detail predictor learns. A call returns its loss.

    Args:
        equalised (`float`): share of the segments of audio that go through a random equaliser while training.
    """

    def __init__(self, model: UnlossyModel, equalised: float):
        super().__init__()
        self.equalised = equalised
        self.model = model.requires_grad_(False)
        model.detail_head.requires_grad_(True)

    def forward(self, known_hz: Tensor | None = None, detail: float = 0.0, **batch: Tensor) -> UnlossyOutput:
        """The loss of a batch of cells, see [`CellSegments`], or of audio: `input_values` and `labels` of shape
        `(B, 2, N)`."""
        if "level" in batch:
            return self.model.detail_loss(**batch, known_hz=known_hz)
        sides = torch.stack([batch["input_values"], batch["labels"]])
        if self.training:
            sides = equalise(sides, self.model.config.sampling_rate, self.equalised)
        degraded, clean = (self.model.levels(side) for side in sides)
        return self.model.detail_loss(*degraded, clean[0], known_hz)


class Learner:
    """A model with its optimiser and the moving average of its weights.

    Args:
        accelerator (`Accelerator`): made with `config.accumulation`.
        model (`UnlossyModel` or `UnlossyAutoencoder`): has the same weights in every process.

    Attributes:
        averaged (`UnlossyModel` or `UnlossyAutoencoder`): has the exponential moving average of the weights, which is
            what is validated and published.

    Raises:
        ValueError: `config.part` is a part that an autoencoder does not have.
    """

    def __init__(self, accelerator: Accelerator, model: Network, config: FitConfig):
        self.accelerator, self.config = accelerator, config
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema)).to(accelerator.device)
        self.averaged = cast(Network, self.average.module)
        learning: Network | DetailAlone = model
        if config.part != "all":
            if not isinstance(model, UnlossyModel):
                raise ValueError(f"part {config.part} is one of a restorer: train an autoencoder with part all")
            if config.part == "detail":
                learning = DetailAlone(model, config.equalised)
            else:
                model.requires_grad_(False)
                for head in (model.mask_head, model.tone_head):
                    head.requires_grad_(True)
        parameters = [parameter for parameter in learning.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.model, self.optimizer = accelerator.prepare(learning, optimizer)
        accelerator.register_for_checkpointing(self.average)

    def step(self, batches: Sequence[dict[str, Tensor]], number: int, progress: float) -> dict[str, Tensor]:
        """Update the weights once.

        Args:
            batches (`Sequence`): `config.accumulation` batches of `input_values` and `labels` of shape `(B, 2, N)` and
                `known_hz` of shape `(B,)`, or of cells, see [`CellSegments`].
            number (`int`): index of the step, from 0.
            progress (`float`): share of the budget that is spent, from 0 to 1.

        Returns:
            `dict`: the loss and its terms [dB] and the norm of the gradient, each of shape `()`: means over the batches
                of this process.

        Raises:
            NotFiniteError: before any weight has changed.
        """
        falling = 0.0 if self.config.schedule == "constant" else progress
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.learning_rate, number, self.config.warmup, falling)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.accelerator.device))
        for batch in batches:
            for name, value in self._learn_from(batch, number).items():
                sums[name] = sums[name] + value.detach() / (1 if name == "grad_norm" else len(batches))
        if number in FORGETTING_STEPS and not self.config.from_checkpoint:
            self.average.n_averaged.zero_()
        learned = self.accelerator.unwrap_model(self.model)
        self.average.update_parameters(learned.model if isinstance(learned, DetailAlone) else learned)
        return dict(sums)

    def _learn_from(self, batch: dict[str, Tensor], number: int) -> dict[str, Tensor]:
        """Add the gradients of a batch. With the last of the batches to accumulate, take the optimiser's step."""
        if isinstance(self.averaged, UnlossyAutoencoder):  # which has no detail that an edge matters to
            batch = {name: tensor for name, tensor in batch.items() if name != "known_hz"}
        with self.accelerator.accumulate(self.model):
            # The loss doesn't depend on the detail; without, its synthesis is saved.
            outputs = self.model(**batch, detail=0.0)
            terms = {"loss": outputs.loss, **outputs.loss_terms}
            self.accelerator.backward(outputs.loss)
            if self.accelerator.sync_gradients:
                norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
                if not norm.isfinite():
                    raise NotFiniteError(f"grad_norm is {norm.item()} at step {number}")
                terms["grad_norm"] = norm
            self.optimizer.step()
            self.optimizer.zero_grad()
        return terms


def prepare(
    accelerator: Accelerator, config: FitConfig, pairs: Any, *, fresh: bool = True
) -> tuple[Learner, AnySegments]:
    """Make the model and the data of a configuration.

    Args:
        pairs: a dataset from [`load_pairs`], or `None` if `config.cells` are learned from.
        fresh (`bool`): whether no state is loaded afterwards, so that a new model has to be fitted to the data.

    Raises:
        ValueError: the network and the data don't go together.
    """
    model = load_network(config.from_checkpoint) if config.from_checkpoint else new_network(config.model)
    segments: AnySegments
    if config.cells:
        if not isinstance(model, UnlossyModel):
            raise ValueError("cells are what a restorer's detail learns from: give an autoencoder pairs")
        frames = round(config.segment_seconds * model.config.frame_rate)
        segments = CellSegments(Cells(config.cells, "train", model.config), frames, config.seed, model.config)
    else:
        kind = StreamedSegments if config.streaming else Segments
        length = round(config.segment_seconds * model.config.sampling_rate)
        segments = kind(pairs, length, config.seed, degraded=config.degraded)
    if fresh and not config.from_checkpoint and not config.cells:
        if isinstance(model, UnlossyModel):
            normalise_bands(model, next(batches(segments, batch_size=64))["input_values"])
        else:
            fit_envelope(model, next(batches(segments, batch_size=256))["input_values"])
    return Learner(accelerator, model, config), segments


def new_network(fields: dict[str, Any]) -> Network:
    """Make an untrained network, a restorer unless `model_type` says otherwise, from fields of its configuration.

    Raises:
        ValueError: no such network or field, a field of the wrong type, or sizes that don't fit together.
    """
    try:
        config = AutoConfig.for_model(**{"model_type": UnlossyConfig.model_type} | fields)
    except StrictDataclassError as error:
        raise ValueError(str(error)) from error
    if isinstance(config, UnlossyConfig):
        return UnlossyModel(config)
    if isinstance(config, UnlossyAutoencoderConfig):
        return UnlossyAutoencoder(config)
    raise ValueError(f"model_type must be unlossy or unlossy_autoencoder, got {config.model_type}")


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    """The learning rate of a step: a linear warm-up, times a cosine that falls to 0.01 over the budget.

    Args:
        peak (`float`): the highest learning rate.
        step (`int`): index of the step, from 0.
        warmup (`int`): length of the warm-up [steps].
        progress (`float`): share of the budget that is spent, from 0 to 1.
    """
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * cosine


@torch.no_grad()
def normalise_bands(model: UnlossyModel, input_values: Tensor) -> None:
    """Scale the first layer so that bands start with mean 0 and variance 1 on a batch `(B, 2, N)`: a data-dependent
    initialisation (https://arxiv.org/abs/1602.07868).

    Levels hardly vary in the treble. Without this the network saw nearly the same there whatever it heard, and learned
    to ignore its input.
    """
    bands = model.band_split(model.front_end(input_values)[0]).flatten(0, 1)  # (frames, K, C)
    means, deviations = bands.mean(dim=0), bands.std(dim=0) + 1e-3
    start = 0
    for linear in model.band_split.linears:
        assert isinstance(linear, BandLinear)
        count = linear.weight.shape[0]
        mean, deviation = (x[start : start + count, None] for x in (means, deviations))
        linear.weight.div_(deviation)
        linear.bias.copy_((linear.bias - mean) / deviation)
        start += count


@torch.no_grad()
def fit_envelope(model: UnlossyAutoencoder, input_values: Tensor) -> None:
    """Start an autoencoder's envelope coder as the best linear one (PCA) on a batch `(B, 2, N)`, so that training
    learns how to do better than that."""
    coder, group = model.envelope_coder, model.config.group_frames
    levels = torch.cat([coder.features(model.front_end(clip[None])[0])[0] for clip in input_values])
    vectors = grouped(levels[:, : levels.shape[1] // group * group], group).flatten(0, 1)
    weights = model.grid.level_weights(model.config.side_weight).to(vectors).repeat(group)
    mean = vectors.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov(((vectors - mean) * weights).T).double())
    size = coder.linear_encoder.out_features
    basis = directions[:, -size:].flip(1).float()
    deviations = variances[-size:].flip(0).float().sqrt() + 1e-3
    coder.linear_encoder.weight.copy_((basis / deviations).T * weights)
    coder.linear_encoder.bias.copy_(-coder.linear_encoder.weight @ mean)
    coder.linear_decoder.weight.copy_(basis * deviations / weights[:, None])
    coder.linear_decoder.bias.copy_(mean)
