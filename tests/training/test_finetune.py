"""From a folder of recordings to a measured checkpoint: a tiny model, seconds of training."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import soundfile
import torch
from accelerate.state import AcceleratorState, GradientState
from signals import RATE, clip

from unlossy import UnlossyFeatureExtractor, UnlossyModel
from unlossy.embedding import fingerprint_of
from unlossy_training import finetune


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(finetune, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(finetune, "MEASURED", 3)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(4):
        soundfile.write(folder / f"take_{number}.flac", clip(5, seed=number).T, RATE, subtype="PCM_16")
    return folder


@pytest.fixture
def base(make_lively: Callable[..., UnlossyModel], tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    make_lively().save_pretrained(folder)
    UnlossyFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_folder_becomes_a_measured_checkpoint(
    recordings: Path, base: Path, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    words = [str(recordings), "--grid", "mp3:64", "--model", str(base), "--general", str(tiny_pairs)]
    words += ["--output", str(output), "--max-minutes", "0.3"]
    finetune.main(words)
    printed = capsys.readouterr().out
    assert "estimate: 0.3 min, in which" in printed
    assert "GB of memory" in printed
    assert "| own recordings | mp3 64 kbps | 1 |" in printed
    assert "| general set | all codecs |" in printed
    found = json.loads((output / "finetune.json").read_text())
    assert found["verdict"] in printed
    assert found["verdict"].startswith("On the held-out recordings the fine-tuned model is")
    assert found["base_model"] == str(base)
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    losses = [line["validation_loss"] for line in log if "validation_loss" in line]
    assert log[0]["step"] == 0
    assert len(losses) > 1
    assert found["fingerprint"] == fingerprint_of(UnlossyModel.from_pretrained(output))
    record = json.loads((output / "training.json").read_text())
    assert record["runs"][-1]["steps"] == log[-1]["step"]

    finetune.main(words)  # nothing left to do: the table again, from what is kept
    again = capsys.readouterr()
    assert "nothing left to do" in again.err
    assert found["verdict"] in again.out


@pytest.mark.slow
def test_existing_pairs(base: Path, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """These have no test split."""
    output = tmp_path / "mine"
    words = [str(tiny_pairs), "--model", str(base), "--general", str(tiny_pairs), "--output", str(output)]
    finetune.main([*words, "--max-minutes", "0.1"])
    assert "the validation split, which chooses the weights, also measures them" in capsys.readouterr().out
    assert json.loads((output / "fit.json").read_text())["pairs"] == str(tiny_pairs)
    found = json.loads((output / "finetune.json").read_text())
    assert found["fingerprint"] == fingerprint_of(UnlossyModel.from_pretrained(output))


def test_a_general_set_holds_out_whole_titles() -> None:
    rows: list[dict[str, Any]] = [
        {"title": title, "split": "train"} for title in ("a", "a", "b", "a + b", "c", "c", "c", "d + e")
    ]
    held = finetune.hold_out(rows, 2)
    validation = {row["title"] for row in held if row["split"] == "validation"}
    parts = {part for title in validation for part in title.split(" + ")}
    train = [row["title"] for row in held if row["split"] == "train"]
    assert sum(row["split"] == "validation" for row in held) >= 2
    assert train
    assert not any(parts & set(title.split(" + ")) for title in train)


def test_mistakes_are_named(
    recordings: Path, base: Path, tiny_pairs: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    def refused(*words: object, match: str) -> None:
        assert match in refusal("finetune", *words, "--output", tmp_path / "out", "--model", base)

    refused(str(recordings), "--max-minutes", "0", match="above 0")
    refused(str(recordings), "--like", str(tmp_path / "none"), match="there is no folder")
    refused(str(recordings), "--grid", "mp4:64", match="no part of a grid")
    refused(str(tiny_pairs), "--grid", "mp3:64", match="leave --like and --grid out")
    refused(str(tmp_path / "none"), match="can't be loaded")
    refused(str(recordings), "--general", str(tmp_path), match="can't be loaded")
    error = refusal("finetune", recordings, "--output", tmp_path / "out", "--model", tmp_path)
    assert "no Unlossy model found" in error
