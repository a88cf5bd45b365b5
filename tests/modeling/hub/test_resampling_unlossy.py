"""Resampling neither depends on how its input is cut nor shifts it in time."""

import numpy as np
import pytest
from signals import RATE, notes

from unlossy.hub.resampling_unlossy import Resampler


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(44_100, 48_000), (96_000, 44_100), (8_000, 44_100), (44_100, 44_100)]
)
@pytest.mark.parametrize("frames", [1, 100, 12_345])
def test_resampling_in_blocks_equals_resampling_at_once(from_rate: int, to_rate: int, frames: int) -> None:
    audio = notes(frames)
    whole = Resampler(from_rate, to_rate, 2).process(audio, last=True)
    assert whole.shape == (2, -(-frames * to_rate // from_rate))
    resampler = Resampler(from_rate, to_rate, 2)
    blocks = [resampler.process(audio[:, start : start + 777]) for start in range(0, frames, 777)]
    blocks.append(resampler.process(audio[:, :0], last=True))
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


def test_resampling_keeps_time() -> None:
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 1_000 * time)[None].astype(np.float32)
    result = Resampler(RATE, 48_000, 1).process(tone, last=True)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(48_000) / 48_000)
    assert np.abs(result[0] - expected)[2_000:-2_000].max() < 1e-5
