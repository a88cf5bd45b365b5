"""Training, run after run: killed, resumed, interrupted, in two processes, with bad data, until it gets no better."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from signals import TINY, TINY_AUTOENCODER

from unlossy import UnlossyAutoencoder, UnlossyConfig, UnlossyModel
from unlossy_training.fit import fit
from unlossy_training.pairs.segments import load_pairs

SMALL = {
    "model": json.dumps(TINY), "segment_seconds": "0.2", "batch_size": "2", "warmup": "0", "log_every": "1",
    "workers": "0", "validate_every": "1000", "save_every": "1000", "validation_clips": "0", "visqol": "false",
}  # fmt: skip
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


@pytest.fixture(autouse=True)
def one_thread_and_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s an epoch of a stream
    monkeypatch.setitem(ENVIRONMENT, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes started here, whose sums are compared with
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    torch.set_num_threads(threads)


def words(pairs: Path, output: Path, **fields: Any) -> list[str]:
    values = SMALL | {"pairs": str(pairs), "output": str(output)} | {name: str(value) for name, value in fields.items()}
    if "from_checkpoint" in fields:
        del values["model"]
    return [f"--{name}={value}" for name, value in values.items()]


def run(pairs: Path, output: Path, **fields: Any) -> list[dict[str, float]]:
    fit.main(words(pairs, output, **fields))
    return read_log(output)


def start(pairs: Path, output: Path, **fields: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "unlossy_training", "fit", *words(pairs, output, **fields)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_step(output: Path, step: int, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        log = output / "log.jsonl"
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1][-2000:])


def read_log(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def curve(log: list[dict[str, float]]) -> list[dict[str, float]]:
    """What doesn't depend on the clock."""
    clock = ("waiting", "minutes", "audio_s_per_s")
    return [{name: value for name, value in line.items() if name not in clock} for line in log]


def same(first: list[dict[str, float]], second: list[dict[str, float]], tolerance: float = 1e-6) -> None:
    assert [line.keys() for line in first] == [line.keys() for line in second]
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)


@pytest.mark.slow
def test_killed_and_resumed(tiny_pairs: Path, tmp_path: Path) -> None:
    """By kill -9."""
    fields = {"max_steps": 24, "validation_clips": 2, "validate_every": 4, "save_every": 3}
    whole = run(tiny_pairs, tmp_path / "whole", **fields)
    broken = tmp_path / "broken"
    process = start(tiny_pairs, broken, **fields)
    wait_for_step(broken, random.randrange(1, 9), process)
    process.kill()
    process.communicate()
    assert not (broken / "state" / "step_000024").exists()
    resumed = run(tiny_pairs, broken, **fields)
    same(curve(resumed), curve(whole))
    assert resumed[-1]["step"] == 24
    assert (broken / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("fields", [{"accumulation": 2}, {"streaming": "true"}], ids=["map-style", "streaming"])
def test_a_lost_state_is_made_up_for(fields: dict[str, Any], tiny_pairs: Path, tmp_path: Path) -> None:
    """As after a kill between two states: what came after the first is done again, alike."""
    fields |= {"max_steps": 6, "log_every": 3, "save_every": 2, "validation_clips": 1, "validate_every": 4}
    whole = curve(run(tiny_pairs, tmp_path, **fields))
    assert [line["step"] for line in whole] == [3, 4, 6, 6]
    weights = (tmp_path / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "state" / "step_000006")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')
    same(curve(run(tiny_pairs, tmp_path, **fields)), whole)
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    same(curve(run(tiny_pairs, tmp_path, **fields)), whole)  # nothing left to do


@pytest.mark.slow
def test_two_processes(tiny_pairs: Path, tmp_path: Path, lively_model: UnlossyModel) -> None:
    """They learn what one process with twice the accumulation learns."""
    lively_model.save_pretrained(tmp_path / "lively")  # whose detail can be heard
    fields: dict[str, Any] = {"from_checkpoint": tmp_path / "lively", "validation_clips": 2}
    fields |= {"max_steps": 4, "validate_every": 2}
    one = run(tiny_pairs, tmp_path / "one", accumulation=2, **fields)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "unlossy_training", "fit"]
    command += words(tiny_pairs, tmp_path / "two", **fields)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    same(curve(read_log(tmp_path / "two")), curve(one), tolerance=1e-4)
    assert {path.name for path in (tmp_path / "two" / "state" / "step_000004").iterdir()} >= {"random_states_1.pkl"}


