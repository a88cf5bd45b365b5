"""Trains the restorer on pairs of degraded and clean audio.

    python -m unlossy_training.train PAIRS -o CHECKPOINT --max-minutes 60
    python -m unlossy_training.train PAIRS -o CHECKPOINT --from-checkpoint CHECKPOINT   # go on from weights

Accelerate chooses the device; `accelerate launch` or torchrun in front of it uses several. The learning rate follows a
cosine over the wall-clock budget, because the machine that this first runs on is not its alone. What is saved is the
exponential moving average of the weights.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from pathlib import Path
from typing import cast

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, set_seed
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from unlossy import UnlossyConfig, UnlossyFeatureExtractor, UnlossyModel
from unlossy.layers_unlossy import BandLinear

from .pairs import decode_pair


def load_pairs(folder: str, split: str) -> datasets.Dataset:
    """The pairs of a split that `unlossy_training.dataset` has written to `folder`."""
    files = sorted(str(path) for path in Path(folder).glob(f"{split}-*.parquet"))
    if not files:
        raise ValueError(f"{folder} has no {split}-*.parquet; make it with `python -m unlossy_training.dataset`.")
    pairs = datasets.load_dataset("parquet", data_files=files, split="train")
    missing = {"clean", "degraded"} - set(pairs.column_names)
    if missing:
        raise ValueError(f"{folder} has no column {' and no column '.join(sorted(missing))}.")
    return pairs


class Segments(Dataset):
    """Random segments of pairs, augmented; what index `i` gives depends on `(seed, i)` alone.

    Args:
        pairs: dataset with the columns `clean` and `degraded` (encoded audio).
        segment (`int`): length [samples].
        length (`int`): how many segments there are.
        restore (`bool`, defaults to `True`): degraded audio goes in; otherwise the clean one, as for a compressor.
    """

    def __init__(
        self,
        pairs: datasets.Dataset,
        segment: int,
        length: int,
        seed: int,
        *,
        augment: bool = True,
        restore: bool = True,
    ):
        self.pairs, self.segment, self.length, self.seed = pairs, segment, length, seed
        self.augment, self.restore = augment, restore

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """`input_values` and `labels`, float32 of shape `(2, segment)`."""
        random = np.random.default_rng((self.seed, index))
        row = self.pairs[int(random.integers(len(self.pairs))) if self.augment else index % len(self.pairs)]
        pair = np.stack(decode_pair(row))
        if pair.shape[1] == 1:
            pair = np.repeat(pair, 2, axis=1)
        # Not the first tenth of a second: an encoder's first frames are not typical.
        start = int(random.integers(4410, max(pair.shape[2] - self.segment, 4411)))
        pair = pair[..., start : start + self.segment]
        pair = np.pad(pair, ((0, 0), (0, 0), (0, self.segment - pair.shape[2])))
        if self.augment:
            pair = pair[:, :: random.choice([-1, 1])] * random.choice([-1, 1]) * 10 ** (random.uniform(-18, 3) / 20)
        degraded, clean = torch.from_numpy(np.ascontiguousarray(pair, dtype=np.float32))
        return {"input_values": degraded if self.restore else clean, "labels": clean}


def learning_rate(peak: float, step: int, warmup: int, elapsed: float) -> float:
    """Linear warm-up over steps, then a cosine to a hundredth over the elapsed share of the budget."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(elapsed, 1.0)))
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * cosine


