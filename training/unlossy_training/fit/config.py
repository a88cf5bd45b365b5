"""What `unlossy-train fit` is told: a flat, typed configuration from a YAML file, overridden on the command line.

    unlossy-train fit training/recipes/unlossy-44khz.yaml --pairs pairs/ --output checkpoint/ --max-minutes 30

A field that doesn't exist is an error, in the file as on the command line.
"""

import dataclasses
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import HfArgumentParser

from unlossy_cli import entry

POSITIVE = (
    *("batch_size", "segment_seconds", "accumulation", "learning_rate", "max_grad_norm", "max_minutes", "max_steps"),
    *("log_every", "validate_every", "save_every", "patience"),
)
NOT_NEGATIVE = ("warmup", "workers", "validation_clips", "seed")
# Fields that a run can't change on the way: the weights of a saved state, or its position in the data, depend on them.
FIXED = (
    *("pairs", "general_pairs", "general_share", "streaming", "seed", "segment_seconds", "from_checkpoint", "model"),
    "part",
)


def _help(text: str) -> Any:
    return {"help": text}


@dataclass
class FitConfig:
    """The configuration of a training. The defaults and units of its fields are in `unlossy-train fit --help`."""

    pairs: str = field(default="", metadata=_help("folder of pairs, or id of a dataset on the Hub"))
    cells: list[str] = field(
        default_factory=list,
        metadata=_help("part detail: folders made by `unlossy-train cells`, to learn from instead of pairs"),
    )
    output: str = field(default="", metadata=_help("folder for the checkpoint, log.jsonl and the state to resume from"))
    general_pairs: str | None = field(
        default=None, metadata=_help("further pairs, folder or Hub id, against forgetting; not used for validation")
    )
    general_share: float = field(default=0.25, metadata=_help("share of the segments that come from general_pairs"))
    streaming: bool = field(default=False, metadata=_help("read the pairs one after another, without a local copy"))
    from_checkpoint: str | None = field(default=None, metadata=_help("start from these weights: folder or Hub id"))
    model: dict[str, Any] = field(
        default_factory=dict,
        metadata=_help(
            "fields of UnlossyConfig for a new restorer, or with model_type: unlossy_autoencoder of "
            "UnlossyAutoencoderConfig for a new autoencoder; on the command line as JSON"
        ),
    )
    part: Literal["all", "faithful", "detail"] = field(
        default="all",
        metadata=_help(
            "what learns: faithful, the heads that correct what is there; detail, a small network of its own, which is "
            "many times faster"
        ),
    )
    degraded: float = field(
        default=1.0,
        metadata=_help("share of segments that go in degraded; the others go in clean"),
    )
    equalised: float = field(
        default=0.3, metadata=_help("part detail, from pairs: share of segments that go through a random equaliser")
    )
    max_minutes: float | None = field(default=None, metadata=_help("budget [min], over all resumptions"))
    max_steps: int | None = field(default=None, metadata=_help("budget [steps]; with both, the one that ends first"))
    batch_size: int = field(default=6, metadata=_help("number of segments in a batch, in each process"))
    segment_seconds: float = field(default=1.5, metadata=_help("length of a segment [s]"))
    accumulation: int = field(default=1, metadata=_help("number of batches for a step, in each process"))
    learning_rate: float = field(default=1e-3, metadata=_help("the highest learning rate"))
    schedule: Literal["cosine", "constant"] = field(
        default="cosine",
        metadata=_help("of the learning rate: falling over the budget, or the same for a run that will go on"),
    )
    warmup: int = field(default=50, metadata=_help("length of the learning rate's rise [steps]"))
    ema: float = field(default=0.998, metadata=_help("decay of the average of the weights"))
    learned: float = field(
        default=1.0,
        metadata=_help(
            "how far the weights that are written lie from those of from_checkpoint towards the average of the learned "
            "ones, 0 to 1: below 1, most of what was gained stays, and little of what was known gets lost"
        ),
    )
    max_grad_norm: float = field(default=10.0, metadata=_help("longer gradients are shortened to this"))
    mixed_precision: Literal["no", "bf16"] = field(default="no", metadata=_help("of the networks; spectra stay fp32"))
    workers: int = field(default=1, metadata=_help("processes that decode audio, for each process that trains"))
    log_every: int = field(default=20, metadata=_help("a line of the log every so many steps"))
    validate_every: int = field(default=500, metadata=_help("a validation every so many steps"))
    save_every: int = field(default=500, metadata=_help("a state every so many steps"))
    validation_clips: int = field(default=16, metadata=_help("whole clips of the validation split; 0 for none"))
    patience: int | None = field(
        default=None,
        metadata=_help("keep the checkpoint with the lowest validation loss, and end after so many without a lower"),
    )
    visqol: bool = field(default=True, metadata=_help("measure ViSQOL, the slowest metric, if it is installed"))
    tracker: Literal["none", "tensorboard", "trackio"] = field(
        default="none", metadata=_help("shows curves, audio and spectrograms")
    )
    seed: int = field(default=0, metadata=_help("of the weights and of the segments"))

    def check(self) -> None:
        """Check that the fields make sense, each and together.

        Raises:
            ValueError: a field is missing, out of range, or contradicts another.
        """
        if not self.output:
            raise ValueError("output is missing")
        if bool(self.pairs) == bool(self.cells):
            raise ValueError("give pairs, or, for part detail, cells")
        if self.cells and self.part != "detail":
            raise ValueError(f"part {self.part} learns from audio: give pairs instead of cells")
        if self.max_minutes is None and self.max_steps is None:
            raise ValueError("give max_minutes, max_steps or both")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0, got {getattr(self, name)}")
        for name in ("degraded", "equalised", "learned"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be from 0 up to, but not including, 1, got {self.ema}")
        if not 0 < self.general_share < 1:
            raise ValueError(f"general_share must be between 0 and 1, got {self.general_share}")
        if self.patience and not self.validation_clips:
            raise ValueError("patience needs validation_clips")
        if self.learned < 1 and not self.from_checkpoint:
            raise ValueError(f"learned={self.learned} interpolates from the weights of from_checkpoint: name one")
        if self.from_checkpoint and self.model:
            raise ValueError("from_checkpoint brings its own configuration: leave out model")

    def refuse_changes(self, saved: dict[str, Any]) -> None:
        """Check that a run can go on from a state with this configuration.

        Args:
            saved (`dict`): the fields of the run that the state comes from.

        Raises:
            ValueError: one of the fields in `FIXED` has changed.
        """
        for name in FIXED:
            if getattr(self, name) != saved[name]:
                raise ValueError(
                    f"{self.output} was begun with {name}={saved[name]!r} and can't go on with "
                    f"{getattr(self, name)!r}: restore it, or choose another output"
                )


class _Parser(entry.Parser, HfArgumentParser):
    """A parser of a dataclass whose errors are one sentence."""


def parse(arguments: Sequence[str] | None = None) -> FitConfig:
    """Read the configuration from the words of a command line and the YAML file that they may name.

    A mistake ends the process with code 2 and one sentence, as argparse does.
    """
    parser = _Parser(
        [FitConfig],  # type: ignore[list-item]  # its annotation asks for an instance
        prog="unlossy-train fit",
        description="Train a restorer on pairs of degraded and clean audio.",
        usage="unlossy-train fit [CONFIG.yaml] [--field value …]",
        allow_abbrev=False,
    )
    parser.register("type", dict[str, Any], _json_object)
    parser.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="fields, one a line")
    words = sys.argv[1:] if arguments is None else list(arguments)
    given, unknown = parser.parse_known_args(words)
    fields = [item.name for item in dataclasses.fields(FitConfig)]
    if unknown:
        word = unknown[0].lstrip("-").partition("=")[0]
        parser.error(f"there is no field {unknown[0]}{_nearest(word.replace('-', '_'), fields)}")
    if given.config:
        # Before the command line's words and through the same parser: checked alike, and the last word counts.
        words = [*_read(Path(given.config), fields, parser), *words]
    values = vars(parser.parse_args(words))
    values.pop("config")
    config = FitConfig(**values)
    try:
        config.check()
    except ValueError as error:
        parser.error(str(error))
    return config


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _read(path: Path, fields: list[str], parser: _Parser) -> list[str]:
    """The fields of a YAML file as words of a command line."""
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        parser.error(f"{path} can't be read: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        parser.error(f"{path} is no YAML: {' '.join(str(error).split())}")
    if not isinstance(values, dict):
        parser.error(f"{path} has no fields: write one a line, such as `batch_size: 6`")
    for name in values:
        if name not in fields:
            parser.error(f"{path}: there is no field {name}{_nearest(str(name), fields)}")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return [f"--{name}={text}" for name, text in texts.items() if text != "null"]


def _nearest(name: str, fields: list[str]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
