"""From an empty folder to a measured checkpoint: the commands of docs/training.md, as small as they can be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unlossy import UnlossyModel
from unlossy_training.corpus.synthesis import find_soundfonts

CONFIG = Path(__file__).parents[2] / "training" / "recipes" / "tiny.yaml"


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "unlossy_training", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sequence(tmp_path: Path) -> None:
    """From an empty folder to a measured checkpoint."""
    try:
        find_soundfonts()
    except ValueError as error:
        pytest.skip(str(error))
    run(tmp_path, "corpus", "--output", "clips/", "--hours", "0.03")
    run(tmp_path, "dataset", "--clips", "clips/", "--output", "pairs/")
    budget = ["--max-steps", "12", "--validate-every", "10", "--batch-size", "2"]
    run(tmp_path, "fit", str(CONFIG), "--pairs", "pairs/", "--output", "checkpoint/", *budget)
    report = run(
        tmp_path, "evaluate", "pairs/", "--model", "checkpoint/", "--no-visqol", "--output", "results.json",
        "--cache", "cache/",
    )  # fmt: skip

    assert UnlossyModel.from_pretrained(tmp_path / "checkpoint").config.hidden_sizes == (8, 8)
    steps = [json.loads(line) for line in (tmp_path / "checkpoint" / "log.jsonl").read_text().splitlines()]
    assert steps[-1]["step"] == 12
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]
    assert summary
    assert all(set(row["means"]) == {"input", "detail 0", "detail 1"} for row in summary)
    assert "SI-SDR" in report
