"""Plots an evaluation: metrics against bitrate, and spectrograms of the best and the worst clips."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot: no state, no window, PNG by Agg

from unlossy.metrics import SAMPLING_RATE
from unlossy.pictures import plot_spectrograms

from ..conditions import LOSSLESS
from .cases import Case
from .measuring import EMBEDDED, INPUT, METRICS, Setup, restored
from .summary import change


def plot_all(
    folder: Path, summary: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], cases: Sequence[Case], setup: Setup
) -> None:
    """Write the plots of an evaluation to a folder.

    For a restorer these are `CODEC.png` for each lossy codec, and spectrograms of its best and its worst clip at
    `detail` 1. For an autoencoder they are `rates.png`, with all codecs, and spectrograms of two originals that went
    through it.
    """
    by_name = {(case.clip, case.codec, case.kbps): case for case in cases}
    if setup.compresses:
        plot_rates(folder / "rates.png", summary)
    for codec in dict.fromkeys(row["codec"] for row in summary if (row["codec"] == LOSSLESS) == setup.compresses):
        if not setup.compresses:
            plot_metrics(folder / f"{codec}.png", [row for row in summary if row["codec"] == codec])
        ranked = sorted((row for row in rows if row["codec"] == codec), key=change)
        for name, row in {"worst": ranked[0], "best": ranked[-1]}.items():
            clean, degraded, _ = by_name[row["clip"], codec, row["kbps"]].audio()
            audio = {"input": degraded, "restored": restored(degraded, setup, detail=1.0), "original": clean}
            title = f"{row['clip']}, {codec} {row['kbps'] or ''} ({change(row):+.2f})"
            plot_spectrograms(folder / f"{codec}-{name}.png", title, audio, SAMPLING_RATE)


def plot_metrics(path: Path, summary: Sequence[dict[str, Any]]) -> None:
    """Plot means against the nominal bitrate: a panel for each metric, and a line for each version."""
    summary = sorted(summary, key=lambda row: row["kbps"])
    metrics = [name for name in METRICS if name in summary[0]["means"][INPUT]]
    figure = Figure(figsize=(14, 7), layout="constrained")
    panels = figure.subplots(2, math.ceil(len(METRICS) / 2), squeeze=False).flat
    for metric, panel in zip(metrics, panels, strict=False):
        for version in summary[0]["means"]:
            means = [row["means"][version][metric] for row in summary]
            # A metric that is defined for no clip leaves a gap.
            panel.plot(
                range(len(summary)),
                [np.nan if mean is None else mean for mean in means],
                marker="o",
                label=version,
                linestyle="--" if version == INPUT else "-",
            )
        panel.set(title=METRICS[metric], xlabel=f"{summary[0]['codec']} [kbps]")
        panel.set_xticks(range(len(summary)), [str(row["kbps"]) for row in summary])
        panel.grid(alpha=0.3)
    for panel in panels:  # those that no metric has taken
        panel.set_axis_off()
    figure.axes[0].legend()
    figure.savefig(path, dpi=100)


def plot_rates(path: Path, summary: Sequence[dict[str, Any]]) -> None:
    """Plot means against the real bitrate: a panel for each metric, and a line for each codec and kind of
    autoencoder."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in summary:
        for version, means in row["means"].items():
            if "kbps" in means:
                kind = version.split(", ")[-1] if version in EMBEDDED else version.split(", ")[0]
                lines.setdefault(row["codec"] if version == INPUT else kind, []).append(means)
    figure = Figure(figsize=(14, 7), layout="constrained")
    metrics = [name for name in METRICS if name in summary[0]["means"][INPUT]]
    for metric, panel in zip(
        metrics, figure.subplots(2, math.ceil(len(metrics) / 2), squeeze=False).flat, strict=False
    ):
        for name, points in lines.items():
            points.sort(key=lambda means: means["kbps"])
            # A metric that is defined for no clip leaves a gap.
            values = [np.nan if means[metric] is None else means[metric] for means in points]
            panel.plot([means["kbps"] for means in points], values, marker="o", label=name)
        panel.set(title=METRICS[metric], xlabel="kbps", xscale="log")
        panel.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.savefig(path, dpi=100)
