"""The benchmark prints and writes every figure. How good they are is for a quiet machine to say, not for a test."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from unlossy_training.benchmarks import restore


@pytest.mark.slow
def test_figures_are_there(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    options = ["--runs", "1", "--minutes", "0.01", "0.02", "0.05", "--model", str(tiny_model), "--output", str(output)]
    restore.main(options)
    figures = json.loads(output.read_text())
    assert [file["minutes"] for file in figures["files"]] == [0.01, 0.02, 0.05]
    assert all(value > 0 for file in figures["files"] for value in file.values())
    assert all(figures[name] > 0 for name in ("cores", "memory_ratio"))
    table = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| 0")] == [
        "0.01",
        "0.02",
        "0.05",
    ]


def test_a_failed_restoration_gives_no_figures(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="code 2"):
        restore.run(tmp_path / "nowhere.mp3", None, "auto")


def test_mistakes_are_named(refusal: Callable[..., str]) -> None:
    assert "'0' is not a number above 0" in refusal("benchmark-restore", "--minutes", "0", "1", "1")
