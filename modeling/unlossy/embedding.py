"""The embedding of a whole piece and the safetensors file that keeps it: float or quantised, with what decoding needs.

A float file holds the tensor `embeddings`, for any program that reads safetensors. A quantised one holds `codes`, one
for each value, dimension by dimension, packed by LZMA, and for each dimension what code 0 stands for (`low`) and what a
code is worth (`step`). Of 92 linear coefficients of music, LZMA packs 8 bits into 6.8 and 4 bits into 3.4.
"""

import hashlib
import json
import lzma
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .audio_writing_unlossy import TemporaryFile
from .modeling_unlossy import UnlossyModel
from .streaming_unlossy import CHANNEL_GROUPS

FORMAT = "unlossy-embedding-1"
SUFFIX = ".embedding.safetensors"
BITS = (8, 4, 32)
# Shares of the range that a quantiser may cover: at few bits, finer steps are worth more than the rarest values.
_COVERED = tuple(np.linspace(0.3, 1.0, 15, dtype=np.float32))
_TRIED = 10_000  # frames that ranges are tried on
_NUMBERS = ("sampling_rate", "channels", "num_frames")


class EmbeddingError(ValueError):
    """An embedding that can't be used; the message says why and names the way out."""


@dataclass(frozen=True)
class Embedding:
    """What [`unlossy.encode`] makes of a piece.

    Attributes:
        values (`np.ndarray` of shape `(groups, frames, embedding_size)`): float32. Mono and stereo are one group of
            channels; 5.1, for instance, has four.
        sampling_rate (`int`): of the audio [Hz].
        channels (`int`): of the audio, 1 to 8.
        num_frames (`int`): its length [samples].
        model (`str`): name of the model that made it, for people.
        fingerprint (`str`): of that model's weights, see [`weights_fingerprint`].
        tags (`dict[str, str]`): of the audio file.
    """

    values: np.ndarray
    sampling_rate: int
    channels: int
    num_frames: int
    model: str
    fingerprint: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of the audio [s]."""
        return self.num_frames / self.sampling_rate


def weights_fingerprint(model: UnlossyModel) -> str:
    """Hash of a model's weights and of what its embedding's values stand for, wherever it was loaded from."""
    digest = hashlib.sha256(f"{model.config.embedding_size} {model.config.candidates}".encode())
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
        bits (`int`, defaults to 8): 8 or 4 a value, or 32 for the values as they are.
    """
    if bits not in BITS:
        raise EmbeddingError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
    metadata = {"format": FORMAT, "bits": str(bits), "shape": json.dumps(embedding.values.shape)}
    metadata |= {name: str(getattr(embedding, name)) for name in (*_NUMBERS, "model", "fingerprint")}
    metadata["tags"] = json.dumps(embedding.tags)
    if bits == 32:
        return save({"embeddings": np.ascontiguousarray(embedding.values, np.float32)}, metadata)
    codes, low, step = quantise(embedding.values, bits)
    # A dimension's values resemble one another more than a frame's do.
    packed = lzma.compress(np.ascontiguousarray(codes.transpose(2, 0, 1)).tobytes())
    return save({"codes": np.frombuffer(packed, np.uint8), "low": low, "step": step}, metadata)


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
        tags = {str(name): str(text) for name, text in json.loads(metadata["tags"]).items()}
        values = tensors["embeddings"] if "embeddings" in tensors else _unpack(tensors, shape)
        model, fingerprint = metadata["model"], metadata["fingerprint"]
    except (KeyError, ValueError, TypeError, AttributeError, lzma.LZMAError) as error:
        raise EmbeddingError("is damaged: it does not hold what its header says; encode the audio again") from error
    groups = len(CHANNEL_GROUPS.get(channels, ()))
    if values.shape != shape or len(shape) != 3 or shape[0] != groups or sampling_rate < 1 or num_frames < 1:
        raise EmbeddingError(f"has values of shape {values.shape}, which is not that of {channels} channels")
    if values.dtype != np.float32 or not np.isfinite(values).all():
        raise EmbeddingError("has values that are NaN, infinite or no float32: encode the audio again")
    return Embedding(values, sampling_rate, channels, num_frames, model, fingerprint, tags)


def _unpack(tensors: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    groups, frames, size = shape
    expected = math.prod(shape)
    # No more than that, whatever a malicious file would unpack to.
    unpacked = lzma.LZMADecompressor().decompress(tensors["codes"].tobytes(), max_length=expected + 1)
    if len(unpacked) != expected or tensors["low"].shape != (size,) or tensors["step"].shape != (size,):
        raise ValueError("the codes don't fill the shape")
    codes = np.frombuffer(unpacked, np.uint8).reshape(size, groups, frames).transpose(1, 2, 0)
    return dequantise(codes, tensors["low"], tensors["step"])


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
