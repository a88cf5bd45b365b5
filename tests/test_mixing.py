"""Levels and limiting of clips."""

import numpy as np

from unlossy_training.mixing import finish, limit, remix


def test_limiter_keeps_the_threshold() -> None:
    audio = np.random.default_rng(0).normal(0, 0.3, (2, 20_001)).astype(np.float32)
    limited = limit(audio, 0.5)
    assert limited.shape == audio.shape
    assert np.abs(limited).max() <= 0.52
    np.testing.assert_array_equal(limit(audio * 0.1, 1.0), audio * np.float32(0.1))


def test_finished_clips_are_finite_and_within_their_levels() -> None:
    audio = np.random.default_rng(0).normal(0, 0.3, (2, 20_000)).astype(np.float32)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        peak = np.abs(finish(remix(audio, audio[:, ::-1], rng), rng, limited=0.7)).max()
        assert 10 ** (-20.1 / 20) < peak < 10 ** (-0.29 / 20)
        opposite = finish(np.stack([audio[0], -audio[0]]), rng)
        assert np.isfinite(opposite).all()