@torch.no_grad()
def normalise_bands(model: UnlossyModel, input_values: torch.Tensor) -> None:
    """Data-dependent initialisation (https://arxiv.org/abs/1602.07868): bands start with mean 0 and variance 1.

    Levels hardly vary in the treble; without this the network sees nearly the same there whatever it hears, and it
    learned to ignore its input altogether.
    """
    bands = model._bands(model._spectrum(input_values)).flatten(0, 1)  # (frames, K, C)
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
def validate(model: UnlossyModel, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Mean of the loss and its terms [dB]."""
    sums: dict[str, float] = defaultdict(float)
    count = 0
    for batch in loader:
        output = model(**{name: value.to(device) for name, value in batch.items()}, detail=0.0)
        for name, value in {"loss": output.loss, **output.loss_terms}.items():
            sums[name] += value.item()
        count += 1
    return {name: value / count for name, value in sums.items()}


def train(arguments: argparse.Namespace) -> None:
    accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
    set_seed(arguments.seed, device_specific=True)
    if arguments.from_checkpoint:
        model = UnlossyModel.from_pretrained(arguments.from_checkpoint)
    else:
        model = UnlossyModel(UnlossyConfig(**json.loads(arguments.config or "{}")))
    config: UnlossyConfig = model.config
    rate = config.sampling_rate
    segment = round(arguments.segment_seconds * rate)
    rows = {split: load_pairs(arguments.pairs, split) for split in ("train", "validation")}
    training = Segments(rows["train"], segment, 10**8, arguments.seed, restore=config.residual)
    validation = Segments(rows["validation"], segment, 64, seed=0, augment=False, restore=config.residual)
    loader = DataLoader(
        training, arguments.batch_size, num_workers=arguments.workers, prefetch_factor=4 if arguments.workers else None
    )
    validation_loader = DataLoader(validation, batch_size=arguments.batch_size)
    if not arguments.from_checkpoint:
        normalise_bands(model, next(iter(DataLoader(training, batch_size=64)))["input_values"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(arguments.ema))
    averaged = cast(UnlossyModel, average.module)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    average.to(accelerator.device)

    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    log = (output / "log.jsonl").open("a") if accelerator.is_main_process else None

    def write(line: dict[str, float]) -> None:
        print(json.dumps({name: round(value, 4) for name, value in line.items()}), file=log, flush=True)

    def save_and_validate() -> None:
        averaged.save_pretrained(output)
        UnlossyFeatureExtractor(sampling_rate=rate).save_pretrained(output)
        figures = validate(averaged, validation_loader, accelerator.device)
        write({"step": step} | {f"validation_{name}": value for name, value in figures.items()})

    start, step, waited = time.monotonic(), 0, 0.0

    def spent() -> float:
        """Share of the budget, by the main process's clock: all must stop at the same step."""
        share = torch.tensor((time.monotonic() - start) / (60 * arguments.max_minutes), device=accelerator.device)
        return broadcast(share).item()

    sums: dict[str, float] = defaultdict(float)
    batches = iter(loader)
    while (elapsed := spent()) < 1:
        before = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - before
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(arguments.learning_rate, step, arguments.warmup, elapsed)
        outputs = model(**batch, detail=0.0)
        if not torch.isfinite(outputs.loss):
            path = output / f"nan_batch_{accelerator.process_index}.pt"
            torch.save(batch, path)
            raise FloatingPointError(f"the loss is {outputs.loss.item()} at step {step}; the batch is in {path}")
        accelerator.backward(outputs.loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        # Early on the average must forget the untrained weights quickly.
        if step % 200 == 0 and step < 1000:
            average.n_averaged.zero_()
        average.update_parameters(accelerator.unwrap_model(model))
        step += 1
        for name, value in {"loss": outputs.loss.detach(), **outputs.loss_terms, "grad_norm": norm}.items():
            sums[name] += value.item()
        if step % arguments.log_every == 0:
            seconds = time.monotonic() - start
            line = {"step": step, "minutes": seconds / 60, "waiting": waited / seconds}
            line |= {name: value / arguments.log_every for name, value in sums.items()}
            batches_seen = step * accelerator.num_processes
            line["audio_s_per_s"] = batches_seen * arguments.batch_size * arguments.segment_seconds / seconds
            sums.clear()
            if log:
                write(line)
        if step % arguments.validate_every == 0 and log:
            save_and_validate()
    if log:
        save_and_validate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m unlossy_training.train", description=__doc__.split("\n")[0])
    parser.add_argument("pairs", help="folder of pairs, from `python -m unlossy_training.dataset`")
    parser.add_argument("-o", "--output", required=True, help="folder for the checkpoint and log.jsonl")
    parser.add_argument("--max-minutes", type=float, default=60, help="budget [min] (default: %(default)s)")
    parser.add_argument("--from-checkpoint", help="start from these weights")
    parser.add_argument("--config", help="fields of UnlossyConfig as JSON")
    parser.add_argument("--batch-size", type=int, default=6, help="segments a step (default: %(default)s)")
    parser.add_argument("--segment-seconds", type=float, default=1.5, help="[s] (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=50, help="steps (default: %(default)s)")
    parser.add_argument("--max-grad-norm", type=float, default=10.0, help="(default: %(default)s)")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the weight average (default: %(default)s)")
    parser.add_argument("--mixed-precision", default="no", choices=["no", "bf16"], help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode (default: %(default)s)")
    parser.add_argument("--log-every", type=int, default=20, help="steps (default: %(default)s)")
    parser.add_argument("--validate-every", type=int, default=200, help="steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.from_checkpoint and arguments.config:
        parser.error("a checkpoint has its own configuration: leave out --config")
    try:
        train(arguments)
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
