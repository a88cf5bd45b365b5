"""`encode` and `decode`: audio of any length to an embedding and back, block by block.

    audio ── to 44.1 kHz ── encoder ── embedding ── decoder ── to the audio's rate ── peak guard ── audio

Blocks overlap by what the network sees, so that the embedding of a long file equals that of the whole at once.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .embedding import Embedding, EmbeddingError, fingerprint_of
from .hub.audio_writing_unlossy import AudioWriter
from .hub.layout_unlossy import channel_groups
from .hub.loading_unlossy import load_checkpoint, load_network, ready_model
from .hub.onnx_unlossy import OnnxAutoencoder
from .hub.resampling_unlossy import Resampler
from .hub.restoration_unlossy import Restored
from .hub.streaming_unlossy import (
    Audio,
    Collector,
    Overlapping,
    PeakGuard,
    mark_last,
    model_blocks,
    open_source,
)
from .hub.tags_unlossy import Tags

if TYPE_CHECKING:
    from .hub.modeling_unlossy_autoencoder import UnlossyAutoencoder

SHIPPED_AUTOENCODER = str(Path(__file__).parent / "checkpoints" / "unlossy-44khz-autoencoder")


def load_autoencoder(
    model: str | os.PathLike[str] | None = None, device: str = "auto", backend: str = "auto"
) -> UnlossyAutoencoder | OnnxAutoencoder:
    """
    Args:
        model: Hub id or folder; `None` for the checkpoint in the package.
        device, backend: see [`unlossy.load_model`].

    Raises:
        ModelNotFoundError: no such model, or not an autoencoder.
        ValueError: no such device or backend.
        ImportError: PyTorch is needed, and not installed.
    """
    name = SHIPPED_AUTOENCODER if model is None else os.fspath(model)

    def load_in_torch() -> UnlossyAutoencoder:
        from .hub.modeling_unlossy_autoencoder import UnlossyAutoencoder

        return load_checkpoint(name, device, UnlossyAutoencoder)

    return load_network(name, device, backend, None, OnnxAutoencoder, load_in_torch)


_shipped_autoencoder = functools.cache(load_autoencoder)


def ready_autoencoder(
    model: UnlossyAutoencoder | OnnxAutoencoder | str | os.PathLike[str] | None,
) -> UnlossyAutoencoder | OnnxAutoencoder:
    """An autoencoder as it is, or loaded by its name or, for `None`, as the one of the package.

    Raises:
        ModelNotFoundError: no such model, or not an autoencoder.
        ValueError: a restorer.
    """
    return ready_model(model, _load, "unlossy_autoencoder")


def _load(model: str | os.PathLike[str] | None) -> UnlossyAutoencoder | OnnxAutoencoder:
    return _shipped_autoencoder() if model is None else load_autoencoder(model)


class _InTorch:
    """What [`OnnxAutoencoder`] does, in PyTorch."""

    def __init__(self, model: UnlossyAutoencoder):
        self.model = model
        self.envelope_steps = model.envelope_coder.steps().float().numpy().reshape(-1, model.config.envelope_size)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            encoded = self.model.encode(torch.from_numpy(audio)[None].to(self.model.device))
            return encoded.embeddings[0].float().cpu().numpy()

    def decode(self, embeddings: np.ndarray, samples: int, channels: int, detail: float, offset: int) -> np.ndarray:
        import torch

        with torch.inference_mode():
            values = torch.from_numpy(embeddings)[None].to(self.model.device)
            decoded = self.model.decode(values, None, samples, channels, detail, offset)
            return decoded.audio_values[0].cpu().numpy()


def encode(
    audio: Audio,
    model: UnlossyAutoencoder | OnnxAutoencoder | str | os.PathLike[str] | None = None,
    *,
    sampling_rate: float | None = None,
    strict: bool = False,
    partial: bool = False,
    block_seconds: float = 10.0,
    progress: Callable[[float], None] | None = None,
) -> Embedding:
    """The embedding of a file or an array.

    Args:
        audio, sampling_rate, strict, partial, block_seconds, progress: see [`unlossy.restore`].
        model (`UnlossyAutoencoder`, `OnnxAutoencoder`, Hub id or folder, *optional*): the autoencoder in the package by
            default.

    Raises:
        ValueError: no autoencoder, or an array that can't be used.
        AudioError: the file can't be read; `TruncatedError` if `partial` takes what is there.
    """
    model = ready_autoencoder(model)
    config, network = model.config, model if isinstance(model, OnnxAutoencoder) else _InTorch(model)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(audio, sampling_rate, strict=strict, partial=partial))
        rate, channels, total = source.sampling_rate, source.channels, source.num_frames
        groups = channel_groups(source.speakers)

        def embed(block: np.ndarray, _: int) -> np.ndarray:
            values = np.stack([network.encode(block[group]) for group in groups])
            if not np.isfinite(values).all():
                raise ValueError(
                    f"the samples reach {np.abs(block).max():g} times full scale, too much for the network"
                )
            return values

        resampler = Resampler(rate, config.sampling_rate, channels)
        embedder = Overlapping(embed, *model_blocks(config, block_seconds), ratio=Fraction(1, config.hop_length))
        parts: list[np.ndarray] = []
        received = 0
        for block, last in mark_last(source.blocks(rate)):
            received += block.shape[1]
            values = embedder.process(resampler.process(block, last), last)
            if values.shape[1]:  # otherwise more is needed first
                parts.append(values)
            if progress and total:
                progress(min(received / total, 1.0))
        fields = source.tags.fields if source.tags else {}
        warnings = tuple(source.warnings)
    name = str(config.name_or_path)
    return Embedding(
        values=np.concatenate(parts, axis=1),
        envelope_steps=network.envelope_steps,
        sampling_rate=rate,
        speakers=source.speakers,
        num_frames=received,
        # Of a folder its name only: where it lies is nobody's business.
        model=Path(name).resolve().name if os.path.isdir(name) else name,
        fingerprint=fingerprint_of(model),
        tags=fields,
        warnings=warnings,
    )


def decode(
    embedding: Embedding,
    model: UnlossyAutoencoder | OnnxAutoencoder | str | os.PathLike[str] | None = None,
    *,
    detail: float = 1.0,
    output: str | os.PathLike[str] | None = None,
    format: str | None = None,
    bit_depth: str = "24",
    overwrite: bool = False,
    block_seconds: float = 10.0,
    progress: Callable[[float], None] | None = None,
) -> Restored:
    """The audio of an embedding, with the rate, the channels and the length of what was encoded.

    Args:
        embedding (`Embedding`): from [`encode`] or [`unlossy.load_embedding`].
        model (`UnlossyAutoencoder`, `OnnxAutoencoder`, Hub id or folder, *optional*): the one that made it; by default
            the package's own.
        detail, output, format, bit_depth, overwrite, block_seconds, progress: see [`unlossy.restore`].

    Raises:
        EmbeddingError: made by another model, or of another length than it says.
        ValueError: no autoencoder, or `detail` out of range.
        AudioError: the file can't be written.
    """
    if not 0 <= detail <= 1:
        raise ValueError(f"detail must be from 0 to 1, got {detail}")
    model = ready_autoencoder(model)
    fingerprint = fingerprint_of(model)
    if embedding.fingerprint != fingerprint:
        raise EmbeddingError(
            f"this embedding was made by the model {embedding.model} ({embedding.fingerprint[:12]}), not by "
            f"{model.config.name_or_path} ({fingerprint[:12]}): name that one with --model"
        )
    config, rate, hop_length = model.config, embedding.sampling_rate, model.config.hop_length
    total = math.ceil(embedding.num_frames * config.sampling_rate / rate)  # as Resampler rounds
    expected = (math.ceil(total / hop_length) + 2, config.embedding_size)  # as many frames as windows reach the audio
    if embedding.values.shape[1:] != expected:
        raise EmbeddingError(
            f"this embedding has (frames, values) {embedding.values.shape[1:]}, but {embedding.seconds:.3f} s of audio "
            f"have {expected}: encode the audio again"
        )
    groups = channel_groups(embedding.speakers)

    network = model if isinstance(model, OnnxAutoencoder) else _InTorch(model)

    def rebuild(block: np.ndarray, position: int) -> np.ndarray:
        offset = position * hop_length
        samples = min((block.shape[1] - 2) * hop_length, total - offset)
        audio = np.zeros((embedding.channels, samples), np.float32)
        for group, values in zip(groups, block, strict=True):
            audio[group] = network.decode(values, samples, len(group), detail, offset)
        return audio

    reach, size = (samples // hop_length for samples in model_blocks(config, block_seconds))
    rebuilder = Overlapping(rebuild, reach, size, ratio=Fraction(hop_length))
    resampler = Resampler(config.sampling_rate, rate, embedding.channels)
    with ExitStack() as stack:
        sink: Collector | AudioWriter = Collector()
        if output is not None:
            sink = stack.enter_context(
                AudioWriter(
                    output,
                    rate,
                    embedding.channels,
                    speakers=embedding.speakers,
                    format=format,
                    bit_depth=bit_depth,
                    tags=Tags(embedding.tags),
                    overwrite=overwrite,
                )
            )
        guard = PeakGuard(rate) if output is not None and bit_depth != "32f" else None
        frames, written = embedding.values.shape[1], 0
        for start in range(0, frames, size):
            last = start + size >= frames
            block = rebuilder.process(embedding.values[:, start : start + size], last)
            if not block.shape[1]:
                continue  # more is needed first; the last block always gives something
            block = resampler.process(block, last)
            if guard:
                block = guard.process(block, last)
            block = block[:, : embedding.num_frames - written]  # resampling rounds up, twice
            sink.write(block)
            written += block.shape[1]
            if progress:
                progress(min(start + size, frames) / frames)
    if isinstance(sink, Collector):
        return Restored(sink.result(None), rate, written)
    return Restored(None, sink.sampling_rate, sink.num_frames, sink.path, tuple(sink.warnings))
