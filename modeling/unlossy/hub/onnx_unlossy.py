"""The restorer in ONNX Runtime: the same samples as PyTorch's, from an installation of a tenth of the size."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .streaming_unlossy import AT_ONCE

ONNX_FILE = "onnx/model.onnx"  # in a checkpoint's folder and in its Hub repository
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

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None):
        try:
            import onnxruntime
        except ImportError:
            raise ImportError("restoring without PyTorch needs ONNX Runtime: pip install onnxruntime") from None
        path = Path(path)
        self.threads = threads or _cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(self.threads // AT_ONCE, 1)
        options.enable_mem_pattern = False  # blocks differ in length, and it would keep the memory of each
        options.log_severity_level = 3  # errors
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            about = json.loads(self.session.get_modelmeta().custom_metadata_map[METADATA])
        except Exception as error:  # ONNX Runtime's own have no class in common
            raise ValueError(f"{path}: not a model that `unlossy-train export` wrote, or damaged") from error
        _check_origin(path.parents[1], about["config"], about["weights"])
        self.config = OnnxConfig(str(path.parents[1]), **about["blocks"])

    def __call__(self, audio: np.ndarray, detail: float = 1.0, offset: int = 0) -> np.ndarray:
        """
        Args:
            audio (`np.ndarray` of shape `(channels, samples)`): float32, mono or stereo, ±1, at `config.sampling_rate`.
            detail (`float`, defaults to 1.0): see [`restore`].
            offset (`int`, defaults to 0): position of the first sample in a longer signal, a multiple of
                `config.block_alignment` [samples].

        Returns:
            `np.ndarray` of the same shape.
        """
        channels, samples = audio.shape
        # The network takes whole hops of stereo; mono is stereo without a side.
        padded = np.zeros((1, 2, -(-samples // self.config.hop_length) * self.config.hop_length), np.float32)
        padded[0, :, :samples] = audio
        inputs = {
            "input_values": padded,
            "detail": np.array(detail, np.float32),
            "offset": np.array(offset, np.int64),
        }
        return self.session.run(None, inputs)[0][0, :channels, :samples]


def _cores() -> int:
    # Linux alone knows the limits of containers and batch systems.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest_of(weights: Path) -> str:
    """SHA-256 of a file of weights."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _check_origin(folder: Path, config: dict[str, object], weights: str) -> None:
    """Compare an export with the checkpoint in whose folder it lies, if that is there."""
    found, stored = folder / "config.json", folder / "model.safetensors"
    fields = json.loads(found.read_text()) if found.exists() else {}
    is_current = all(fields.get(name, value) == value for name, value in config.items())
    if not is_current or (stored.exists() and digest_of(stored) != weights):
        raise OutdatedExportError(f"{folder / ONNX_FILE} is of another checkpoint: run `unlossy-train export {folder}`")


__all__ = ["ONNX_FILE", "OnnxModel", "OutdatedExportError"]
