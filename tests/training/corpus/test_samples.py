"""Sequences of samples."""

from pathlib import Path

import numpy as np
import soundfile

from unlossy_training.corpus.recordings import SAMPLING_RATE, is_silent
from unlossy_training.corpus.samples import SECONDS, arrange_samples, find_samples, onsets


def test_sequences_repeat_for_a_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, seconds in enumerate((0.1, 0.3, 2.0, 5.0)):
        sound = rng.uniform(-0.5, 0.5, int(seconds * SAMPLING_RATE))
        soundfile.write(tmp_path / f"sound_{chr(97 + number)}z.flac", sound, SAMPLING_RATE)
    samples = find_samples(tmp_path)
    assert len(samples) == 4
    (first, used), (again, _), (other, _) = (arrange_samples(samples, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (2, SECONDS * SAMPLING_RATE)
    assert 1 <= len(used) <= 4
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert find_samples(tmp_path / "none") == []


def test_loops_repeat_at_their_own_tempo() -> None:
    assert onsets(2.5, 0.5, np.random.default_rng(0)) == [0.0, 2.5, 5.0, 7.5, 10.0]
    hits = onsets(0.1, 0.5, np.random.default_rng(0))
    assert hits
    assert not is_silent(np.ones((2, SAMPLING_RATE)))
    assert all(round(hit / 0.125, 6) == round(hit / 0.125) for hit in hits)