@pytest.mark.slow
def test_sigterm_ends_a_run_cleanly(tiny_pairs: Path, tmp_path: Path) -> None:
    process = start(tiny_pairs, tmp_path / "out", max_minutes=60, workers=1)
    wait_for_step(tmp_path / "out", 2, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "interrupted, its state is saved" in errors
    steps = read_log(tmp_path / "out")[-1]["step"]
    assert (tmp_path / "out" / "state" / f"step_{steps:06d}" / "custom_checkpoint_1.pkl").is_file()
    UnlossyModel.from_pretrained(tmp_path / "out")


def test_checkpoint(tiny_pairs: Path, tmp_path: Path) -> None:
    """It loads with `from_pretrained`, and further runs start from it."""
    log = run(tiny_pairs, tmp_path / "a", max_steps=3, validation_clips=3, tracker="tensorboard")
    assert {"step", "loss", "waveform", "zones", "envelope", "grad_norm", "waiting"} <= log[0].keys()
    assert {"validation_loss", "validation_si_sdr_delta_0", "validation_si_sdr_delta_1"} <= log[-1].keys()
    model = UnlossyModel.from_pretrained(tmp_path / "a")
    assert model.config.hidden_sizes == (8, 8)
    assert any(tmp_path.glob("a/tracking/unlossy/events*"))
    run(tiny_pairs, tmp_path / "b", from_checkpoint=tmp_path / "a", max_steps=1, learning_rate=1e-9, ema=0)
    further = UnlossyModel.from_pretrained(tmp_path / "b").state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(further[name], weight, atol=1e-7, rtol=1e-6)


def test_minutes_end_a_run(tiny_pairs: Path, tmp_path: Path) -> None:
    log = run(tiny_pairs, tmp_path, max_minutes=0.04, max_steps=10**6)
    assert log[-1]["step"] < 10**5
    assert (tmp_path / "model.safetensors").is_file()


def test_a_compressor_trains_on_clean_audio(tiny_pairs: Path, tmp_path: Path) -> None:
    log = run(
        tiny_pairs,
        tmp_path,
        max_steps=2,
        validation_clips=1,
        model=json.dumps({"model_type": "unlossy_autoencoder"} | TINY_AUTOENCODER),
    )
    assert UnlossyAutoencoder.from_pretrained(tmp_path).config.hidden_sizes == (24, 16)
    assert "validation_si_sdr_0" in log[-1]


def test_the_detail_learns_alone_and_resumes(tiny_pairs: Path, tmp_path: Path) -> None:
    run(tiny_pairs, tmp_path / "a", max_steps=1)
    before = UnlossyModel.from_pretrained(tmp_path / "a").state_dict()
    for steps in (2, 4):
        log = run(tiny_pairs, tmp_path / "b", from_checkpoint=tmp_path / "a", part="detail", max_steps=steps, ema=0)
    assert {"envelope", "dissimilarity"} <= log[-1].keys()
    assert "waveform" not in log[-1]
    after = UnlossyModel.from_pretrained(tmp_path / "b").state_dict()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("detail_head.") for name in changed)


def test_learned_share(tiny_pairs: Path, tmp_path: Path) -> None:
    """With `learned` below 1 the weights lie between those before and the learned ones."""
    run(tiny_pairs, tmp_path / "a", max_steps=1)
    start = UnlossyModel.from_pretrained(tmp_path / "a").state_dict()
    written = []
    for learned in (1.0, 0.25):
        output = tmp_path / f"b{learned}"
        run(tiny_pairs, output, from_checkpoint=tmp_path / "a", part="detail", max_steps=2, ema=0, learned=learned)
        written.append(UnlossyModel.from_pretrained(output).state_dict())
    for name, weight in start.items():
        torch.testing.assert_close(written[1][name] - weight, (written[0][name] - weight) / 4, atol=1e-6, rtol=1e-4)
    assert any(not torch.equal(written[1][name], weight) for name, weight in start.items())


