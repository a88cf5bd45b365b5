"""The evaluation of a checkpoint, evaluation.json beside its weights, which its card is made from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unlossy.embedding import fingerprint_of

from ..hub_files import load_network

FILE = "evaluation.json"
FINETUNE = "finetune.json"  # written by `finetune` beside its checkpoint
DECIMALS = 4  # of a figure. A card shows fewer, and a second measurement would not repeat more
_LOCAL = ("model", "folders")  # left out: a path on the machine that measured, and means that can be computed again


def find(checkpoint: Path) -> list[Path]:
    """Find the evaluation beside a checkpoint's weights.

    Raises:
        ValueError: there is none.
    """
    found = [checkpoint / name for name in (FILE, FINETUNE) if (checkpoint / name).is_file()]
    if not found:
        raise ValueError(
            f"{checkpoint} has no {FILE}, which its card is made from: give --results, the JSON of `unlossy-train "
            "evaluate --output`"
        )
    return found[:1]


def read(files: Iterable[Path], checkpoint: Path) -> dict[str, Any]:
    """Read an evaluation from one or several files of `evaluate` or `finetune`. Rows of later files replace those of
    earlier ones.

    Raises:
        ValueError: a file is no evaluation, or one of other weights or settings than the checkpoint's.
    """
    wanted = fingerprint_of(load_network(checkpoint))
    merged: dict[str, Any] = {}
    for file in files:
        try:
            found = json.loads(file.read_text())
            measured, summary, clips = found["fingerprint"], found["summary"], found["clips"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is no result of `unlossy-train evaluate --output`: {error!r}") from error
        if measured != wanted:
            raise ValueError(
                f"{file} was measured with other weights or settings than those of {checkpoint}: evaluate these"
            )
        if merged:
            conditions = {(row["codec"], row["kbps"]) for row in summary}
            for name, rows in (("summary", summary), ("clips", clips)):
                kept = [row for row in merged[name] if (row["codec"], row["kbps"]) not in conditions]
                found[name] = kept + rows
        merged |= found
    return {name: _rounded(value) for name, value in merged.items() if name not in _LOCAL}


def write(path: Path, evaluation: dict[str, Any]) -> None:
    """Write an evaluation as JSON with one line for each row, so that a changed row is one changed line."""
    parts = []
    for name, value in evaluation.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n]"
        parts.append(f"{json.dumps(name)}: {text}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
