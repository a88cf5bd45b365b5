"""`restore`: degraded audio in, restored audio out, for the command line, the pipeline, the Space and the evaluation.

The audio flows through in blocks, so that memory stays bounded however long a file is:

    input ── (up to 44.1 kHz) ──┬───────────────────────────────────────────── + ── peak guard ── output
                                └─ to 44.1 kHz ── network ── its change ── back ┘

Only what the network changed goes through the resamplers; the original is left as it is, above 22 kHz too.
"""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from .audio_writing_unlossy import AudioWriter
from .layout_unlossy import Speakers, channel_groups
from .modeling_unlossy import UnlossyModel
from .resampling_unlossy import Resampler
from .streaming_unlossy import (
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

# Two blocks side by side, each with half of the threads, take 15 % less time than one after the other with all of them.
AT_ONCE = 2
SHORTEST_SILENCE = 0.02  # [s] of zeros, which are there only where nothing was recorded

SHIPPED_MODEL = str(Path(__file__).parents[1] / "checkpoints" / "unlossy-44khz")


KINDS = {"unlossy": "a restorer", "unlossy_autoencoder": "an autoencoder"}  # of models, by their type

Model = TypeVar("Model", bound=PreTrainedModel)


class ModelNotFoundError(ValueError):
    """There is no Unlossy model of this name; the message says where it was looked for."""


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


def load_checkpoint(name: str | os.PathLike[str], device: str, *kinds: type[Model]) -> Model:
    """A checkpoint of one of several classes.

    Args:
        name: Hub id or folder.
        device (`str`): `"cpu"`, `"cuda"`, `"mps"`, or `"auto"` for the best that there is.
        kinds: classes that it may be of.

    Raises:
        ModelNotFoundError: no such model, or of none of these classes.
        ValueError: no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    elif not available.get(device, False):
        raise ValueError(f"device {device!r} is not available here; use --device auto or cpu")
    name = os.fspath(name)
    missing = (
        f"{name}: no Unlossy model found, neither a folder with config.json and model.safetensors nor a Hub repository "
        "that can be reached"
    )
    if Path(name).parent == Path(SHIPPED_MODEL).parent:
        missing = f"{name}: the model of the package is not there; install unlossy again"
    try:
        found = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
        for kind in kinds:
            if type_of(kind) == found:
                return kind.from_pretrained(name).eval().to(device)
    except (RuntimeError, SafetensorError) as error:
        raise ModelNotFoundError(f"{name}: its weights are damaged, or those of another model; get it again") from error
    except (OSError, ValueError, StrictDataclassError) as error:
        raise ModelNotFoundError(missing) from error
    if found not in KINDS:
        raise ModelNotFoundError(missing)
    wanted = " or ".join(KINDS[type_of(kind)] for kind in kinds)
    raise ModelNotFoundError(f"{name}: this model is {KINDS[found]}; name {wanted} with --model")


def type_of(kind: type[PreTrainedModel]) -> str:
    """The `model_type` of a class of models."""
    assert kind.config_class is not None
    return kind.config_class.model_type


def load_model(model: str | os.PathLike[str] | None = None, device: str = "auto") -> UnlossyModel:
    """
    Args:
        model: Hub id or folder; `None` for the checkpoint in the package, which needs no network.
        device (`str`, defaults to `"auto"`): `"cpu"`, `"cuda"`, `"mps"`, or the best that there is.

    Raises:
        ModelNotFoundError: no such model, or not a restorer.
        ValueError: no such device.
    """
    return load_checkpoint(SHIPPED_MODEL if model is None else model, device, UnlossyModel)


_shipped_model = functools.cache(load_model)


def ready_model(
    model: Model | str | os.PathLike[str] | None, load: Callable[[str | os.PathLike[str] | None], Model], kind: str
) -> Model:
    """A model as it is, or loaded by its name or, for `None`, as the one of the package.

    Raises:
        ModelNotFoundError: no model of this name.
        ValueError: a model of another kind of `KINDS`.
    """
    found = load(model) if model is None or isinstance(model, str | os.PathLike) else model
    check_kind(found, kind)
    return found


def _load(model: str | os.PathLike[str] | None) -> UnlossyModel:
    return _shipped_model() if model is None else load_model(model)


def check_kind(model: PreTrainedModel, kind: str) -> None:
    """
    Raises:
        ValueError: a model of another kind of `KINDS`.
    """
    if model.config.model_type != kind:
        name = model.config.name_or_path or "the model"
        found = KINDS.get(model.config.model_type, "no Unlossy model")
        raise ValueError(f"{name} is {found}: name {KINDS[kind]} with --model")


def restore(
    audio: Audio,
    model: UnlossyModel | str | os.PathLike[str] | None = None,
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
        model (`UnlossyModel`, Hub id or folder, *optional*): the checkpoint in the package by default. A name is loaded
            at each call: load it once with [`load_model`] for many files.
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
    model = ready_model(model, _load, "unlossy")
    with ExitStack() as stack:
        source = stack.enter_context(open_source(audio, sampling_rate, track=track, strict=strict, partial=partial))
        rate, channels, total = source.sampling_rate, source.channels, source.num_frames
        working_rate = max(rate, model.config.sampling_rate)
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
        workers = stack.enter_context(_workers(model))
        clips = output is not None and bit_depth != "32f"
        chain: list[Stage] = [
            Resampler(rate, working_rate, channels),
            _Correction(model, working_rate, source.speakers, detail, block_seconds, clips, workers),
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


class _Correction:
    """The stage that adds to the audio what the network changes, and guards the peaks."""

    def __init__(
        self,
        model: UnlossyModel,
        rate: int,
        speakers: Speakers,
        detail: float,
        block_seconds: float,
        clips: bool,
        workers: dict[str, Any],
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
        self.guard = PeakGuard(rate)
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
def _workers(model: UnlossyModel) -> Iterator[dict[str, Any]]:
    """What an [`Overlapping`] stage works with: on a CPU, threads for blocks side by side."""
    threads = torch.get_num_threads()
    if threads < AT_ONCE or model.device.type != "cpu":
        yield {}
        return
    try:
        with ThreadPoolExecutor(AT_ONCE, "unlossy", torch.set_num_threads, (threads // AT_ONCE,)) as pool:
            yield {"at_once": AT_ONCE, "map": pool.map}
    finally:
        torch.set_num_threads(threads)  # in part, it is one setting for all threads


@torch.inference_mode()
def _change(
    block: np.ndarray, position: int, groups: list[list[int]], model: UnlossyModel, detail: float
) -> np.ndarray:
    """What the network changes in `(channels, samples)` that start at `position` of the whole."""
    change = np.empty_like(block)
    for group in groups:
        degraded = torch.from_numpy(block[group])[None].to(model.device)
        restored = model(degraded, detail=detail, offset=position).audio_values
        change[group] = (restored - degraded)[0].cpu().numpy()
    if not np.isfinite(change).all():
        raise ValueError(f"the samples reach {np.abs(block).max():g} times full scale, too much for the network")
    change[digital_silence(block, round(SHORTEST_SILENCE * model.config.sampling_rate))] = 0
    return change


__all__ = ["SHIPPED_MODEL", "ModelNotFoundError", "Restored", "load_model", "restore"]
