"""What streams of audio are made of: sources, stages and sinks of blocks, so that memory stays bounded.

A stage gives for the whole what it would give for the whole at once, however the stream is cut into blocks.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from .audio_unlossy import AudioReader
from .layout_unlossy import DEFAULT_SPEAKERS
from .source_unlossy import AudioFile

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs

# Two blocks side by side, each with half of the threads, take 15 % less time than one after the other with all of them.
AT_ONCE = 2
GUARD_SECONDS = 0.003  # how far around a peak the guard turns the level down
_INAUDIBLE = 2.0**-25  # what rounds to 0 in 24 bits


class Stage(Protocol):
    """A step of the stream: takes blocks of shape `(channels, samples)` and gives blocks back, sooner or later; all
    that is left with the `last` one."""

    def process(self, block: np.ndarray, last: bool = False) -> np.ndarray: ...


class Overlapping:
    """A stage that runs a function of finite reach over blocks with their surroundings, as if over the whole at once.

    What goes in and what comes out may count in different units, such as samples and frames: `ratio` of what comes out
    to what goes in. A function may add a few at the end of the whole.

    Args:
        function: `(block, position of its first item)` to `ratio` times as many items along axis 1.
        reach (`int`): how far a result looks to either side [items].
        size (`int`): how much is worked on at a time, at least `reach` [items].
        ratio (`Fraction`, defaults to 1): `reach` and `size` times it are whole numbers.
        at_once (`int`, defaults to 1): how many blocks are handed to `map` together. The last ones are equally long,
            and a multiple of it.
        map (defaults to Python's own): calls the function with each block and its position, in whatever order, and
            gives the results in that of the blocks. Where it works in the background, as that of an executor, it has
            the next blocks by the time that its results are asked for.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray, int], np.ndarray],
        reach: int,
        size: int,
        ratio: Fraction = Fraction(1),
        at_once: int = 1,
        map: Callable[..., Iterable[np.ndarray]] = map,
    ):
        self.function, self.reach, self.size, self.ratio = function, reach, size, ratio
        self.at_once, self.map = at_once, map
        self.grid = math.gcd(reach, size)  # what a block's place is a multiple of
        self.pending: np.ndarray | None = None
        self.position = 0  # of pending's first item
        self.done = 0  # items of pending that are only there as surroundings
        self.begun: list[Iterator[tuple[np.ndarray, slice]]] = []  # results that are not asked for yet

    def process(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        self.pending = block if self.pending is None else np.concatenate([self.pending, block], axis=1)
        left, size = self.pending.shape[1] - self.done, self.size
        if last:
            rounds = -(-left // (size * self.at_once))
            size = -(-left // (rounds * self.at_once * self.grid)) * self.grid if left else size
        elif left < size * self.at_once + self.reach:
            return block[:, :0]
        blocks, positions, kept = [], [], []
        while (left := self.pending.shape[1] - self.done) >= size + self.reach or (last and left > 0):
            stop = self.done + min(size, left)
            blocks.append(self.pending[:, : stop + self.reach])
            positions.append(self.position)
            ends = last and stop == self.pending.shape[1]
            kept.append(slice(int(self.done * self.ratio), None if ends else int(stop * self.ratio)))
            start = max(stop - self.reach, 0)
            self.pending, self.position, self.done = self.pending[:, start:], self.position + start, stop - start
        self.begun.append(zip(self.map(self.function, blocks, positions), kept, strict=True))
        ready = self.begun if last else self.begun[:-1]
        self.begun = self.begun[len(ready) :]
        parts = [result[:, part] for results in ready for result, part in results]
        return np.concatenate(parts, axis=1) if parts else block[:, :0]


class BlockConfig(Protocol):
    """What a model's configuration says of blocks, see [`UnlossySpectrumConfig`]."""

    @property
    def sampling_rate(self) -> int: ...
    @property
    def block_alignment(self) -> int: ...
    @property
    def receptive_field(self) -> int: ...


def model_blocks(config: BlockConfig, block_seconds: float) -> tuple[int, int]:
    """How far a model looks to either side, and how much to hand it at a time, both multiples of what its blocks must
    start at [samples]."""
    alignment = config.block_alignment
    reach = math.ceil(config.receptive_field / alignment) * alignment
    return reach, max(math.ceil(block_seconds * config.sampling_rate / alignment) * alignment, reach)


class PeakGuard:
    """A stage that turns the level down around peaks.

    Args:
        rate (`int`): of the audio [Hz].
    """

    def __init__(self, rate: int):
        reach = round(GUARD_SECONDS * rate)
        self.overlapping = Overlapping(lambda block, _: _guard_peaks(block, reach), 2 * reach, rate)

    def process(self, block: np.ndarray, last: bool = False, limit: np.ndarray | None = None) -> np.ndarray:
        """
        Args:
            limit (`np.ndarray` of shape `(1, samples)`, *optional*): the highest level of each sample; full scale by
                default.
        """
        if limit is None:
            limit = np.ones((1, block.shape[1]), np.float32)
        return self.overlapping.process(np.concatenate([block, limit]), last)[:-1]


def _guard_peaks(block: np.ndarray, reach: int) -> np.ndarray:
    """Turn the level down around samples above a limit, smoothly over `reach` samples to either side, and nowhere else.

    Args:
        block (`np.ndarray` of shape `(channels + 1, samples)`): audio, and in the last row the limit of each sample.
    """
    peaks, limit = np.abs(block[:-1]).max(axis=0), block[-1]
    if not (peaks > limit).any():
        return block
    gain = np.minimum(1.0, limit / np.maximum(peaks, 1e-9))
    # The lowest gain within reach, then a mean over as much: at the peak itself it is the lowest gain throughout.
    width = 2 * reach + 1
    lowest, size = np.pad(gain, reach, constant_values=1.0), 1
    while size < width:  # the lowest of up to twice as many at each step
        step = min(size, width - size)
        lowest, size = np.minimum(lowest[:-step], lowest[step:]), size + step
    sums = np.cumsum(np.pad(lowest, (reach + 1, reach), mode="edge"), dtype=np.float64)
    smooth = ((sums[width:] - sums[:-width]) / width).astype(np.float32)
    # Rounding may leave a peak a millionth above its limit.
    return np.concatenate([np.clip(block[:-1] * smooth, -limit, limit), block[-1:]])


def digital_silence(block: np.ndarray, shortest: int) -> np.ndarray:
    """Where channels are silent for `shortest` samples or more, to the last bit.

    Args:
        block (`np.ndarray` of shape `(channels, samples)`): audio.

    Returns:
        `np.ndarray` of the same shape: `bool`.
    """
    silent = np.abs(block) < _INAUDIBLE
    for channel in silent:
        # Where it becomes silent, and where it no longer is, in turn.
        edges = np.flatnonzero(np.diff(channel, prepend=False, append=False)).reshape(-1, 2)
        for start, stop in edges[edges[:, 1] - edges[:, 0] < shortest]:
            channel[start:stop] = False
    return silent


def check_rate(name: str, rate: Any) -> int:
    """A sampling rate [Hz] as whole number, whatever type it has.

    Raises:
        ValueError: it is none from 8 to 192 kHz.
    """
    try:
        is_possible = 8000 <= rate <= 192000 and int(rate) == rate
    except (TypeError, ValueError):
        is_possible = False
    if not is_possible:
        raise ValueError(f"{name} must be a whole number from 8000 to 192000 [Hz], got {rate!r}")
    return int(rate)


class ArraySource:
    """An array as a source of blocks, with the attributes of [`AudioReader`]."""

    tags = None
    warnings: tuple[str, ...] = ()

    def __init__(self, audio: np.ndarray | Tensor, sampling_rate: float | None):
        if sampling_rate is None:
            raise ValueError("an array needs its sampling_rate [Hz]")
        rate = check_rate("sampling_rate", sampling_rate)
        if not isinstance(audio, np.ndarray):
            # NumPy has no bfloat16.
            audio = (audio.float() if audio.is_floating_point() else audio).numpy(force=True)
        if audio.dtype.kind != "f":
            raise ValueError(f"expected float samples within ±1, got {audio.dtype}; divide integers by full scale")
        if audio.ndim not in (1, 2) or not 1 <= np.atleast_2d(audio).shape[0] <= 8:
            raise ValueError(f"expected shape (samples,) or (1 to 8 channels, samples), got {audio.shape}")
        if audio.shape[-1] == 0:
            raise ValueError("the audio has no samples")
        if not np.isfinite(audio).all():
            raise ValueError("the audio has samples that are NaN or infinite")
        self.samples = np.atleast_2d(audio).astype(np.float32)
        self.sampling_rate = rate
        self.channels, self.num_frames = self.samples.shape
        self.speakers = DEFAULT_SPEAKERS[self.channels]

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        for start in range(0, self.num_frames, frames):
            yield self.samples[:, start : start + frames]


Audio: TypeAlias = "AudioFile | AudioReader | np.ndarray | Tensor | list[float] | list[list[float]]"


def _is_tensor(audio: object) -> TypeIs[Tensor]:
    """Whether it is a tensor of PyTorch, which is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(audio, torch.Tensor)


@contextmanager
def open_source(
    audio: Audio,
    sampling_rate: float | None,
    *,
    track: int | None = None,
    strict: bool = False,
    partial: bool = False,
) -> Iterator[ArraySource | AudioReader]:
    """A file or an array, to be read in blocks; see [`restore`] for the arguments and errors."""
    if isinstance(audio, np.ndarray | list) or _is_tensor(audio):
        yield ArraySource(_to_array(audio), sampling_rate)
    elif sampling_rate is not None:
        raise ValueError("sampling_rate is for arrays; a file knows its own")
    elif isinstance(audio, AudioReader):
        yield audio
    else:
        with AudioReader(audio, track=track, strict=strict, partial=partial) as reader:
            yield reader


def _to_array(audio: np.ndarray | Tensor | list) -> np.ndarray | Tensor:
    if isinstance(audio, np.ndarray) or _is_tensor(audio):
        return audio
    try:
        return np.asarray(audio)
    except ValueError as error:
        raise ValueError("the channels differ in length") from error


class Collector:
    """An array as a sink of blocks."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []

    def write(self, block: np.ndarray) -> None:
        self.blocks.append(block)

    def result(self, like: object) -> np.ndarray | Tensor:
        """All blocks as one array, of `like`'s kind and number of dimensions where that is an array."""
        whole = np.concatenate(self.blocks, axis=1)
        if _is_tensor(like):
            import torch

            return torch.from_numpy(whole[0] if like.ndim == 1 else whole)
        return whole[0] if isinstance(like, np.ndarray | list) and np.ndim(like) == 1 else whole


def mark_last(blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Each block, and whether it is the last."""
    current = next(blocks)
    for following in blocks:
        yield current, False
        current = following
    yield current, True
