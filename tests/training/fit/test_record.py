"""The record of a checkpoint: runs add up, and nobody who must be named is lost."""

import json
from pathlib import Path

from unlossy_training.fit import record
from unlossy_training.fit.checkpointing import Progress
from unlossy_training.fit.config import FitConfig


def owner(license: str, attribution: str) -> dict[str, str]:
    return {"license": license, "attribution": attribution}


def test_each_owner_is_named_once() -> None:
    known = [owner("CC-BY-4.0", "A")]
    mixed = [
        owner("CC-BY-4.0 + CC0-1.0", "A + B"),
        owner("CC0-1.0", "B"),
        owner("MIT", ""),
        owner("CC0-1.0 + MIT", "A + C"),
    ]
    merged = record.merge(known, mixed)
    assert merged == [known[0], owner("CC0-1.0", "B"), owner("MIT", ""), owner("CC0-1.0 + MIT", "A + C")]


def test_run_is_added_to_the_record(tmp_path: Path) -> None:
    base, pairs = tmp_path / "base", tmp_path / "pairs"
    for folder in (base, pairs):
        folder.mkdir()
    first = {"runs": [{"stage": "B", "steps": 1, "minutes": 2.0, "audio_seconds": 3, "hardware": "x"}], "data": []}
    record.write(base, first)
    (pairs / "counts.json").write_text(json.dumps({"owners": [owner("CC-BY-4.0", "A")]}))
    config = FitConfig(pairs=str(pairs), from_checkpoint=str(base))
    begun = record.before(config)
    trained = record.after(begun, config, Progress(step=10, position=60, seconds=90))
    assert trained["data"] == [owner("CC-BY-4.0", "A")]
    assert trained["runs"][0] == first["runs"][0]
    assert {name: trained["runs"][1][name] for name in ("stage", "steps", "minutes", "audio_seconds")} == {
        "stage": "A", "steps": 10, "minutes": 1.5, "audio_seconds": 90,
    }  # fmt: skip
    assert trained["runs"][1]["hardware"]
    assert len(begun["runs"]) == 1
    assert record.read(str(pairs)) == {"runs": [], "data": []}
