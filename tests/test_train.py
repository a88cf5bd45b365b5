"""Training: a few steps on a handful of pairs from real encoders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch

from unlossy import UnlossyConfig, UnlossyModel
from unlossy_training import dataset, train

RATE = 44_100
TINY: dict[str, Any] = {"hidden_sizes": [8, 8], "depths": [1, 1], "embedding_size": 32}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    clips = folder / "clips"
    clips.mkdir()
    random = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    table = ["file,source,title,license,split"]
    for number in range(8):
        chord = np.sin(2 * np.pi * random.uniform(200, 2000, (3, 1)) * time).sum(axis=0)
        audio = 0.1 * chord + random.normal(0, 0.05, (2, RATE)) * np.exp(-6 * (time % 0.25))
        soundfile.write(clips / f"{number}.flac", np.clip(audio, -1, 1).T, RATE, subtype="PCM_16")
        table.append(f"{number}.flac,rendered,piece,CC0-1.0,{'train' if number else 'validation'}")
    (clips / "clips.csv").write_text("\n".join(table))
    dataset.build(clips, folder / "pairs", workers=1)
    return folder / "pairs"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    options = {"--max-minutes": "0.02", "--segment-seconds": "0.3", "--batch-size": "4", "--log-every": "1"}
    monkeypatch.setattr("sys.argv", ["train", *arguments, *(word for option in options.items() for word in option)])
    train.main()


def test_training_writes_a_checkpoint_that_loads(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "checkpoint"
    run(monkeypatch, str(pairs), "-o", str(output), "--config", json.dumps(TINY))
    model = UnlossyModel.from_pretrained(output)
    assert model.config.hidden_sizes == (8, 8)
    assert torch.isfinite(model(torch.randn(1, 2, 5000) / 10).audio_values).all()
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert {"step", "loss", "waveform", "zones", "envelope", "grad_norm"} <= lines[0].keys()
    assert np.isfinite(lines[-1]["validation_loss"])

    further = tmp_path / "further"
    run(monkeypatch, str(pairs), "-o", str(further), "--from-checkpoint", str(output))
    assert (further / "model.safetensors").is_file()
    assert UnlossyModel.from_pretrained(further).config.hidden_sizes == (8, 8)


def test_a_compressor_trains_on_clean_audio(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, str(pairs), "-o", str(tmp_path), "--config", json.dumps(TINY | {"residual": False}))
    assert not UnlossyModel.from_pretrained(tmp_path).config.residual
    segment = train.Segments(train.load_pairs(str(pairs), "train"), 10_000, 100, seed=0, restore=False)[0]
    assert torch.equal(segment["input_values"], segment["labels"])


@pytest.mark.slow
def test_two_processes_stop_together(pairs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "unlossy_training.train"]
    command += [str(pairs), "-o", str(tmp_path), "--max-minutes", "0.05", "--segment-seconds", "0.3"]
    command += ["--batch-size", "2", "--log-every", "1", "--workers", "0", "--config", json.dumps(TINY)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.isfinite(lines[-1]["validation_loss"])
    assert (tmp_path / "model.safetensors").is_file()


def test_segments_depend_on_seed_and_index_alone(pairs: Path) -> None:
    rows = train.load_pairs(str(pairs), "train")
    first, second = (train.Segments(rows, 10_000, 100, seed=3) for _ in range(2))
    other = train.Segments(rows, 10_000, 100, seed=4)
    for name in ("input_values", "labels"):
        assert first[7][name].shape == (2, 10_000)
        assert torch.equal(first[7][name], second[7][name])
        assert not torch.equal(first[7][name], other[7][name])


def test_segments_longer_than_a_clip_are_padded(pairs: Path) -> None:
    segment = train.Segments(train.load_pairs(str(pairs), "validation"), 2 * RATE, 1, seed=0, augment=False)[0]
    assert segment["labels"].shape == (2, 2 * RATE)
    assert not segment["labels"][:, RATE:].any()


def test_missing_pairs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, str(tmp_path), "-o", str(tmp_path / "checkpoint"))
    assert f"{tmp_path} has no train-" in capsys.readouterr().err
    assert not (tmp_path / "checkpoint").exists()
    datasets.Dataset.from_dict({"clean": ["a"]}).to_parquet(tmp_path / "train-00000.parquet")
    with pytest.raises(ValueError, match="has no column degraded"):
        train.load_pairs(str(tmp_path), "train")


def test_learning_rate_rises_then_falls() -> None:
    rates = [train.learning_rate(1.0, step, warmup=50, elapsed=step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.02)
    assert 45 < int(np.argmax(rates)) < 55
    assert rates[-1] == pytest.approx(0.01)


def test_bands_start_normalised(pairs: Path) -> None:
    model = UnlossyModel(UnlossyConfig(**TINY))
    rows = train.load_pairs(str(pairs), "train")
    batch = torch.stack([train.Segments(rows, 20_000, 100, seed=0)[index]["input_values"] for index in range(8)])
    train.normalise_bands(model, batch)
    with torch.no_grad():
        bands = model._bands(model._spectrum(batch)).flatten(0, 1)
    assert bands.mean(dim=0).abs().max() < 1e-3
    assert bands.std(dim=0).max() < 1.01
    assert bands.std(dim=0).median() > 0.9
