"""Trains a restorer or an autoencoder on pairs of degraded and clean audio.

    unlossy-train fit training/recipes/tiny.yaml --pairs pairs/ --output tiny/            # to try it: a minute
    unlossy-train fit training/recipes/unlossy-44khz.yaml --pairs pairs/ --output trunk/
    torchrun --nproc-per-node 4 -m unlossy_training fit CONFIG.yaml …                     # or accelerate launch -m …

The same command again goes on where the last one was interrupted, whatever interrupted it (`checkpointing`). For a
fresh start, choose another output or delete it. Ctrl-C and SIGTERM end a run at the next step, with its state saved.

The learning rate follows a cosine over the budget, which is a number of steps, or of minutes where the machine is only
lent. The checkpoint in `output` is the exponential moving average of the weights; with `learned` below 1, an
interpolation between the weights that the run started from and that average.
"""

import contextlib
import dataclasses
import importlib.util
import json
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, set_seed
from datasets import disable_progress_bars
from torch import Tensor
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from unlossy import UnlossyFeatureExtractor

from ..files import write_whole
from ..hub_files import load_network
from ..pairs.cells import CellSegments
from ..pairs.segments import AnySegments, Batch, StreamedSegments, batches, load_pairs, mix_pairs
from . import record, tracking
from .checkpointing import Progress, cut_log, newest_state, publish, save_state
from .config import FitConfig, parse
from .display import Display
from .learning import Learner, NotFiniteError, prepare
from .validation import CellValidation, Validation

# A run ends when more than this share of the drawn pairs can't be used. Fewer failures than these may be chance.
LARGEST_FAILING_SHARE, FEWEST_FAILURES = 0.1, 10
EXAMPLES = 3  # clips that the tracker gets to play
CONFIG = "fit.json"  # the file in `output` that holds the configuration of a run


def fit(config: FitConfig) -> bool:
    """Train, from the start or from the last state in `config.output`.

    Returns:
        `bool`: whether the training came to its end. False after Ctrl-C or SIGTERM; the same call goes on then.

    Raises:
        ValueError: something about the configuration, the pairs or `output` doesn't fit.
        OSError: the state or the checkpoint can't be written.
        FloatingPointError: a loss or a gradient is not finite.
    """
    tracking.check_tracker(config.tracker)
    output = Path(config.output)
    state = newest_state(output)
    if state:
        config.refuse_changes(json.loads((output / CONFIG).read_text()))
    elif (output / "model.safetensors").exists():
        raise ValueError(f"{output} holds a checkpoint, but no state to go on from: choose another output")
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulation,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=output / "tracking",
    )
    set_seed(config.seed)
    pairs = None if config.cells else load_pairs(config.pairs, "train", streaming=config.streaming)
    if config.general_pairs:
        general = load_pairs(config.general_pairs, "train", streaming=config.streaming)
        pairs = mix_pairs(pairs, general, config.general_share, config.seed)
    learner, segments = prepare(accelerator, config, pairs, fresh=state is None)
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    validation: Validation | CellValidation | None = None
    if config.validation_clips and isinstance(segments, CellSegments):
        validation = CellValidation(config.cells, segments.config)
    elif config.validation_clips:
        validation = Validation(
            accelerator,
            load_pairs(config.pairs, "validation", streaming=config.streaming),
            config.validation_clips,
            with_visqol=config.visqol and importlib.util.find_spec("visqol") is not None,
            examples=0 if config.tracker == "none" else EXAMPLES,
        )
    with accelerator.main_process_first():
        output.mkdir(parents=True, exist_ok=True)
    if accelerator.is_main_process:
        write_whole(output / CONFIG, (json.dumps(dataclasses.asdict(config), indent=1) + "\n").encode())
    if state:
        accelerator.load_state(str(state))
    else:
        save_state(accelerator, output, progress.step)  # so that a checkpoint without a state is never one of this run
    if isinstance(segments, StreamedSegments):
        segments.epoch_rows = progress.epoch_rows
    tracking.start(accelerator, config, progress.step)
    if accelerator.is_main_process:
        cut_log(output / "log.jsonl", progress.step)
    run = Run(config, accelerator, learner, validation, progress)
    finished = run.train(segments)
    accelerator.end_training()
    return finished


