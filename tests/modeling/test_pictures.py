"""The pictures show what is there: levels, frequencies, and the difference with its sign."""

from pathlib import Path

import numpy as np
import pytest
from signals import RATE

pytest.importorskip("matplotlib")
from unlossy import pictures


def tone(frequency: float, level_db: float, seconds: float = 2) -> np.ndarray:
    return np.tile(10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * np.arange(seconds * RATE) / RATE), (2, 1))


def test_a_sine_has_its_level_at_its_frequency() -> None:
    power = pictures.measure_power(tone(5_000, -20).astype(np.float32))
    assert power.shape[0] == pictures.N_FFT // 2 + 1
    levels = 10 * np.log10(power.mean(axis=1) + 1e-20)
    assert levels.argmax() * RATE / pictures.N_FFT == pytest.approx(5_000, abs=RATE / pictures.N_FFT)
    assert levels.max() == pytest.approx(-20, abs=1.5)  # between two bins it is lower


def test_long_clips() -> None:
    """Their pictures have as many columns as fit, and all of their power."""
    audio = np.random.default_rng(0).normal(size=(1, 30 * RATE)).astype(np.float32)
    power = pictures.measure_power(audio)
    assert pictures.COLUMNS <= power.shape[1] <= 2 * pictures.COLUMNS
    shorter = pictures.measure_power(audio[:, : 3 * RATE])
    assert power.mean() == pytest.approx(shorter.mean(), rel=0.05)


def test_how_a_clip_is_cut_into_blocks_makes_no_difference() -> None:
    audio = np.random.default_rng(0).normal(size=(2, 20 * RATE)).astype(np.float32)
    meter = pictures.PowerMeter(2)
    for start in range(0, audio.shape[1], 10_007):
        meter.add(audio[:, start : start + 10_007])
    np.testing.assert_allclose(meter.finish(), pictures.measure_power(audio), rtol=1e-5)


def test_panels() -> None:
    """They have axes, and the difference has its sign."""
    power = {"Before": pictures.measure_power(tone(1_000, -20)), "After": pictures.measure_power(tone(1_000, -14))}
    figure = pictures.draw_spectrograms(power, 2, RATE)
    panels, bars = figure.axes[:3], figure.axes[3:]
    assert [panel.get_title() for panel in panels] == ["Before", "After", "After − Before"]
    assert all(panel.get_ylabel() == "kHz" for panel in panels)
    assert panels[2].get_xlabel() == "s"
    assert all(bar.get_ylabel() == "dB" for bar in bars)
    difference = np.asarray(panels[2].images[0].get_array())
    row = round(1_000 * pictures.N_FFT / RATE)
    assert difference[row].mean() == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("seconds", [0.001, 1])
def test_both_pictures_are_written_for_any_clip(tmp_path: Path, seconds: float) -> None:
    silence = pictures.measure_power(np.zeros((2, round(seconds * RATE)), np.float32))
    for path in pictures.draw_restoration(silence, silence, seconds, RATE, tmp_path):
        assert Path(path).read_bytes().startswith(b"\x89PNG")
