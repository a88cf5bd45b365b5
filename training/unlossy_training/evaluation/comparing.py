"""Compares two checkpoints on the same clips: the table of a fine-tuning, and a sentence on whether it is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..conditions import LOSSLESS
from . import measuring
from .cases import Case
from .evaluate import run
from .measuring import METRICS
from .summary import summarise

ALL = "all codecs"  # in place of a codec's name
# The metrics that count, and the version that each is taken from: perceived quality with all the regenerated treble,
# and closeness to the original without it.
FIGURES = {"visqol": "detail 1", "si_sdr": "detail 0"}
NOTICEABLE = {"visqol": 0.02, "si_sdr": 0.05}  # differences of a mean that are smaller don't count
ALLOWED_LOSS = 0.05  # of ViSQOL, on the general set

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """The figures of the same clips before and after training, in the same order: rows of
    [`unlossy_training.evaluation.measuring.measure`]."""

    name: str
    before: Rows
    after: Rows

    def as_json(self, *, by_codec: bool) -> dict[str, Any]:
        """Average over all codecs, without untouched originals, and on request for each codec and bitrate."""
        return {"name": self.name, "before": _summary(self.before, by_codec), "after": _summary(self.after, by_codec)}

    def changes(self, metric: str, condition: tuple[str, int] | None = None) -> list[float]:
        """By how much a metric of `FIGURES` has changed, for each clip that is not lossless, or only for those at a
        condition."""
        version = FIGURES[metric]
        pairs = zip(self.before, self.after, strict=True)
        return [
            after["figures"][version][metric] - before["figures"][version][metric]
            for before, after in pairs
            if (condition == (after["codec"], after["kbps"]) if condition else after["codec"] != LOSSLESS)
            and metric in after["figures"][version]
        ]


def _summary(rows: Rows, by_codec: bool) -> list[dict[str, Any]]:
    lossy = [row | {"codec": ALL, "kbps": 0} for row in rows if row["codec"] != LOSSLESS]
    return (summarise(rows) if by_codec else []) + summarise(lossy)


def measure(cases: Sequence[Case], model: str, cache: Path, workers: int, *, visqol: bool) -> Rows:
    """Measure a model on some clips, see [`run`].

    Raises:
        ValueError: not one clip can be measured.
    """
    rows, left_out = run(cases, measuring.prepare(model, cache, visqol=visqol), workers)
    if not rows:
        raise ValueError(f"none of the {len(cases)} clips to measure with can be used: {left_out[0]['reason']}")
    return rows


def evenly(cases: Sequence[Case], most: int) -> list[Case]:
    """Choose up to `most` cases, spread evenly over all codecs and bitrates."""
    return [cases[i * len(cases) // most] for i in range(most)] if len(cases) > most else list(cases)


def verdict(own: Comparison, general: Comparison | None) -> str:
    """Say whether the fine-tuned model is better, where it is worse, and what it has forgotten."""
    means = {metric: _mean(own.changes(metric)) for metric in FIGURES if own.changes(metric)}
    gains = [name for name, mean in means.items() if mean >= NOTICEABLE[name]]
    losses = [name for name, mean in means.items() if mean <= -NOTICEABLE[name]]
    figures = ", ".join(_words(own, metric) for metric in means)
    judgement = "better" if gains else "not better, keep the one it started from"
    if gains and losses:
        judgement = "better in one respect and worse in another"
    sentence = f"On the held-out recordings the fine-tuned model is {judgement}: {figures}."
    conditions = dict.fromkeys((row["codec"], row["kbps"]) for row in own.after if row["codec"] != LOSSLESS)
    worse = [
        f"{codec} {kbps or ''}".strip() + f" ({METRICS[metric]} {_mean(own.changes(metric, (codec, kbps))):+.2f})"
        for codec, kbps in conditions
        for metric in means
        if _mean(own.changes(metric, (codec, kbps))) <= -NOTICEABLE[metric]
    ]
    if worse:
        sentence += f" It is worse at {', '.join(worse)}."
    if general is None:
        return f"{sentence} What it may have forgotten was not measured."
    known = {metric: _mean(general.changes(metric)) for metric in FIGURES if general.changes(metric)}
    forgotten = ", ".join(_words(general, metric) for metric in known)
    if "visqol" in known:
        lost = "" if known["visqol"] < -ALLOWED_LOSS else "no "
        forgotten = f"it has lost {lost}more than {ALLOWED_LOSS} of ViSQOL: {forgotten}"
    return f"{sentence} On the general set {forgotten}."


def _words(comparison: Comparison, metric: str) -> str:
    changes = comparison.changes(metric)
    better = sum(change > 0 for change in changes)
    mean = f"{_mean(changes):+.2f} at {FIGURES[metric]}"
    return f"{METRICS[metric]} {mean} ({better} of {len(changes)} clips better)"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
