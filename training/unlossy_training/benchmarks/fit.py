"""Measures the speed of training: the steps of `unlossy-train fit`, with its data, on the CPU and on a GPU if any.

    unlossy-train benchmark-fit                                  # with synthesised pairs
    unlossy-train benchmark-fit --pairs pairs/ --output speed.json

A figure is the median over several windows of steps, with data, forward and backward pass and optimiser. The share of
the machine's peak compares the operations of convolutions and matrix products, without spectra and pointwise work, with
those that a large matrix product reaches in the same precision.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import send_to_device
from torch.utils.flop_counter import FlopCounterMode

from unlossy.codecs import SAMPLING_RATE, encode
from unlossy_cli import entry

from ..corpus.recordings import flac
from ..fit.config import FitConfig
from ..fit.learning import Learner, prepare
from ..pairs.segments import Batch, batches, load_pairs

PARTS: dict[str, Literal["all", "detail"]] = {"A": "all", "detail": "detail"}  # by the name of a stage in training.json
MATRIX_SIZES = {"cpu": 2048, "cuda": 8192}  # rows and columns
WARMUP_STEPS = 2  # in which memory is allocated, kernels are chosen and workers fill their queues


def synthesise_pairs(count: int = 8, seconds: float = 4.0) -> datasets.Dataset:
    """Make pairs of decaying notes over noise, with MP3 at 64 kbps as the degraded side."""
    random = np.random.default_rng(0)
    axis = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    rows = []
    for _ in range(count):
        pitches = random.uniform(100, 8000, (2, 4, 1))
        notes = np.sin(2 * np.pi * pitches * axis).mean(axis=1) * np.exp(-4 * (axis % 0.5))
        clean = (0.4 * notes + 0.02 * random.normal(size=notes.shape)).astype(np.float32)
        rows.append(
            {
                "clean": {"bytes": flac(clean), "path": "notes.flac"},
                "degraded": {"bytes": encode(clean, SAMPLING_RATE, "mp3", 64), "path": "notes.mp3"},
                "level": 0.95,  # LAME's
                "edge_hz": None,
            }
        )
    return datasets.Dataset.from_list(rows)


def measure_peak(device: str, dtype: torch.dtype, size: int | None = None) -> float:
    """Measure the speed of a large matrix product, the best of five [FLOP/s].

    Args:
        size (`int`, *optional*): rows and columns of the matrices. Without it, `MATRIX_SIZES`.
    """
    size = size or MATRIX_SIZES[device]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):  # the first one warms up
        start = time.perf_counter()
        left @ right
        _wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def measure_stage(config: FitConfig, pairs: datasets.Dataset, device: str, windows: int, steps: int) -> dict[str, Any]:
    """Measure the speed of training with a configuration.

    Args:
        pairs: a dataset from [`load_pairs`].
        device (`str`): "cpu" or "cuda".
        windows, steps (`int`): number of windows, and of steps in each of them.

    Returns:
        `dict`: `audio_s_per_s`, seconds of audio per second, the median, with the `slowest` and the `fastest` window;
            `waiting`, the share of the time spent waiting for data; and `gflop_per_audio_s`.
    """
    AcceleratorState._reset_state(reset_partial_state=True)  # Accelerate keeps the first device of a process otherwise
    GradientState._reset_state()
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=config.mixed_precision)
    torch.manual_seed(config.seed)
    learner, segments = prepare(accelerator, config, pairs)
    data = batches(segments, config.batch_size, workers=config.workers)
    for number in range(WARMUP_STEPS):
        _step(learner, next(data), number)
    with FlopCounterMode(display=False) as counter:
        _step(learner, next(data), WARMUP_STEPS)
    speeds, waited, taken = [], 0.0, 0.0
    for _ in range(windows):
        seconds, waiting = _time_window(learner, data, device, steps)
        speeds.append(steps * config.batch_size * config.segment_seconds / seconds)
        waited, taken = waited + waiting, taken + seconds
    return {
        "audio_s_per_s": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "waiting": waited / taken,
        "gflop_per_audio_s": counter.get_total_flops() / 1e9 / (config.batch_size * config.segment_seconds),
    }


def _time_window(learner: Learner, data: Iterator[Batch], device: str, steps: int) -> tuple[float, float]:
    """Time a window of steps: all of its time, and the part of it spent waiting for data [s]."""
    _wait_for(device)
    start, waited = time.perf_counter(), 0.0
    for number in range(steps):
        before = time.perf_counter()
        batch = next(data)
        waited += time.perf_counter() - before
        _step(learner, batch, number)
    _wait_for(device)
    return time.perf_counter() - start, waited


def _step(learner: Learner, batch: Batch, number: int) -> None:
    audio = {name: batch[name] for name in ("input_values", "labels")}
    learner.step([send_to_device(audio, learner.accelerator.device)], number, progress=0.0)


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each device and stage, as the options of the command line say."""
    pairs = load_pairs(options.pairs, "train") if options.pairs else synthesise_pairs()
    precision = options.mixed_precision
    rows = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        peak = measure_peak(device, torch.bfloat16 if precision == "bf16" else torch.float32, options.matrix_size)
        for stage, part in PARTS.items():
            config = FitConfig(
                model=options.model, batch_size=options.batch_size, segment_seconds=options.segment_seconds,
                mixed_precision=precision, workers=options.workers, part=part,
            )  # fmt: skip
            figures = measure_stage(config, pairs, device, options.windows, options.steps)
            share = figures["audio_s_per_s"] * figures["gflop_per_audio_s"] * 1e9 / peak
            name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
            rows.append({"device": name, "stage": stage, **figures, "peak_flops": peak, "share_of_peak": share})
    settings = {name: value for name, value in vars(options).items() if name not in ("output", "pairs")}
    return {"torch": torch.__version__, "real_pairs": bool(options.pairs), "settings": settings, "rows": rows}


