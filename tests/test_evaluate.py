"""The evaluation: one synthesised clip through real encoders."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from unlossy import UnlossyModel
from unlossy_training import evaluate

RATE = 44_100


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    time = np.arange(2 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (220, 277, 330))
    noise = np.random.default_rng(0).normal(0, 0.02, (2, len(time))) * np.exp(-6 * (time % 0.25))
    path = tmp_path / "songs" / "chord.flac"
    path.parent.mkdir()
    soundfile.write(path, (chord + noise).T, RATE)
    return path


@pytest.fixture(autouse=True)
def model(lively_model: UnlossyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_model", lively_model)


def test_rows_compare_input_and_restored(clip: Path) -> None:
    row = evaluate.measure((clip, "mp3", 64), with_visqol=False)
    assert (row["clip"], row["codec"], row["kbps"]) == ("songs/chord", "mp3", 64)
    figures = {key: float(value) for key, value in row.items() if key.startswith(("si_sdr", "lsd"))}
    assert len(figures) == 6
    assert np.isfinite(list(figures.values())).all()
    # The model's heads are random: that it does harm must show.
    assert figures["si_sdr_restored"] < figures["si_sdr_faithful"] < figures["si_sdr_input"] < 60


def test_untouched_originals_are_perfect_input(clip: Path) -> None:
    row = evaluate.measure((clip, "lossless", 0), with_visqol=False)
    assert row["si_sdr_input"] == 100
    assert row["lsd_input"] == 0


def test_another_rate_is_refused(clip: Path) -> None:
    soundfile.write(clip, np.zeros((4800, 2)), 48_000)
    with pytest.raises(ValueError, match="has 48000 Hz"):
        evaluate.measure((clip, "mp3", 64), with_visqol=False)


def test_means_and_table() -> None:
    si_sdr = {"si_sdr_input": 10.0, "si_sdr_faithful": 11.0, "si_sdr_restored": 9.0}
    rows = [
        {"clip": "a", "codec": "mp3", "kbps": 64} | si_sdr,
        {"clip": "b", "codec": "mp3", "kbps": 64} | {name: 2 * value for name, value in si_sdr.items()},
        {"clip": "a", "codec": "lossless", "kbps": 0} | si_sdr,
    ]
    means = evaluate.mean_rows(rows)
    assert [(row["codec"], row["clips"]) for row in means] == [("mp3", 2), ("lossless", 1)]
    assert means[0]["si_sdr_faithful"] == 16.5
    lines = evaluate.markdown(means[:1]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| mp3 | 64 | 2 | – | 15.00 → 16.50 (+1.50) | 15.00 → 13.50 (-1.50) | – |"
