"""States that a run resumes from to the same loss curve, and the checkpoint that others load, both whole or not there.

    OUTPUT/state/step_001000/   what `Accelerator.save_state` writes: model, optimiser, RNG, average, `Progress`
    OUTPUT/model.safetensors …  the average of the weights, for `from_pretrained`

A state is written to `step_001000.unfinished` and gets its name when everything is in it, which Accelerate's own naming
of states does not do (docs/decisions/022-accelerate.md). Only whole steps are saved, never half-accumulated gradients.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..files import write_whole

KEPT_STATES = 2
LAST_FILE = "model.safetensors"  # a checkpoint without it is none


@dataclass
class Progress:
    """Where a run is. Part of its state, through `Accelerator.register_for_checkpointing`.

    Attributes:
        step (`int`): number of updates so far.
        position (`int`): index of the next segment, counted over all processes.
        seconds (`float`): time spent so far, validations included [s].
        failures (`int`): how often a pair was drawn that can't be used.
        epoch_rows (`int`, *optional*): number of rows in an epoch of streamed pairs, once known.
        best_loss (`float`, *optional*): the lowest validation loss so far, if the best checkpoint is kept [dB].
        stale (`int`): number of validations since then.
        stopped (`str`, *optional*): why the run ended before its budget was spent.
        sums (`dict[str, float]`): figures of the steps since the last line of the log, added up.
    """

    step: int = 0
    position: int = 0
    seconds: float = 0.0
    failures: int = 0
    epoch_rows: int | None = None
    best_loss: float | None = None
    stale: int = 0
    stopped: str | None = None
    sums: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return what `Accelerator.save_state` stores."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `Accelerator.load_state` has read."""
        vars(self).update(state)


def newest_state(output: Path) -> Path | None:
    """The folder of the complete state with the most steps, or `None` if there is none."""
    states = _whole_states(output)
    return states[-1] if states else None


def save_state(accelerator: Accelerator, output: Path, step: int) -> None:
    """Save the state of a step, and delete all but the last two.

    To be called by all processes, at a step at which gradients are synchronised.

    Raises:
        OSError: it can't be written; earlier states are as they were.
    """
    state = output / "state" / f"step_{step:06d}"
    if state.exists():
        return
    with _unfinished(accelerator, state) as folder:
        accelerator.save_state(str(folder))
    if accelerator.is_main_process:
        _sync(folder)
        folder.rename(state)
        for old in _whole_states(output)[:-KEPT_STATES]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def publish(accelerator: Accelerator, output: Path, save: Callable[[Path], None]) -> None:
    """Put the files of a checkpoint into `output`, each of them complete, model.safetensors last.

    Args:
        save (callable): writes the files to the folder that it is given. The main process calls it.

    Raises:
        OSError: they can't be written; what was there is as it was.
    """
    with _unfinished(accelerator, output / "checkpoint") as folder:
        if accelerator.is_main_process:
            save(folder)
    if accelerator.is_main_process:
        _sync(folder)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == LAST_FILE):
            file.replace(output / file.name)
        folder.rmdir()


def cut_log(path: Path, step: int) -> None:
    """Remove what a killed run logged after its last state: lines of later steps, and a half-written one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            continue
    write_whole(path, "".join(kept).encode())


@contextlib.contextmanager
def _unfinished(accelerator: Accelerator, path: Path) -> Iterator[Path]:
    """An empty folder beside `path`. If any process fails while it writes there, the folder is removed, and all
    processes raise an error."""
    folder = path.with_name(f"{path.name}.unfinished")
    error: Exception | None = None
    try:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
    except OSError as caught:
        error = caught
    _raise_together(accelerator, folder, error)
    try:
        yield folder
    except Exception as caught:  # torch and safetensors each have their own for a full disk
        error = caught
    _raise_together(accelerator, folder, error)


def _raise_together(accelerator: Accelerator, folder: Path, error: Exception | None) -> None:
    failed = torch.tensor(float(error is not None), device=accelerator.device)
    if accelerator.reduce(failed, "sum") > 0:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        reason = " ".join(str(error or "another process failed").split())
        raise OSError(f"can't write {folder.with_suffix('')}: {reason[:300]}") from error


def _sync(folder: Path) -> None:
    """Write a folder's files through to the disk, before its name says that it is complete."""
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def _whole_states(output: Path) -> list[Path]:
    states = (output / "state").glob("step_*")
    return sorted((path for path in states if path.suffix != ".unfinished"), key=lambda path: int(path.name[5:]))
