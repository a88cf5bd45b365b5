"""The Space's example: the score, and what was made of it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from unlossy.codecs import decode
from unlossy_training.publish import example

FOLDER = Path(__file__).parents[3] / "space" / "examples"


def test_score_fills_ten_seconds() -> None:
    assert example.score().length == pytest.approx(example.SECONDS, abs=0.2)


def test_shipped_example_lacks_treble_that_the_original_has() -> None:
    clean, rate = soundfile.read(FOLDER / f"{example.NAME}.flac", dtype="float32")
    lossy = decode((FOLDER / f"{example.NAME}_{example.BITRATE_KBPS}kbps.mp3").read_bytes(), len(clean))
    assert clean.shape == (int(example.SECONDS * rate), 2)
    treble = np.fft.rfftfreq(len(clean), 1 / rate) > 13_000
    spectra = [np.abs(np.fft.rfft(channel))[treble] for channel in (clean[:, 0], lossy[0])]
    assert np.linalg.norm(spectra[0]) > 100 * np.linalg.norm(spectra[1])
