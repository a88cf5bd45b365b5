"""The benchmark of training, with a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from signals import TINY

from unlossy_training.benchmarks import fit

SMALL = ["--model", json.dumps(TINY), "--batch-size", "1", "--segment-seconds", "0.2", "--windows", "2", "--steps", "1"]
SMALL += ["--workers", "0", "--matrix-size", "64", "--mixed-precision", "no"]


def test_every_stage_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "speed.json"
    fit.main([*SMALL, "--output", str(output)])
    rows = [row for row in json.loads(output.read_text())["rows"] if row["device"].startswith("CPU")]
    assert [row["stage"] for row in rows] == ["A", "detail"]
    for row in rows:
        assert row["slowest"] <= row["audio_s_per_s"] <= row["fastest"]
        assert 0 < row["waiting"] < 1
    whole, detail = (row["gflop_per_audio_s"] for row in rows)
    assert whole > detail > 0
    table = capsys.readouterr().out
    assert "| device | stage |" in table
    assert "synthesised pairs" in table


def test_mistakes_are_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    assert "'0' is not a whole number from 1 up" in refusal("benchmark-fit", *SMALL, "--steps", "0")
    assert "can't be loaded" in refusal("benchmark-fit", *SMALL, "--pairs", tmp_path)
