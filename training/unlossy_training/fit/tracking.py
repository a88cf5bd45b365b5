"""Shows a run in TensorBoard or Trackio: curves, clips to listen to, and their spectrograms.

tensorboard --logdir checkpoint/tracking        # --tracker tensorboard
trackio show                                    # --tracker trackio
"""

import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from unlossy.metrics import SAMPLING_RATE

from .config import FitConfig
from .validation import Example


def check_tracker(name: str) -> None:
    """Make sure that a tracker can be used.

    Raises:
        ValueError: the tracker's package is missing.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise ValueError(f"tracker={name} needs a package: pip install {name}")


def start(accelerator: Accelerator, config: FitConfig, step: int) -> None:
    """Begin a run in the tracker, or go on after a step.

    TensorBoard then drops what a killed run had shown of later steps. Trackio can't.
    """
    options = {
        "tensorboard": {"purge_step": step + 1},
        "trackio": {"name": Path(config.output).name, "resume": "allow"},
    }
    fields = {
        name: value if isinstance(value, int | float | str) else str(value) for name, value in asdict(config).items()
    }
    kept = {config.tracker: options[config.tracker]} if config.tracker in options else {}
    accelerator.init_trackers("unlossy", config=fields, init_kwargs=kept)


def show_examples(accelerator: Accelerator, examples: Sequence[Example], step: int) -> None:
    """Show clips in the tracker: audio, and spectrograms if Matplotlib is installed."""
    for tracker in accelerator.trackers:
        for number, example in enumerate(examples):
            versions = asdict(example)
            picture = _spectrograms(versions, f"clip {number}, step {step}")
            if tracker.name == "tensorboard":
                _to_tensorboard(tracker.tracker, number, versions, picture, step)
            else:
                tracker.log(_for_trackio(number, versions, picture), step=step)


def _to_tensorboard(
    writer: Any, number: int, versions: dict[str, np.ndarray], picture: np.ndarray | None, step: int
) -> None:
    for name, audio in versions.items():
        # TensorBoard plays one channel.
        writer.add_audio(f"clip {number}/{name}", torch.from_numpy(audio.mean(axis=0)), step, SAMPLING_RATE)
    if picture is not None:
        writer.add_image(f"clip {number}/spectrograms", picture, step, dataformats="HWC")


def _for_trackio(number: int, versions: dict[str, np.ndarray], picture: np.ndarray | None) -> dict[str, Any]:
    import trackio

    # Trackio normalises floating-point audio to full scale, so clips are passed as int16.
    values: dict[str, Any] = {
        f"clip {number}/{name}": trackio.Audio(
            (audio.T.clip(-1, 1) * 32767).astype(np.int16), sample_rate=SAMPLING_RATE
        )
        for name, audio in versions.items()
    }
    if picture is not None:
        values[f"clip {number}/spectrograms"] = trackio.Image(picture)
    return values


def _spectrograms(versions: dict[str, np.ndarray], title: str) -> np.ndarray | None:
    """Draw the spectrograms of all versions into one picture: uint8 of shape `(height, width, 3)`, or `None` without
    Matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from PIL import Image

    from unlossy.pictures import plot_spectrograms

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spectrograms.png")
        plot_spectrograms(path, title, versions, SAMPLING_RATE)
        return np.asarray(Image.open(path).convert("RGB"))
