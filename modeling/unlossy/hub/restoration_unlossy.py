"""`restore`: degraded audio in, restored audio out, for the command line, the pipeline, the Space and the evaluation.

The audio flows through in blocks, so that memory stays bounded however long a file is:

    input ── (up to 44.1 kHz) ──┬───────────────────────────────────────────── + ── peak guard ── output
                                └─ to 44.1 kHz ── network ── its change ── back ┘

Only what the network changed goes through the resamplers; the original is left as it is, above 22 kHz too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio_writing_unlossy import AudioWriter
from .layout_unlossy import DEFAULT_SPEAKERS, Speakers, channel_groups
from .loading_unlossy import load_model, ready_model
from .onnx_unlossy import OnnxModel
from .resampling_unlossy import Resampler
from .streaming_unlossy import (
    AT_ONCE,
    ArraySource,
    Audio,
    Collector,
    Overlapping,
    PeakGuard,
    Stage,
    check_rate,
    digital_silence,
    mark_last,
    model_blocks,
    open_source,
)

if TYPE_CHECKING:
    from torch import Tensor

    from .modeling_unlossy import UnlossyModel

SHORTEST_SILENCE = 0.02  # [s] of zeros, which are there only where nothing was recorded


@dataclass(frozen=True)
class Restored:
    """What [`restore`] returns.

    Attributes:
        audio (`np.ndarray` or `torch.Tensor` of shape `(channels, samples)` or `(samples,)`, like the input): `None` if
            it went into a file.
        sampling_rate (`int`): [Hz]; of a file, the nearest that its format has.
        num_frames (`int`): length [samples].
        output (`Path` or `None`): the file that was written.
        warnings (`tuple[str, ...]`): a sentence on each thing that is odd in the file, such as where it is damaged, or
            that the output could not hold, such as its layout of speakers.
    """

    audio: np.ndarray | Tensor | None
    sampling_rate: int
    num_frames: int
    output: Path | None = None
    warnings: tuple[str, ...] = ()


_shipped_model = functools.cache(load_model)


def _load(model: str | os.PathLike[str] | None) -> UnlossyModel | OnnxModel:
    return _shipped_model() if model is None else load_model(model)


def restore(
    audio: Audio,
    model: UnlossyModel | OnnxModel | str | os.PathLike[str] | None = None,
    *,
    sampling_rate: float | None = None,
    track: int | None = None,
    detail: float = 1.0,
    output: str | os.PathLike[str] | None = None,
    output_sampling_rate: float | None = None,
    format: str | None = None,
    bit_depth: str = "24",
    overwrite: bool = False,
    strict: bool = False,
    partial: bool = False,
    block_seconds: float = 8.0,
    progress: Callable[[float], None] | None = None,
) -> Restored:
    """Restore the quality of lossily compressed audio.

    Args:
        audio: a file that FFmpeg reads, by its path, as its bytes, as a file object or opened with [`AudioReader`]; or
            an array, tensor or list of shape `(samples,)` or `(channels, samples)`, float, ±1, with 1 to 8 channels at
            8 to 192 kHz.
        model (`UnlossyModel`, `OnnxModel`, Hub id or folder, *optional*): the checkpoint in the package by default. A
            name is loaded at each call: load it once with [`load_model`] for many files.
        sampling_rate (`int`): rate of an array [Hz]; a file knows its own.
        track (`int`, *optional*): number of a file's audio track, from 1; the default one otherwise.
        detail (`float`, defaults to 1.0): share of regenerated treble and texture, from 0 (most faithful) to 1 (most
            complete).
        output (path, *optional*): file to write, block by block, with the input's tags, pictures and chapters. It is
            complete or not there at all. Without it the restored array is returned.
        output_sampling_rate (`int`, *optional*): rate of the result [Hz]. By default the input's, or 44.1 kHz if that
            is more.
        format, bit_depth, overwrite: of the written file, see [`AudioWriter`].
        strict (`bool`, defaults to `False`): whether a file with anything odd in it is refused. By default what can be
            decoded is restored, silence stands for the rest, and [`Restored`] has `warnings`.
        partial (`bool`, defaults to `False`): whether a file of which more than a tenth is missing is restored, too.
        block_seconds (`float`, defaults to 8.0): length of a block [s]; on a CPU, two are worked on at a time. It
            changes the use of memory, not the samples.
        progress (callable, *optional*): is told the share that is done, from 0 to 1.

    Returns:
        [`Restored`]: as long as the input, with its channels and its level.

    Raises:
        ValueError: `detail` or `output_sampling_rate` out of range, no restorer, or an array of another shape or type,
            empty, or with NaN or infinity.
        AudioError: the file can't be read or written; `TruncatedError` if `partial` takes what is there.
    """
    if not 0 <= detail <= 1:
        raise ValueError(f"detail must be from 0 to 1, got {detail}")
    output_rate = None if output_sampling_rate is None else check_rate("output_sampling_rate", output_sampling_rate)
    network: UnlossyModel | OnnxModel = ready_model(model, _load, "unlossy")
    with ExitStack() as stack:
        source = stack.enter_context(open_source(audio, sampling_rate, track=track, strict=strict, partial=partial))
        rate, channels, total = source.sampling_rate, source.channels, source.num_frames
        working_rate = max(rate, network.config.sampling_rate)
        final_rate = output_rate or working_rate
        sink: Collector | AudioWriter
        if output is None:
            sink = Collector()
        else:
            sink = stack.enter_context(
                AudioWriter(
                    output,
                    final_rate,
                    channels,
                    speakers=source.speakers,
                    format=format,
                    bit_depth=bit_depth,
                    tags=source.tags,
                    overwrite=overwrite,
                )
            )
        workers = stack.enter_context(_workers(network))
        clips = output is not None and bit_depth != "32f"
        chain: list[Stage] = [
            Resampler(rate, working_rate, channels),
            _Correction(network, working_rate, source.speakers, detail, block_seconds, clips, workers),
            Resampler(working_rate, final_rate, channels),
        ]
        num_frames = 0
        for block, last in mark_last(source.blocks(rate)):
            for stage in chain:
                block = stage.process(block, last)
            sink.write(block)
            num_frames += block.shape[1]
            if progress and total and not last:
                progress(min(num_frames * rate / (final_rate * total), 1.0))
    if progress:
        progress(1.0)  # whatever a header said about the length
    if isinstance(sink, Collector):
        return Restored(sink.result(audio), final_rate, num_frames, warnings=tuple(source.warnings))
    warnings = (*source.warnings, *sink.warnings)
    return Restored(None, sink.sampling_rate, sink.num_frames, sink.path, warnings)


def restore_stream(
    blocks: Iterable[np.ndarray],
    sampling_rate: float,
    model: UnlossyModel | OnnxModel | str | os.PathLike[str] | None = None,
    *,
    detail: float = 1.0,
    clips: bool = False,
) -> Iterator[np.ndarray]:
    """Restore audio while it comes in, such as that of a player or a server: the samples that [`restore`] gives.

    They come out [`stream_delay`] later than they went in, and the time that the network takes: 1.7 s of audio, worked
    on in blocks that are as short as the network's reach allows.

    Args:
        blocks (iterable of `np.ndarray` of shape `(channels, samples)`): float, ±1, 1 to 8 channels in the default
            layout, in whatever lengths they come; the same number of channels in all.
        sampling_rate (`int`): theirs, 8 to 192 kHz [Hz].
        model, detail: see [`restore`].
        clips (`bool`, defaults to `False`): whether what is written clips at full scale, as integers do: the level is
            turned down around peaks then.

    Yields:
        `np.ndarray` of shape `(channels, samples)`: float32, at the input's rate, or at 44.1 kHz if that is more.

    Raises:
        ValueError: `detail` or `sampling_rate` out of range, no restorer, or blocks that are none.
    """
    if not 0 <= detail <= 1:
        raise ValueError(f"detail must be from 0 to 1, got {detail}")
    rate = check_rate("sampling_rate", sampling_rate)
    network: UnlossyModel | OnnxModel = ready_model(model, _load, "unlossy")
    working_rate = max(rate, network.config.sampling_rate)
    chain: list[Stage] = []
    for block, last in mark_last(iter(blocks)):
        block = ArraySource(block, rate).samples if block.shape[-1] else block
        if not chain:
            speakers = DEFAULT_SPEAKERS[len(block)]
            correction = _Correction(network, working_rate, speakers, detail, 0.0, clips, {}, guard_seconds=0.02)
            chain = [Resampler(rate, working_rate, len(block)), correction]
        for stage in chain:
            block = stage.process(block, last)
        if block.shape[1]:
            yield block


def stream_delay(model: UnlossyModel | OnnxModel) -> float:
    """How much audio [`restore_stream`] holds back at most, without the time that the network takes [s]."""
    reach, size = model_blocks(model.config, 0.0)
    return (reach + size) / model.config.sampling_rate + 0.04  # the peak guard, and the resamplers


class _Correction:
    """The stage that adds to the audio what the network changes, and guards the peaks."""

    def __init__(
        self,
        model: UnlossyModel | OnnxModel,
        rate: int,
        speakers: Speakers,
        detail: float,
        block_seconds: float,
        clips: bool,
        workers: dict[str, Any],
        guard_seconds: float = 1.0,
    ):
        self.clips = clips
        channels = len(speakers)
        model_rate = model.config.sampling_rate
        reach, size = model_blocks(model.config, block_seconds)
        self.change: list[Stage] = [
            Resampler(rate, model_rate, channels),
            # Not a method: in a cycle of references, the audio would stay in memory until the collector comes by.
            Overlapping(
                functools.partial(_change, groups=channel_groups(speakers), model=model, detail=detail),
                reach,
                size,
                **workers,
            ),
            Resampler(model_rate, rate, channels),
        ]
        self.guard = PeakGuard(rate, guard_seconds)
        self.originals = np.zeros((channels, 0), np.float32)
        self.changes = np.zeros((channels, 0), np.float32)

    def process(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        self.originals = np.concatenate([self.originals, block], axis=1)
        for stage in self.change:
            block = stage.process(block, last)
        self.changes = np.concatenate([self.changes, block], axis=1)
        ready = min(self.originals.shape[1], self.changes.shape[1])
        original, change = self.originals[:, :ready], self.changes[:, :ready]
        self.originals, self.changes = self.originals[:, ready:], self.changes[:, ready:]
        # Integer formats clip at full scale. A float signal may exceed it, but not more than its original does.
        limit = None if self.clips else np.maximum(np.abs(original).max(axis=0, keepdims=True), 1)
        return self.guard.process(original + change, last, limit)


@contextmanager
def _workers(model: UnlossyModel | OnnxModel) -> Iterator[dict[str, Any]]:
    """What an [`Overlapping`] stage works with: on a CPU, threads for blocks side by side."""
    if isinstance(model, OnnxModel):
        with ThreadPoolExecutor(AT_ONCE, "unlossy") as pool:
            yield {"at_once": AT_ONCE, "map": pool.map} if model.threads >= AT_ONCE else {}
        return
    import torch

    threads = torch.get_num_threads()
    if threads < AT_ONCE or model.device.type != "cpu":
        yield {}
        return
    try:
        with ThreadPoolExecutor(AT_ONCE, "unlossy", torch.set_num_threads, (threads // AT_ONCE,)) as pool:
            yield {"at_once": AT_ONCE, "map": pool.map}
    finally:
        torch.set_num_threads(threads)  # in part, it is one setting for all threads


def _change(
    block: np.ndarray, position: int, groups: list[list[int]], model: UnlossyModel | OnnxModel, detail: float
) -> np.ndarray:
    """What the network changes in `(channels, samples)` that start at `position` of the whole."""
    change = np.zeros_like(block)
    silent = digital_silence(block, round(SHORTEST_SILENCE * model.config.sampling_rate))
    if silent.all():
        return change  # such as what stands for a pause of half an hour
    run = model if isinstance(model, OnnxModel) else functools.partial(_run_in_torch, model)
    for group in groups:
        change[group] = run(block[group], detail, position) - block[group]
    if not np.isfinite(change).all():
        raise ValueError(f"the samples reach {np.abs(block).max():g} times full scale, too much for the network")
    change[silent] = 0
    return change


def _run_in_torch(model: UnlossyModel, audio: np.ndarray, detail: float, offset: int) -> np.ndarray:
    import torch

    with torch.inference_mode():
        degraded = torch.from_numpy(audio)[None].to(model.device)
        return model(degraded, detail=detail, offset=offset).audio_values[0].cpu().numpy()


__all__ = ["Restored", "restore", "restore_stream", "stream_delay"]
