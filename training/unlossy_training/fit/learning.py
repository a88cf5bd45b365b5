"""One step of training, of stage A or B: what `fit` repeats and `benchmark_fit` measures."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import AutoConfig

from unlossy import UnlossyAutoencoder, UnlossyAutoencoderConfig, UnlossyConfig, UnlossyModel
from unlossy.hub.layers_unlossy import BandLinear
from unlossy.hub.modeling_unlossy import UnlossyOutput
from unlossy.hub.modeling_unlossy_autoencoder import grouped

from ..hub_files import Network, find_file, load_network
from ..pairs.cells import Cells, CellSegments
from ..pairs.segments import AnySegments, Segments, StreamedSegments, batches
from .adversarial import deception_loss, detail_alone, discriminator_loss, feature_matching_loss
from .config import FitConfig
from .discriminators import SpectralDiscriminators
from .equalising import equalise

# Early on the average must forget the untrained weights quickly: it starts anew at these steps.
FORGETTING_STEPS = range(0, 1000, 200)
OPTIMIZER = "discriminator_optimizer.pt"  # beside the discriminator's weights, for fine-tuning


class NotFiniteError(FloatingPointError):
    """A loss or gradient is NaN or infinite. Gradients are shared: every process raises it at the same step."""


class DetailAlone(nn.Module):
    """A restorer of which the detail predictor alone learns, from cells, or from pairs of which a share went through
    random equalisers; calls give its loss."""

    def __init__(self, model: UnlossyModel, equalised: float):
        super().__init__()
        self.equalised = equalised
        self.model = model.requires_grad_(False)
        model.detail_head.requires_grad_(True)

    def forward(self, known_hz: Tensor | None = None, detail: float = 0.0, **batch: Tensor) -> UnlossyOutput:
        """Of a batch of cells, see [`CellSegments`], or of audio, `input_values` and `labels`."""
        if "level" in batch:
            return self.model.detail_loss(**batch, known_hz=known_hz)
        sides = torch.stack([batch["input_values"], batch["labels"]])
        if self.training:
            sides = equalise(sides, self.model.config.sampling_rate, self.equalised)
        degraded, clean = (self.model.levels(side) for side in sides)
        return self.model.detail_loss(*degraded, clean[0], known_hz)


class Learner:
    """Model, its average and optimiser and, in stage B, discriminator and its optimiser.

    Args:
        accelerator (`Accelerator`): with `config.accumulation`.
        model (`UnlossyModel` or `UnlossyAutoencoder`): the same weights in every process.
        discriminator (`SpectralDiscriminators`, *optional*): for stage B.

    Attributes:
        averaged (the same): the exponential moving average of the weights, which is what gets published.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: Network,
        config: FitConfig,
        discriminator: SpectralDiscriminators | None = None,
    ):
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
        self.discriminator: Any = None
        if discriminator is not None:
            # Little memory of earlier gradients, as in EnCodec: its opponent changes.
            optimizer = torch.optim.AdamW(
                discriminator.parameters(), lr=config.discriminator_learning_rate, betas=(0.5, 0.9)
            )
            self.discriminator, self.discriminator_optimizer = accelerator.prepare(discriminator, optimizer)
        accelerator.register_for_checkpointing(self.average)

    def step(self, batches: Sequence[dict[str, Tensor]], number: int, progress: float) -> dict[str, Tensor]:
        """One update of the weights.

        Args:
            batches (`Sequence`): `config.accumulation` batches of `input_values` and `labels` of shape `(B, 2, N)`,
                and `known_hz`, if it is known.
            number (`int`): of the step, from 0.
            progress (`float`): how much of the budget is spent, 0 … 1.

        Returns:
            the loss, its terms [dB] and the norms of the gradients, each of shape `()`; means over the batches of this
            process.

        Raises:
            NotFiniteError: before any weight has changed.
        """
        warming = self.discriminator is not None and number < self.config.discriminator_warmup
        own = number - self.config.discriminator_warmup if self.discriminator is not None else number
        falling = 0.0 if self.config.schedule == "constant" else progress
        _set_rate(self.optimizer, learning_rate(self.config.learning_rate, own, self.config.warmup, falling))
        if self.discriminator is not None:
            rate = learning_rate(self.config.discriminator_learning_rate, number, 1, progress)
            _set_rate(self.discriminator_optimizer, rate)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.accelerator.device))
        for batch in batches:
            terms = self._learn_from(batch, warming=warming, number=number)
            for name, value in terms.items():
                sums[name] = sums[name] + value.detach() / (1 if name.endswith("grad_norm") else len(batches))
        if not warming:
            if own in FORGETTING_STEPS and not self.config.from_checkpoint:
                self.average.n_averaged.zero_()
            learned = self.accelerator.unwrap_model(self.model)
            self.average.update_parameters(learned.model if isinstance(learned, DetailAlone) else learned)
        return dict(sums)

    def _learn_from(self, batch: dict[str, Tensor], *, warming: bool, number: int) -> dict[str, Tensor]:
        """Forward and backward; with the last of the batches to accumulate, the optimisers' steps as well."""
        adversarial = self.discriminator is not None
        with self.accelerator.accumulate(*([self.model, self.discriminator] if adversarial else [self.model])):
            with torch.set_grad_enabled(not warming):
                # The loss doesn't depend on the detail; without, its synthesis is saved.
                outputs = self.model(**batch, detail=float(adversarial))
            loss, terms = outputs.loss, {"loss": outputs.loss, **outputs.loss_terms}
            if adversarial:
                fake = detail_alone(outputs)
                terms |= self._teach_discriminator(batch["labels"], fake.detach(), number)
                if warming:
                    return terms
                deception, matching = self._judge(batch["labels"], fake)
                terms |= {"deception": deception, "feature_matching": matching}
                loss = loss + self.config.adversarial_weight * deception
                loss = loss + self.config.feature_matching_weight * matching
            self.accelerator.backward(loss)
            terms |= self._update(self.model, self.optimizer, "grad_norm", number)
        return terms

    def _teach_discriminator(self, real: Tensor, fake: Tensor, number: int) -> dict[str, Tensor]:
        # One pass over both, or DistributedDataParallel would count two.
        verdicts, _ = self.discriminator(torch.cat([real, fake]))
        halves = [verdict.chunk(2) for verdict in verdicts]
        loss = discriminator_loss([half[0] for half in halves], [half[1] for half in halves])
        self.accelerator.backward(loss)
        norms = self._update(self.discriminator, self.discriminator_optimizer, "discriminator_grad_norm", number)
        return {"discriminator": loss, **norms}

    def _judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Deception and feature matching, without a gradient for the discriminator."""
        # Unwrapped: DistributedDataParallel would wait for gradients that don't come.
        discriminator = self.accelerator.unwrap_model(self.discriminator)
        discriminator.requires_grad_(False)
        with torch.no_grad():
            _, wanted = discriminator(real)
        verdicts, features = discriminator(fake)
        discriminator.requires_grad_(True)
        return deception_loss(verdicts), feature_matching_loss(wanted, features)

    def _update(self, model: Any, optimizer: Any, name: str, number: int) -> dict[str, Tensor]:
        """The optimiser's step, if enough is accumulated; returns the norm of the gradient."""
        norms = {}
        if self.accelerator.sync_gradients:
            norms[name] = self.accelerator.clip_grad_norm_(model.parameters(), self.config.max_grad_norm)
            if not norms[name].isfinite():
                raise NotFiniteError(f"{name} is {norms[name].item()} at step {number}")
        optimizer.step()
        optimizer.zero_grad()
        return norms


