"""Validation on whole clips."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from accelerate import Accelerator

from unlossy import UnlossyModel
from unlossy_training.fit.validation import Validation
from unlossy_training.pairs.segments import load_pairs


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s an epoch of a stream


def test_model_that_changes_nothing(tiny_pairs: Path, tiny_model: Path) -> None:
    """All its differences from the input are 0."""
    model = UnlossyModel.from_pretrained(tiny_model)
    for streaming in (False, True):
        pairs = load_pairs(str(tiny_pairs), "validation", streaming=streaming)
        figures, examples = Validation(Accelerator(cpu=True), pairs, 2, examples=1).measure(model)
        assert figures["si_sdr_delta_0"] == pytest.approx(0, abs=1e-4)
        assert figures["si_sdr_delta_1"] == pytest.approx(0, abs=1e-4)
        assert figures["waveform"] == pytest.approx(0, abs=1e-4)
        assert examples[0].input.shape == examples[0].restored.shape == examples[0].original.shape


def test_untouched_and_bad_clips(tiny_pairs: Path, lively_model: UnlossyModel) -> None:
    """Untouched clips have no difference in SI-SDR, and bad ones are named."""
    rows: list[dict[str, Any]] = list(load_pairs(str(tiny_pairs), "validation"))
    rows[0] = rows[0] | {"degraded": rows[0]["clean"], "level": 1.0}
    validation = Validation(Accelerator(cpu=True), datasets.Dataset.from_list(rows[:1]), 1)
    figures, _ = validation.measure(lively_model)
    assert "loss" in figures
    assert "si_sdr_delta_0" not in figures
    broken = rows[1] | {"degraded": {"bytes": b"junk", "path": "broken.mp3"}}
    validation = Validation(Accelerator(cpu=True), datasets.Dataset.from_list([rows[2], broken]), 2)
    figures, _ = validation.measure(lively_model)
    assert figures["si_sdr_delta_0"] != 0
    assert "broken.mp3" in validation.failures[0]
    with pytest.raises(ValueError, match=r"no clip for validation can be used; the first: the pair broken\.mp3"):
        Validation(Accelerator(cpu=True), datasets.Dataset.from_list([broken]), 1).measure(lively_model)


@pytest.mark.slow
def test_visqol_is_measured_too(tiny_pairs: Path, lively_model: UnlossyModel) -> None:
    pytest.importorskip("visqol")
    pairs = load_pairs(str(tiny_pairs), "validation")
    figures, _ = Validation(Accelerator(cpu=True), pairs, 1, with_visqol=True).measure(lively_model)
    assert -4 < figures["visqol_delta_1"] < 4