def test_the_faithful_heads_learn_alone(tiny_pairs: Path, tmp_path: Path) -> None:
    run(tiny_pairs, tmp_path / "a", max_steps=1)
    before = UnlossyModel.from_pretrained(tmp_path / "a").state_dict()
    run(tiny_pairs, tmp_path / "b", from_checkpoint=tmp_path / "a", part="faithful", max_steps=2, ema=0)
    after = UnlossyModel.from_pretrained(tmp_path / "b").state_dict()
    changed = {name.split(".")[0] for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed == {"mask_head", "tone_head"}


def test_patience_ends_a_run_and_keeps_the_best(
    tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lively_model: UnlossyModel
) -> None:
    """A learning rate that ruins any model: the best is what the run began with."""
    lively_model.save_pretrained(tmp_path / "lively")
    fields: dict[str, Any] = {"from_checkpoint": tmp_path / "lively", "learning_rate": 0.5, "ema": 0, "max_steps": 40}
    fields |= {"patience": 2, "validation_clips": 2, "validate_every": 2, "general_pairs": tiny_pairs}
    log = run(tiny_pairs, tmp_path / "out", **fields)
    assert log[-1]["step"] == 4
    assert log[0]["validation_loss"] < min(line.get("validation_loss", 1e9) for line in log[1:])
    assert "has not fallen for 2 validations" in capsys.readouterr().err
    kept, begun = (UnlossyModel.from_pretrained(tmp_path / name).state_dict() for name in ("out", "lively"))
    assert all(torch.equal(kept[name], begun[name]) for name in begun)
    (recorded,) = json.loads((tmp_path / "out" / "training.json").read_text())["runs"]
    assert (recorded["stage"], recorded["steps"]) == ("A", 4)
    assert len(run(tiny_pairs, tmp_path / "out", **fields)) == len(log)
    assert "nothing left to do" in capsys.readouterr().err


def test_bad_pairs(tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are counted, and too many of them are an error."""
    rows: list[dict[str, Any]] = list(load_pairs(str(tiny_pairs), "train"))
    broken = {"bytes": b"junk", "path": "broken.mp3"}
    for count in (1, 4):
        damaged = [row | ({"degraded": broken} if number < count else {}) for number, row in enumerate(rows)]
        (tmp_path / str(count)).mkdir()
        datasets.Dataset.from_list(damaged).to_parquet(tmp_path / str(count) / "train-00000.parquet")
    log = run(tmp_path / "1", tmp_path / "few", max_steps=11)
    assert 1 <= log[-1]["failures"] < 10
    assert "skipped: the pair broken.mp3 is damaged" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"pairs drawn can't be used, one of them: the pair broken\.mp3"):
        run(tmp_path / "4", tmp_path / "many", max_steps=60)


def test_nan_stops_the_run_and_keeps_the_batch(tiny_pairs: Path, tmp_path: Path) -> None:
    model = UnlossyModel(UnlossyConfig(**TINY))
    torch.nn.init.constant_(next(model.mask_head.spectrum.parameters()), float("nan"))
    model.save_pretrained(tmp_path / "nan")
    with pytest.raises(FloatingPointError, match="grad_norm is nan at step 0"):
        run(tiny_pairs, tmp_path / "out", max_steps=3, from_checkpoint=tmp_path / "nan")
    (batch,) = torch.load(tmp_path / "out" / "nan_batch_0.pt", weights_only=True)
    assert batch["labels"].shape == (2, 2, 8820)


def test_full_disk(tiny_pairs: Path, tmp_path: Path) -> None:
    """It is named, and the earlier state stays."""
    run(tiny_pairs, tmp_path, max_steps=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match=f"can't write {tmp_path}/.*File too large"):
            run(tiny_pairs, tmp_path, max_steps=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "step_000001" in {path.name for path in (tmp_path / "state").iterdir()}
    UnlossyModel.from_pretrained(tmp_path)
    assert run(tiny_pairs, tmp_path, max_steps=2)[-1]["step"] == 2


def test_what_would_make_no_sense_is_refused(
    tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny_pairs, tmp_path / "out", max_steps=1)
    with pytest.raises(ValueError, match="begun with seed=0"):
        run(tiny_pairs, tmp_path / "out", max_steps=2, seed=1)
    shutil.rmtree(tmp_path / "out" / "state")
    with pytest.raises(ValueError, match="holds a checkpoint, but no state"):
        run(tiny_pairs, tmp_path / "out", max_steps=2)
    with pytest.raises(ValueError, match="can't be loaded"):
        run(tmp_path / "none", tmp_path / "c", max_steps=1)
    assert not (tmp_path / "c").exists()
    with pytest.raises(ValueError, match="no field 'hidden'"):
        run(tiny_pairs, tmp_path / "d", max_steps=1, model='{"hidden": 3}')
