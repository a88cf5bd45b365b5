"""The record of a checkpoint's training, training.json beside its weights: its runs, and the owners of its data.

    {"runs": [{"stage": "A", "steps": 2366, "minutes": 42.0, "audio_seconds": 21294, "hardware": "…"}, …],
     "data": [{"license": "CC-BY-4.0", "attribution": "music by Tanner Helland"}, …]}

`fit` reads the record of the checkpoint that it starts from and adds its own run. So the card of a model can state the
cost of all that led to it, and name everybody whose recordings it learned from.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..files import write_whole
from ..hub_files import find_file
from .checkpointing import Progress
from .config import FitConfig

FILE = "training.json"

Record = dict[str, list[dict[str, Any]]]


def read(checkpoint: str) -> Record:
    """Read the record of a checkpoint, a folder or a Hub id. Without one, return an empty record."""
    path = find_file(checkpoint, FILE)
    record: Record = json.loads(path.read_text()) if path else {"runs": [], "data": []}
    return record


def write(checkpoint: Path, record: Record) -> None:
    """Write the record of a checkpoint's folder, complete or not at all."""
    write_whole(checkpoint / FILE, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def before(config: FitConfig) -> Record:
    """The record of the checkpoint that a run starts from, with the owners of the run's pairs added."""
    record = read(config.from_checkpoint) if config.from_checkpoint else {"runs": [], "data": []}
    rows = [row for name in (config.pairs, config.general_pairs, *config.cells) if name for row in _owners(name)]
    return record | {"data": merge(record["data"], rows)}


def after(record: Record, config: FitConfig, progress: Progress) -> Record:
    """The same record with a run added: its stage, steps, minutes, seconds of audio and hardware."""
    run = {
        "stage": "A" if config.part == "all" else config.part,
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 1),
        "audio_seconds": round(progress.position * config.segment_seconds),
        "hardware": hardware(),
    }
    return record | {"runs": [*record["runs"], run]}


def merge(known: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge two lists of `license` and `attribution`, so that each owner is in the result once.

    A clip that is mixed from two recordings has both owners in one row, joined by " + ". Such a row is left out where
    both have rows of their own.
    """
    merged = [{name: row[name] for name in ("license", "attribution")} for row in known]
    seen = {part for row in merged for part in _parts(row)}
    for row in sorted(rows, key=lambda row: row["attribution"].count(" + ") + row["license"].count(" + ")):
        if not _parts(row) <= seen:
            merged.append({name: row[name] for name in ("license", "attribution")})
            seen |= _parts(row)
    return merged


def _parts(row: dict[str, Any]) -> set[str]:
    return set((row["attribution"] or row["license"]).split(" + "))


def _owners(pairs: str) -> list[dict[str, Any]]:
    """The owners of the recordings in a dataset of pairs, from its counts.json; none if it has no such file."""
    path = find_file(pairs, "counts.json", repo_type="dataset")
    owners: list[dict[str, Any]] = json.loads(path.read_text()).get("owners", []) if path else []
    return owners


def hardware() -> str:
    """Name the GPU, or the processor and the number of threads, that PyTorch computes on."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    description = Path("/proc/cpuinfo")
    lines = description.read_text().splitlines() if description.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