class Run:
    """The training loop: steps, log, validations and states.

    Args:
        validation: measures the averaged weights, or `None` for no validation.
        progress (`Progress`): where the run is. It is registered with the accelerator, so that states contain it.
    """

    def __init__(
        self,
        config: FitConfig,
        accelerator: Accelerator,
        learner: Learner,
        validation: Validation | CellValidation | None,
        progress: Progress,
    ):
        self.config, self.accelerator, self.learner = config, accelerator, learner
        self.validation, self.progress = validation, progress
        self.output = Path(config.output)
        self.seconds_before, self.begun = progress.seconds, time.monotonic()
        self.named_failures: set[str] = set()
        self.record = record.before(config)
        self.display = Display(self.spent(), accelerator.is_main_process)

    def train(self, segments: AnySegments) -> bool:
        """Train until the end or an interruption, and return whether it was the end."""
        with self.display:
            return self._train(segments)

    def _train(self, segments: AnySegments) -> bool:
        config, accelerator, progress = self.config, self.accelerator, self.progress
        if progress.stopped or self.agree(False, 0)[0] >= 1:
            self.display.say(f"nothing left to do in {self.output}: {progress.stopped or 'the budget is spent'}")
            return True
        processes = accelerator.num_processes
        segments_a_step = config.batch_size * config.accumulation * processes
        data = batches(
            segments, config.batch_size, start=progress.position, workers=config.workers,
            process=accelerator.process_index, processes=processes,
        )  # fmt: skip
        if config.patience and progress.best_loss is None:
            self.validate()  # later validations are compared with the weights that the run starts from
        device = accelerator.device
        sums = {name: torch.tensor(value, device=device) for name, value in progress.sums.items()}
        since, waited, timed = time.monotonic(), 0.0, 0
        new_failures, begun_at = 0, progress.step
        with _noting_signals() as signals:
            while True:
                # All processes must stop at the same step, so the main process's clock decides.
                spent, interrupted, failures = self.agree(bool(signals), new_failures)
                progress.failures += failures
                new_failures = 0
                self.refuse_bad_data()
                if spent >= 1 or interrupted:
                    break
                self.display.spend(spent)
                # The state after the last step is saved below, together with its validation.
                if progress.step % config.save_every == 0 and progress.step > begun_at:
                    aside = time.monotonic()
                    self.save(sums)
                    since += time.monotonic() - aside  # saving does not count as training time

                # Step.
                before = time.monotonic()
                micro = [next(data) for _ in range(config.accumulation)]
                waited += time.monotonic() - before
                new_failures += self.note_failures(micro)
                learned = self.step(micro, spent)
                progress.step += 1
                progress.position += segments_a_step
                if isinstance(segments, StreamedSegments):
                    progress.epoch_rows = segments.epoch_rows
                for name, value in learned.items():
                    sums[name] = sums[name] + value if name in sums else value
                timed += 1

                # Log.
                if progress.step % config.log_every == 0:
                    seconds = time.monotonic() - since
                    line = {name: value / config.log_every for name, value in self.mean(sums).items()}
                    line |= {"waiting": waited / seconds, "minutes": self.seconds() / 60}
                    line["audio_s_per_s"] = timed * segments_a_step * config.segment_seconds / seconds
                    self.display.step(progress.step, line)
                    self.write(line | ({"failures": progress.failures} if progress.failures else {}))
                    sums, since, waited, timed = {}, time.monotonic(), 0.0, 0

                # Validate.
                if progress.step % config.validate_every == 0:
                    aside = time.monotonic()
                    if not self.validate():
                        break
                    since += time.monotonic() - aside
        if not interrupted and not progress.stopped and progress.step % config.validate_every:
            self.validate()
        self.save(sums)
        self.report(interrupted)
        return not interrupted

    def step(self, micro: list[Batch], spent: float) -> dict[str, Tensor]:
        """Update the weights once. A batch that gives a loss or gradient that is not finite is saved for inspection."""
        kept = [{name: batch[name] for name in batch if name != "failures"} for batch in micro]
        try:
            return self.learner.step(send_to_device(kept, self.accelerator.device), self.progress.step, spent)
        except NotFiniteError as error:
            path = self.output / f"nan_batch_{self.accelerator.process_index}.pt"
            torch.save(kept, path)
            raise NotFiniteError(f"{error}: stopped before the weights changed, the batch is in {path}") from error

    def validate(self) -> bool:
        """Measure the averaged weights and publish them, unless `patience` is set and earlier ones were better.

        Returns:
            `bool`: whether to go on training.
        """
        if self.validation is None:
            self.publish()
            return True
        figures, examples = self.validation.measure(self.learner.averaged)
        self.display.validation(self.progress.step, figures)
        self.write({f"validation_{name}": value for name, value in figures.items()})
        tracking.show_examples(self.accelerator, examples, self.progress.step)
        for failure in self.validation.failures:
            self.name_failure(failure)
        if self.config.patience is not None and not self.improved(figures["loss"]):
            return self.progress.stopped is None
        self.publish()
        return True

    def improved(self, loss: float) -> bool:
        """Whether a validation loss is the lowest so far. After `patience` that are not, the run is marked as over."""
        progress, patience = self.progress, self.config.patience
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.stale = loss, 0
            return True
        progress.stale += 1
        if patience is not None and progress.stale >= patience:
            progress.stopped = (
                f"the validation loss has not fallen for {patience} validations; {self.output} keeps the checkpoint "
                "with the lowest"
            )
        return False

    def save(self, sums: dict[str, Tensor]) -> None:
        """Save the state, and the checkpoint with it. With `patience`, only `validate` publishes checkpoints."""
        self.progress.seconds = self.seconds()
        self.progress.sums = self.mean(sums)
        save_state(self.accelerator, self.output, self.progress.step)
        if self.config.patience is None:
            self.publish()
        if self.accelerator.is_main_process:
            record.write(self.output, record.after(self.record, self.config, self.progress))

    def publish(self) -> None:
        """Write the checkpoint that others load to `output`."""

        def write(folder: Path) -> None:
            averaged = self.learner.averaged
            averaged.save_pretrained(folder, state_dict=self.between(averaged.state_dict()))
            UnlossyFeatureExtractor(sampling_rate=averaged.config.sampling_rate).save_pretrained(folder)

        publish(self.accelerator, self.output, write)

    def between(self, learned: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate from the weights that the run started from to learned ones, by the share `config.learned`
        (WiSE-FT, https://arxiv.org/abs/2109.01903)."""
        if self.config.learned == 1:
            return learned
        assert self.config.from_checkpoint
        start = load_network(self.config.from_checkpoint).state_dict()
        return {name: torch.lerp(start[name].to(x), x, self.config.learned) for name, x in learned.items()}

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Means over all processes of values of shape `()`."""
        names = sorted(values)
        if not names:
            return {}
        means = self.accelerator.reduce(torch.stack([values[name] for name in names]), "mean")
        return dict(zip(names, means.tolist(), strict=True))

    def seconds(self) -> float:
        """How long the run has lasted, all earlier parts of it included [s]."""
        return self.seconds_before + time.monotonic() - self.begun

    def spent(self) -> float:
        """Share of the budget that is spent, by this process's clock."""
        minutes, steps = self.config.max_minutes or math.inf, self.config.max_steps or math.inf
        return max(self.seconds() / 60 / minutes, self.progress.step / steps)

    def agree(self, interrupted: bool, failures: int) -> tuple[float, bool, int]:
        """Bring all processes to the same state of knowledge, so that they act alike.

        Returns:
            the share of the budget that is spent, by the main process's clock; whether any process was interrupted; and
            how many pairs failed in all of them.
        """
        share = 0.0
        if self.accelerator.is_main_process:
            share = self.spent()
        known = torch.tensor([share, interrupted, failures], device=self.accelerator.device)
        share, any_interrupted, all_failures = self.accelerator.reduce(known, "sum").tolist()
        return share, any_interrupted > 0, round(all_failures)

    def note_failures(self, micro: list[Batch]) -> int:
        """Name the pairs of some batches that could not be used, and return how many there were."""
        reasons = [reason for batch in micro for reason in batch["failures"]]
        for reason in reasons:
            self.name_failure(reason)
        return len(reasons)

    def name_failure(self, reason: str) -> None:
        """Print why a pair could not be used, once for each reason."""
        if reason not in self.named_failures:
            self.named_failures.add(reason)
            tqdm.write(f"skipped: {reason}", file=sys.stderr)

    def refuse_bad_data(self) -> None:
        """
        Raises:
            ValueError: too many of the drawn pairs could not be used.
        """
        failures, drawn = self.progress.failures, self.progress.position + self.progress.failures
        if failures >= FEWEST_FAILURES and failures > LARGEST_FAILING_SHARE * drawn:
            first = min(self.named_failures, default="named by another process or run")
            raise ValueError(f"{failures} of {drawn} pairs drawn can't be used, one of them: {first}")

    def write(self, line: dict[str, float]) -> None:
        """Append a line to log.jsonl, and points to the tracker's curves."""
        self.accelerator.log(line, step=self.progress.step)
        if self.accelerator.is_main_process:
            rounded = {name: float(f"{value:.7g}") for name, value in line.items()}
            with (self.output / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": self.progress.step} | rounded) + "\n")

    def report(self, interrupted: bool) -> None:
        """Say how the run has ended."""
        ending = "interrupted, its state is saved: the same command goes on" if interrupted else "done"
        self.display.say(f"{self.progress.stopped or ending}; {self.progress.step} steps in {self.output}")
        if self.progress.failures:
            self.display.say(f"{self.progress.failures} pairs drawn could not be used and were replaced")


@contextlib.contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """Give a list to which the first SIGINT or SIGTERM is added instead of ending the process. The second ends it."""
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        restore()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    config = parse(arguments)
    # Each published checkpoint would show bars of its own between the lines of this command.
    disable_progress_bar()
    disable_progress_bars()
    fit(config)
