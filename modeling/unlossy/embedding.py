"""The embedding of a whole piece and the safetensors file that keeps it: float or quantised, with what decoding needs.

A float file holds the tensor `embeddings`, for any program that reads safetensors. In a quantised one the envelope is
exact: its values are whole multiples of `envelope_steps`, and `envelope` holds the multiples. `waveform` holds codes of
the other values; `low` is what code 0 of each dimension stands for, and `step` what a code is worth. Both are ordered
dimension by dimension and packed by LZMA: with the autoencoder in the package, the envelope into 3.2 to 3.8 bits a
value, 8 bits of the waveform into 6.5 to 7.2 and 4 bits into 3.1 to 3.5 (four pieces).
"""

import hashlib
import json
import lzma
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .hub.audio_writing_unlossy import TemporaryFile
from .hub.layout_unlossy import DEFAULT_SPEAKERS, Speakers, channel_groups
from .hub.onnx_unlossy import OnnxAutoencoder

if TYPE_CHECKING:
    from .hub.modeling_unlossy import UnlossyModel
    from .hub.modeling_unlossy_autoencoder import UnlossyAutoencoder

FORMAT = "unlossy-embedding-2"
SUFFIX = ".embedding.safetensors"
BITS = (8, 4, 32)
# Shares of the range that a quantiser may cover: at few bits, finer steps are worth more than the rarest values.
_COVERED = tuple(np.linspace(0.3, 1.0, 15, dtype=np.float32))
_TRIED = 10_000  # frames that ranges are tried on
_MULTIPLE = np.dtype("<i2")
_NUMBERS = ("sampling_rate", "channels", "num_frames")


class EmbeddingError(ValueError):
    """An embedding that can't be used; the message says why and names the way out."""


