"""States and checkpoints: whole or not there."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from unlossy_training.fit.checkpointing import Progress, cut_log, newest_state, publish, save_state


@pytest.fixture
def training() -> Iterator[tuple[Accelerator, Any, Progress]]:
    accelerator, progress = Accelerator(cpu=True), Progress()
    model = torch.nn.Linear(200, 200)
    model, _ = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    accelerator.register_for_checkpointing(progress)
    yield accelerator, model, progress
    accelerator.free_memory()


Training = tuple[Accelerator, Any, Progress]


def test_states(training: Training, tmp_path: Path) -> None:
    """They are complete, and the last two are kept."""
    accelerator, model, progress = training
    for step in (1, 2, 10):
        model.weight.data.fill_(step)
        progress.step, progress.position, progress.failures = step, 7 * step, 1
        save_state(accelerator, tmp_path, step)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step_000002", "step_000010"]
    (tmp_path / "state" / "step_000011.unfinished").mkdir()  # what a killed run leaves
    state = newest_state(tmp_path)
    assert state
    assert state.name == "step_000010"
    model.weight.data.zero_()
    progress.step = 11
    accelerator.load_state(str(state))
    assert (model.weight == 10).all()
    assert progress == Progress(step=10, position=70, failures=1)


def test_a_full_disk_leaves_the_earlier_state(training: Training, tmp_path: Path) -> None:
    accelerator, model, _ = training
    save_state(accelerator, tmp_path, 1)
    publish(accelerator, tmp_path, lambda folder: torch.save(model.state_dict(), folder / "model.safetensors"))
    before = (tmp_path / "model.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=f"can't write {tmp_path}/state/step_000002: "):
            save_state(accelerator, tmp_path, 2)
        with pytest.raises(OSError, match=f"can't write {tmp_path}/checkpoint: "):
            publish(accelerator, tmp_path, lambda folder: torch.save(model.state_dict(), folder / "model.safetensors"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step_000001"]
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not (tmp_path / "checkpoint.unfinished").exists()
    save_state(accelerator, tmp_path, 2)
    state = newest_state(tmp_path)
    assert state
    assert state.name == "step_000002"


def test_file_in_place_of_a_folder(training: Training, tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "state").write_text("")
    with pytest.raises(OSError, match="step_000001"):
        save_state(training[0], tmp_path, 1)


def test_the_log_is_cut_to_one_curve(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    cut_log(log, 3)
    assert not log.exists()
    log.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 3, 3, 4)) + '{"step": 1, "lo')
    cut_log(log, 3)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 3]
