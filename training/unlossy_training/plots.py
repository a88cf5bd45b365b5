"""Plots of an evaluation: metrics against bitrate, and spectrograms of the clips to look at."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no state, no window, PNG by Agg

from unlossy import Embedding
from unlossy.spectral_unlossy import power, stft

from .cases import LOSSLESS, Case
from .measuring import EMBEDDED, INPUT, METRICS, Setup, restored
from .metrics import SAMPLING_RATE
from .summary import change

N_FFT, HOP_LENGTH = 2048, 512  # [samples]
RANGE_DB = 100  # of the colours, below the loudest bin of the original


def plot_all(
    folder: Path, summary: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], cases: Sequence[Case], setup: Setup
) -> None:
    """Write `<codec>.png` for each lossy codec, and spectrograms of its `best` and `worst` clip at `detail` 1. Of an
    autoencoder, `rates.png`, which has all codecs, and spectrograms of originals that went through it."""
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
            plot_spectrograms(folder / f"{codec}-{name}.png", title, audio)


def plot_metrics(path: Path, summary: Sequence[dict[str, Any]]) -> None:
    """One panel for each metric: means against the bitrate, a line for each version."""
    summary = sorted(summary, key=lambda row: row["kbps"])
    metrics = [name for name in METRICS if name in summary[0]["means"][INPUT]]
    figure = Figure(figsize=(14, 7), layout="constrained")
    panels = figure.subplots(2, math.ceil(len(METRICS) / 2), squeeze=False).flat
    for metric, panel in zip(metrics, panels, strict=False):
        for version in summary[0]["means"]:
            means = [row["means"][version][metric] for row in summary]
            # A metric that no clip has is a gap.
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
    for panel in panels:  # those that the loop above has left
        panel.set_axis_off()
    figure.axes[0].legend()
    figure.savefig(path, dpi=100)


def plot_rates(path: Path, summary: Sequence[dict[str, Any]]) -> None:
    """One panel for each metric: means against the real bitrate, a line for each codec and each kind of autoencoder."""
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
            # A metric that no clip has is a gap.
            values = [np.nan if means[metric] is None else means[metric] for means in points]
            panel.plot([means["kbps"] for means in points], values, marker="o", label=name)
        panel.set(title=METRICS[metric], xlabel="kbps", xscale="log")
        panel.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.savefig(path, dpi=100)


def plot_embedding(path: Path, title: str, embedding: Embedding) -> None:
    """Write what [`show_embedding`] draws."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    show_embedding(figure, embedding).set_title(title)
    figure.savefig(path, dpi=100)


def show_embedding(figure: Figure, embedding: Embedding) -> Axes:
    """The values of the first channels over time, each dimension by its own deviation; those that vary together are
    neighbours, as far as the order of their first principal component tells."""
    values = embedding.values[0]
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    order = np.argsort(np.linalg.eigh(scaled.T @ scaled)[1][:, -1])
    panel = figure.subplots()
    image = panel.imshow(
        scaled[:, order].T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, embedding.seconds, 0, len(order)),
        vmin=-3,
        vmax=3,
        cmap="RdBu",
    )
    panel.set(xlabel="s", ylabel="dimension")
    figure.colorbar(image, ax=panel, label="deviations")
    return panel


def plot_spectrograms(
    path: Path, title: str, audio: Mapping[str, np.ndarray], sampling_rate: int = SAMPLING_RATE
) -> None:
    """One panel for each entry of shape `(channels, samples)`, mean power of the channels, all on one scale [dB]."""
    levels = {name: _levels(samples) for name, samples in audio.items()}
    loudest = max(float(level.max()) for level in levels.values())
    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplots(len(levels), 1, sharex=True, sharey=True)
    for panel, (name, level) in zip(panels, levels.items(), strict=True):
        seconds = level.shape[1] * HOP_LENGTH / sampling_rate
        image = panel.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, sampling_rate / 2000),
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            cmap="magma",
        )
        panel.set(title=name, ylabel="kHz")
    panels[-1].set_xlabel("s")
    figure.colorbar(image, ax=panels, label="dB")
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def _levels(audio: np.ndarray) -> np.ndarray:
    """`(channels, samples)` to levels of shape `(bins, frames)` [dB]."""
    spectrum = stft(torch.from_numpy(np.ascontiguousarray(audio))[None], N_FFT, HOP_LENGTH)
    return 10 * np.log10(power(spectrum)[0].mean(dim=-1).T.numpy() + 1e-12)