def prepare(
    accelerator: Accelerator, config: FitConfig, pairs: Any, *, fresh: bool = True
) -> tuple[Learner, AnySegments]:
    """Model and data of a configuration.

    Args:
        fresh (`bool`): no state will be loaded afterwards: a new model's first layer must be fitted to the data.
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
    discriminator = None
    if config.adversarial and config.discriminator_checkpoint:
        discriminator = SpectralDiscriminators.load(config.discriminator_checkpoint)
    elif config.adversarial:
        discriminator = SpectralDiscriminators(config.discriminator_width)
    learner = Learner(accelerator, model, config, discriminator)
    if fresh and discriminator is not None and config.discriminator_checkpoint:
        earlier = find_file(config.discriminator_checkpoint, OPTIMIZER)
        if earlier is not None:
            learner.discriminator_optimizer.load_state_dict(torch.load(earlier, weights_only=True))
    return learner, segments


def new_network(fields: dict[str, Any]) -> Network:
    """An untrained restorer, or the network that `model_type` names, with these fields of its configuration.

    Raises:
        ValueError: no such network, or no such field.
        StrictDataclassError: a field of the wrong type, or sizes that don't fit together.
    """
    config = AutoConfig.for_model(**{"model_type": UnlossyConfig.model_type} | fields)
    if isinstance(config, UnlossyConfig):
        return UnlossyModel(config)
    if isinstance(config, UnlossyAutoencoderConfig):
        return UnlossyAutoencoder(config)
    raise ValueError(f"model_type must be unlossy or unlossy_autoencoder, got {config.model_type}")


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    """Linear warm-up over steps, then a cosine to a hundredth over the share of the budget that is spent."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * cosine


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def normalise_bands(model: UnlossyModel, input_values: Tensor) -> None:
    """Data-dependent initialisation (https://arxiv.org/abs/1602.07868): bands start with mean 0 and variance 1.

    Levels hardly vary in the treble; without this the network sees nearly the same there whatever it hears, and it
    learned to ignore its input altogether.
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
    """Start an autoencoder's envelope as the best linear one (PCA): what is learned is how to do better."""
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
