"""The networks in ONNX Runtime: the same samples as PyTorch's, from an installation of a tenth of the size."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .streaming_unlossy import AT_ONCE

# In a checkpoint's folder and in its Hub repository.
ONNX_FILE = "onnx/model.onnx"
ENCODER_FILE, DECODER_FILE = "onnx/encoder_model.onnx", "onnx/decoder_model.onnx"
METADATA = "unlossy"  # the key in the file's metadata under which there is JSON


class OutdatedExportError(ValueError):
    """An export that was made of other weights or another configuration than those beside it."""


@dataclass(frozen=True)
class OnnxConfig:
    """What cutting audio into blocks needs of a model's configuration, see [`UnlossySpectrumConfig`]."""

    name_or_path: str
    model_type: str
    sampling_rate: int
    hop_length: int
    block_alignment: int
    receptive_field: int


@dataclass(frozen=True)
class OnnxAutoencoderConfig(OnnxConfig):
    """The same of an autoencoder, and what its embeddings are like, see [`UnlossyAutoencoderConfig`]."""

    embedding_size: int
    envelope_size: int
    frame_rate: float


class OnnxModel:
    """
    A restorer that `unlossy-train export` wrote, for inference on a CPU.

    Args:
        path (path): the file, `onnx/model.onnx` of a checkpoint.
        threads (`int`, *optional*): threads that [`restore`] works with, in two calls side by side; by default as many
            as there are cores.

    Attributes:
        threads (`int`): as given.
        config (`OnnxConfig`): what cutting audio into blocks needs of the model's configuration.

    Raises:
        ImportError: ONNX Runtime is not installed.
        OutdatedExportError: the weights or the configuration in the checkpoint's folder are others.
        ValueError: no file that `unlossy-train export` wrote.
    """

    files = (ONNX_FILE,)

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None):
        self.threads = threads or _cores()
        self.session, about = _open(path, max(self.threads // AT_ONCE, 1))
        _check_origin(Path(path), about)
        self.config = OnnxConfig(str(Path(path).parents[1]), **about["blocks"])

    def __call__(self, audio: np.ndarray, detail: float = 1.0, offset: int = 0) -> np.ndarray:
        """
        Args:
            audio (`np.ndarray` of shape `(channels, samples)`): float32, mono or stereo, ±1, at `config.sampling_rate`.
            detail (`float`, defaults to 1.0): see [`restore`].
            offset (`int`, defaults to 0): position of the first sample in a longer signal, a multiple of
                `config.block_alignment` [samples].

        Returns:
            `np.ndarray` of the same shape.

        Raises:
            ValueError: `offset` is no such multiple.
        """
        inputs = {"input_values": _to_stereo(audio, self.config.hop_length), **_scalars(detail, offset, self.config)}
        return _from_stereo(self.session.run(None, inputs)[0], *audio.shape)


class OnnxAutoencoder:
    """
    An autoencoder that `unlossy-train export` wrote, for inference on a CPU.

    Args:
        encoder, decoder (path): the files, `onnx/encoder_model.onnx` and `onnx/decoder_model.onnx` of a checkpoint.
        threads (`int`, *optional*): as many as there are cores by default.

    Attributes:
        config (`OnnxAutoencoderConfig`): what coding needs of the model's configuration.
        fingerprint (`str`), envelope_steps (`np.ndarray`): of the embeddings that it makes, see [`Embedding`].

    Raises:
        ImportError: ONNX Runtime is not installed.
        OutdatedExportError: the weights or the configuration in the checkpoint's folder are others.
        ValueError: no files that `unlossy-train export` wrote.
    """

    files = (ENCODER_FILE, DECODER_FILE)

    def __init__(self, encoder: str | os.PathLike[str], decoder: str | os.PathLike[str], *, threads: int | None = None):
        self._encoder_path, self._decoder_path, self.threads = encoder, decoder, threads or _cores()
        # Either is opened when it is needed. Without optimisation that takes hardly any time.
        abouts = [_open(path, self.threads, optimised=False)[1] for path in (encoder, decoder)]
        if abouts[0] != abouts[1]:
            raise OutdatedExportError(f"{encoder} and {decoder} are of different checkpoints: export them again")
        about = abouts[0]
        _check_origin(Path(encoder), about)
        self.config = OnnxAutoencoderConfig(str(Path(encoder).parents[1]), **about["blocks"])
        self.fingerprint: str = about["fingerprint"]
        self.envelope_steps = np.array(about["envelope_steps"], np.float32)

    @cached_property
    def _encoder(self) -> Any:
        return _open(self._encoder_path, self.threads)[0]

    @cached_property
    def _decoder(self) -> Any:
        return _open(self._decoder_path, self.threads)[0]

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """
        Args:
            audio (`np.ndarray` of shape `(channels, samples)`): float32, mono or stereo, ±1, at `config.sampling_rate`.

        Returns:
            `np.ndarray` of shape `(frames, embedding_size)`.
        """
        return self._encoder.run(None, {"input_values": _to_stereo(audio, self.config.hop_length)})[0][0]

    def decode(
        self, embeddings: np.ndarray, samples: int, channels: int, detail: float = 1.0, offset: int = 0
    ) -> np.ndarray:
        """
        Args:
            embeddings (`np.ndarray` of shape `(frames, embedding_size)`): from [`~OnnxAutoencoder.encode`].
            samples (`int`), channels (`int`): of the result, at most what the frames cover, and 1 or 2.
            detail (`float`, defaults to 1.0), offset (`int`, defaults to 0): see [`UnlossyAutoencoder.decode`].

        Returns:
            `np.ndarray` of shape `(channels, samples)`.
        """
        inputs = {"embeddings": embeddings[None], **_scalars(detail, offset, self.config)}
        return _from_stereo(self._decoder.run(None, inputs)[0], channels, samples)


def _open(path: str | os.PathLike[str], threads: int, optimised: bool = True) -> tuple[Any, dict[str, Any]]:
    """A session of a file that `unlossy-train export` wrote, and what the file says of its model.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: no such file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError("working without PyTorch needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # blocks differ in length, and it would keep the memory of each
    options.log_severity_level = 3  # errors
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    except Exception as error:  # ONNX Runtime's own have no class in common
        raise ValueError(f"{path}: not a model that `unlossy-train export` wrote, or damaged") from error
    return session, about


def _to_stereo(audio: np.ndarray, hop_length: int) -> np.ndarray:
    """`(1 or 2 channels, samples)` to `(1, 2, whole hops)`, which the networks take: mono is stereo without a side."""
    samples = audio.shape[1]
    padded = np.zeros((1, 2, -(-samples // hop_length) * hop_length), np.float32)
    padded[0, :, :samples] = audio
    return padded


def _from_stereo(audio: np.ndarray, channels: int, samples: int) -> np.ndarray:
    """The inverse of [`_to_stereo`]; mono is the mid."""
    stereo = audio[0, :, :samples]
    return stereo if channels == 2 else stereo.mean(axis=0, keepdims=True)


def _scalars(detail: float, offset: int, config: OnnxConfig) -> dict[str, np.ndarray]:
    """
    Raises:
        ValueError: blocks can't start there.
    """
    if offset % config.block_alignment:
        raise ValueError(f"offset must be a multiple of {config.block_alignment} samples, got {offset}.")
    return {"detail": np.array(detail, np.float32), "offset": np.array(offset, np.int64)}


def _cores() -> int:
    # Linux alone knows the limits of containers and batch systems.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest_of(weights: Path) -> str:
    """SHA-256 of a file of weights."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _check_origin(path: Path, about: dict[str, Any]) -> None:
    """Compare an export with the checkpoint in whose folder it lies, if that is there."""
    folder = path.parents[1]
    found, stored = folder / "config.json", folder / "model.safetensors"
    fields = json.loads(found.read_text()) if found.exists() else {}
    is_current = all(fields.get(name, value) == value for name, value in about["config"].items())
    if not is_current or (stored.exists() and digest_of(stored) != about["weights"]):
        raise OutdatedExportError(f"{path} is of another checkpoint: run `unlossy-train export {folder}`")


__all__ = ["OnnxAutoencoder", "OnnxModel", "OutdatedExportError"]
