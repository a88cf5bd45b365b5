"""What a tracker is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from unlossy_training.fit import tracking
from unlossy_training.fit.config import FitConfig
from unlossy_training.fit.validation import Example


@pytest.mark.parametrize("matplotlib", [True, False])
def test_tensorboard(matplotlib: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets curves, audio and spectrograms."""
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    if matplotlib:
        pytest.importorskip("matplotlib")
    else:
        found = tracking.importlib.util.find_spec
        monkeypatch.setattr(
            tracking.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
        )
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
    config = FitConfig(pairs="a", output=str(tmp_path), tracker="tensorboard", max_steps=1)
    tracking.start(accelerator, config, step=0)
    audio = np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32) / 10
    accelerator.log({"loss": 1.5}, step=3)
    tracking.show_examples(accelerator, [Example(audio, audio, audio)], step=3)
    accelerator.end_training()
    events: Any = event_accumulator.EventAccumulator(str(tmp_path / "unlossy"))
    events.Reload()
    assert events.Scalars("loss")[0].value == 1.5
    assert len(events.Tags()["audio"]) == 3
    assert len(events.Tags()["images"]) == int(matplotlib)


def test_a_missing_tracker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    tracking.check_tracker("none")
    with pytest.raises(ValueError, match="pip install trackio"):
        tracking.check_tracker("trackio")
