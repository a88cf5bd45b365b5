"""Blocks of a stream with their surroundings, worked on in the background."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from unlossy.streaming_unlossy import Overlapping

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
