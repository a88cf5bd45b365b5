"""Blocks of a stream with their surroundings, worked on in the background."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from unlossy.hub.streaming_unlossy import Overlapping, digital_silence

REACH, SIZE = 4, 16
SIGNAL = np.random.default_rng(0).standard_normal((2, 203))


def smooth(block: np.ndarray, position: int) -> np.ndarray:
    """Looks as far as it may, and depends on the place in the whole."""
    kernel = np.arange(1, 2 * REACH + 2)
    smoothed = np.stack([np.convolve(channel, kernel)[REACH:-REACH] for channel in block])
    return smoothed + (position + np.arange(block.shape[1])) % 7


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 15, 64, 203])
def test_blocks_give_what_the_whole_would(at_once: int, length: int) -> None:
    stage = Overlapping(smooth, REACH, SIZE, at_once=at_once)
    starts = range(0, SIGNAL.shape[1], length)
    parts = [stage.process(SIGNAL[:, at : at + length], last=at == starts[-1]) for at in starts]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), smooth(SIGNAL, 0))


def test_next_blocks_are_begun_before_results_are_asked_for() -> None:
    events = []

    def begin(  # as an executor's map: all are begun at once
        function: Callable[..., np.ndarray], blocks: list[np.ndarray], positions: list[int]
    ) -> Iterator[np.ndarray]:
        results = [function(block, position) for block, position in zip(blocks, positions, strict=True)]
        events.append(("begun", len(results)))

        def ask() -> Iterator[np.ndarray]:
            for result in results:
                events.append(("asked for", 1))
                yield result

        return ask()

    stage = Overlapping(smooth, REACH, SIZE, at_once=2, map=begin)
    first = stage.process(SIGNAL[:, :40])  # two blocks and their surroundings
    assert first.shape[1] == 0
    second = stage.process(SIGNAL[:, 40:80])
    assert events == [("begun", 2), ("begun", 2), ("asked for", 1), ("asked for", 1)]
    np.testing.assert_allclose(second, smooth(SIGNAL, 0)[:, : 2 * SIZE])


def test_digital_silence_is_found_in_each_channel() -> None:
    block = np.ones((2, 100), np.float32)
    block[0, 20:50] = block[1, :] = 0
    block[0, 60:69] = 1e-9
    silent = digital_silence(block, 10)
    assert np.flatnonzero(silent[0]).tolist() == list(range(20, 50))
    assert silent[1].all()
    assert not digital_silence(block, 101).any()