@dataclass(frozen=True)
class Embedding:
    """What [`unlossy.encode`] makes of a piece.

    Attributes:
        values (`np.ndarray` of shape `(groups, frames, embedding_size)`): float32. Mono and stereo are one group of
            channels; 5.1, for instance, has four.
        envelope_steps (`np.ndarray` of shape `(group, envelope_size)`): float32. The first `envelope_size` values of
            the frames of a group are whole multiples of these.
        sampling_rate (`int`): of the audio [Hz].
        speakers (`tuple[str, ...]`): of the audio's channels, see [`unlossy.hub.audio_unlossy.AudioReader`].
        num_frames (`int`): its length [samples].
        model (`str`): name of the model that made it, for people.
        fingerprint (`str`): of that model, see [`fingerprint_of`].
        tags (`dict[str, list[str]]`): the fields of the audio file's [`Tags`]; pictures and chapters are not kept.
        warnings (`tuple[str, ...]`): a sentence on each thing that is odd in the audio file; not saved.
    """

    values: np.ndarray
    envelope_steps: np.ndarray
    sampling_rate: int
    speakers: Speakers
    num_frames: int
    model: str
    fingerprint: str
    tags: dict[str, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """How many the audio has, 1 to 8."""
        return len(self.speakers)

    @property
    def seconds(self) -> float:
        """Length of the audio [s]."""
        return self.num_frames / self.sampling_rate


def fingerprint_of(model: "UnlossyModel | UnlossyAutoencoder | OnnxAutoencoder") -> str:
    """Hash of a model's configuration and weights, wherever it was loaded from: all that its output depends on."""
    if isinstance(model, OnnxAutoencoder):
        return model.fingerprint
    digest = hashlib.sha256(json.dumps(model.config.own_fields(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def quantise(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Round to `2 ** bits` levels, equally spaced over as much of each dimension's range as gives the least error.

    Args:
        values (`np.ndarray` of shape `(groups, frames, size)`): float32.
        bits (`int`): a value, at most 8.

    Returns:
        the codes, uint8 of the same shape, and `low` and `step`, float32 of shape `(size,)`: a code stands for
            `low + step · code`.
    """
    flat = values.reshape(-1, values.shape[-1])
    lowest, highest, mean = flat.min(axis=0), flat.max(axis=0), flat.mean(axis=0)
    sample = flat[:: math.ceil(len(flat) / _TRIED)]
    best, low, step = np.full(len(mean), np.inf), lowest, np.ones_like(mean)
    for share in _COVERED:
        for centre in ((lowest + highest) / 2, mean):
            half = share * (highest - lowest) / 2
            bottom, size = centre - half, np.maximum(2 * half / (2**bits - 1), 1e-12).astype(np.float32)
            rounded = dequantise(_round(sample, bottom, size, bits), bottom, size)
            error = np.square(rounded - sample).mean(axis=0)
            better = error < best
            best, low, step = (np.where(better, *pair) for pair in ((error, best), (bottom, low), (size, step)))
    return _round(values, low, step, bits), low, step


def _round(values: np.ndarray, low: np.ndarray, step: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.rint((values - low) / step), 0, 2**bits - 1).astype(np.uint8)


def dequantise(codes: np.ndarray, low: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The inverse of [`quantise`], but for the rounding."""
    return low + step * codes.astype(np.float32)


def to_bytes(embedding: Embedding, bits: int = 8) -> bytes:
    """The content of an embedding's file.

    Args:
        bits (`int`, defaults to 8): 8 or 4 for each value of the waveform, or 32 for all values as they are.
    """
    if bits not in BITS:
        raise EmbeddingError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
    metadata = {"format": FORMAT, "bits": str(bits), "shape": json.dumps(embedding.values.shape)}
    metadata |= {name: str(getattr(embedding, name)) for name in (*_NUMBERS, "model", "fingerprint")}
    metadata |= {"tags": json.dumps(embedding.tags), "speakers": json.dumps(embedding.speakers)}
    steps = np.ascontiguousarray(embedding.envelope_steps, np.float32)
    if bits == 32:
        values = np.ascontiguousarray(embedding.values, np.float32)
        return save({"embeddings": values, "envelope_steps": steps}, metadata)
    envelope, waveform = np.split(embedding.values, [steps.shape[1]], axis=2)
    codes, low, step = quantise(waveform, bits)
    tensors = {"envelope": _pack(_multiples(envelope, steps)), "waveform": _pack(codes.transpose(2, 0, 1))}
    return save(tensors | {"envelope_steps": steps, "low": low, "step": step}, metadata)


def from_bytes(data: bytes) -> Embedding:
    """The inverse of [`to_bytes`].

    Raises:
        EmbeddingError: not an embedding, damaged, truncated, of impossible shape, or with values that are not finite.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise EmbeddingError("is damaged, truncated or no safetensors file: encode the audio again") from error
    metadata = header.get("__metadata__") or {}
    if metadata.get("format") != FORMAT:
        raise EmbeddingError(
            f"is no embedding, or one of another version of unlossy (format {metadata.get('format')!r} instead of "
            f"{FORMAT!r}): make one with `unlossy encode`"
        )
    try:
        shape = tuple(int(size) for size in json.loads(metadata["shape"]))
        sampling_rate, channels, num_frames = (int(metadata[name]) for name in _NUMBERS)
        tags = {
            name: [texts] if isinstance(texts, str) else [str(text) for text in texts]  # once, there was one text each
            for name, texts in json.loads(metadata["tags"]).items()
        }
        # The first files that were made have no layout but the default one.
        speakers = tuple(map(str, json.loads(metadata.get("speakers", "null")) or DEFAULT_SPEAKERS.get(channels, ())))
        steps = tensors["envelope_steps"]
        if steps.ndim != 2:
            raise ValueError(f"steps of shape {steps.shape}")
        values = tensors["embeddings"] if "embeddings" in tensors else _values(tensors, shape)
        model, fingerprint = metadata["model"], metadata["fingerprint"]
    except (KeyError, ValueError, TypeError, AttributeError, lzma.LZMAError) as error:
        raise EmbeddingError("is damaged: it does not hold what its header says; encode the audio again") from error
    groups = len(channel_groups(speakers))
    is_possible = channels == len(speakers) in DEFAULT_SPEAKERS and sampling_rate >= 1 and num_frames >= 1
    if values.shape != shape or len(shape) != 3 or shape[0] != groups or not is_possible:
        raise EmbeddingError(f"has values of shape {values.shape}, which is not that of {channels} channels")
    if any(x.dtype != np.float32 or not np.isfinite(x).all() for x in (values, steps)):
        raise EmbeddingError("has values that are NaN, infinite or no float32: encode the audio again")
    return Embedding(values, steps, sampling_rate, speakers, num_frames, model, fingerprint, tags)


def _multiples(envelope: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """`(groups of channels, frames, envelope_size)` to `(group, envelope_size, groups of channels, frames / group)`."""
    channels, frames, _ = envelope.shape
    padded = np.pad(envelope, ((0, 0), (0, -frames % len(steps)), (0, 0)))
    multiples = np.rint(padded.reshape(channels, padded.shape[1] // len(steps), *steps.shape) / steps)
    return multiples.clip(-(2**15), 2**15 - 1).astype(_MULTIPLE).transpose(2, 3, 0, 1)


def _pack(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(lzma.compress(np.ascontiguousarray(array).tobytes()), np.uint8)


def _unpack(packed: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    expected = math.prod(shape) * dtype.itemsize
    # No more than that, whatever a malicious file would unpack to.
    unpacked = lzma.LZMADecompressor().decompress(packed.tobytes(), max_length=expected + 1)
    if len(unpacked) != expected:
        raise ValueError("the codes don't fill the shape")
    return np.frombuffer(unpacked, dtype).reshape(shape)


def _values(tensors: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What a quantised file's tensors stand for, `(groups of channels, frames, size)`."""
    steps, low, step = (tensors[name] for name in ("envelope_steps", "low", "step"))
    (channels, frames, size), (group, envelope_size) = shape, steps.shape
    groups = -(-frames // group)
    if not low.shape == step.shape == (size - envelope_size,):
        raise ValueError("the scales don't fit the shape")
    multiples = _unpack(tensors["envelope"], _MULTIPLE, (group, envelope_size, channels, groups))
    envelope = (multiples.transpose(2, 3, 0, 1) * steps).reshape(channels, groups * group, envelope_size)[:, :frames]
    codes = _unpack(tensors["waveform"], np.dtype(np.uint8), (size - envelope_size, channels, frames))
    return np.concatenate([envelope, dequantise(codes.transpose(1, 2, 0), low, step)], axis=2)


def save_embedding(
    embedding: Embedding, path: str | os.PathLike[str], *, bits: int = 8, overwrite: bool = False
) -> int:
    """Write an embedding's file; it is complete or not there at all.

    Args:
        bits (`int`, defaults to 8): see [`to_bytes`].

    Returns:
        its size [bytes].

    Raises:
        AudioError: the file exists, or can't be written.
    """
    data = to_bytes(embedding, bits)
    temporary = TemporaryFile(Path(path), overwrite)
    try:
        temporary.path.write_bytes(data)
        temporary.keep()
    finally:
        temporary.discard()
    return len(data)


def load_embedding(path: str | os.PathLike[str]) -> Embedding:
    """Read what [`save_embedding`] wrote.

    Raises:
        EmbeddingError: see [`from_bytes`].
        OSError: the file can't be read.
    """
    try:
        return from_bytes(Path(path).read_bytes())
    except EmbeddingError as error:
        raise EmbeddingError(f"{path} {error}") from error