def markdown(figures: dict[str, Any]) -> str:
    """Make a Markdown table of the figures, with the settings above it."""
    settings = figures["settings"]
    kind = "real" if figures["real_pairs"] else "synthesised"
    lines = [
        f"{settings['batch_size']} × {settings['segment_seconds']:g} s of stereo a step, precision "
        f"{settings['mixed_precision']}, {settings['workers']} workers, {kind} pairs; median of {settings['windows']} "
        f"windows of {settings['steps']} steps; torch {figures['torch']}.",
        "",
        "| device | stage | audio-seconds a second (slowest – fastest) | waiting for data | GFLOP an audio-second "
        "| matrix peak [GFLOP/s] | share of it |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        speed = f"{row['audio_s_per_s']:.1f} ({row['slowest']:.1f} – {row['fastest']:.1f})"
        cost = f"{row['gflop_per_audio_s']:.2f} | {row['peak_flops'] / 1e9:.0f} | {row['share_of_peak']:.1%}"
        lines.append(f"| {row['device']} | {row['stage']} | {speed} | {row['waiting']:.1%} | {cost} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train benchmark-fit", description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", help="folder of pairs, or Hub id (default: synthesised)")
    parser.add_argument("--model", type=json.loads, default={}, help="fields of UnlossyConfig as JSON")
    parser.add_argument("--batch-size", type=entry.whole(), default=6, help="segments a step (default: %(default)s)")
    parser.add_argument("--segment-seconds", type=entry.positive, default=1.5, help="[s] (default: %(default)s)")
    parser.add_argument("--mixed-precision", default="bf16", choices=["no", "bf16"], help="(default: %(default)s)")
    parser.add_argument(
        "--workers", type=entry.whole(0), default=1, help="processes that decode (default: %(default)s)"
    )
    parser.add_argument("--windows", type=entry.whole(), default=5, help="(default: %(default)s)")
    parser.add_argument("--steps", type=entry.whole(), default=5, help="of a window (default: %(default)s)")
    parser.add_argument("--matrix-size", type=entry.whole(), help="of the peak's measurement (default: by device)")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    datasets.disable_progress_bars()
    figures = measure(options)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))
