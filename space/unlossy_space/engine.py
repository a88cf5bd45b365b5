"""The model, loaded once and beside the page, on a CPU or on ZeroGPU; and `restore` with progress and cancelling."""

import ctypes
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np
from huggingface_hub import snapshot_download

from unlossy_space import limits
from unlossy_space.sessions import Sessions, is_stopped

if TYPE_CHECKING:
    from unlossy import OnnxAutoencoder, OnnxModel, Restored, UnlossyAutoencoder, UnlossyModel
    from unlossy.hub.audio_unlossy import AudioReader

try:
    import spaces  # there on Hugging Face Spaces only
except ImportError:
    spaces = None

_WEIGHTS = ["config.json", "model.safetensors", "onnx/*"]  # of a model's repository, in which there is more
_GPU_START, _GPU_SPEED = 10, 30  # [s] to start; and how many times faster than real time at least

# One queue for everybody, first come, first served; two at a time, so that a long clip lets short ones pass.
QUEUE: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 2}

P = ParamSpec("P")
R = TypeVar("R")

_model: "Future[UnlossyModel | OnnxModel] | None" = None
_autoencoder: "Future[UnlossyAutoencoder | OnnxAutoencoder] | None" = None


class StoppedError(Exception):
    """The user has cancelled, or closed the page."""


def accept(upload: str | None, sessions: Sessions, request: gr.Request) -> tuple[Path, Path]:
    """The path of an upload, from now on its session's, and a new folder for what becomes of it.

    Raises:
        gr.Error: there is none, or no longer, because the page was closed before this had its turn.
    """
    if upload is None:
        raise gr.Error("There is no file yet.", print_exception=False)
    path = Path(upload)
    if not path.exists():
        raise gr.Error(limits.is_gone(path), print_exception=False)
    sessions.keep(request.session_hash, path)
    return path, sessions.new_folder(request.session_hash)


@contextmanager
def explained(*paths: Path) -> Iterator[None]:
    """Turn what a user can cause into Gradio's kind of error, with names instead of the paths on this machine."""
    try:
        yield
    except StoppedError:
        raise gr.Error("Cancelled.", print_exception=False) from None
    except (ValueError, FileNotFoundError) as error:  # the page may have been closed, and the files be gone with it
        raise gr.Error(name_files(str(error), *paths), print_exception=False) from error


def name_files(text: str, *paths: Path) -> str:
    """A sentence with files' names in place of their paths on this machine."""
    for path in paths:
        text = text.replace(str(path), path.name)
    return text


def load(name: str | None = None, revision: str | None = None) -> None:
    """Start loading the checkpoint: the one in the package, or a Hub id, at a revision, or folder; and after it the
    package's autoencoder.

    On ZeroGPU it waits until that is done, because only what is loaded before the first call is moved to the GPU.
    """
    global _model, _autoencoder

    def load_it() -> "UnlossyModel | OnnxModel":
        from unlossy import load_model

        backend = "torch" if is_zero_gpu() else "auto"  # whose GPU can't be seen before it is lent
        if name is None or revision is None:
            return load_model(name, backend=backend)
        return load_model(snapshot_download(name, revision=revision, allow_patterns=_WEIGHTS), backend=backend)

    def load_autoencoder() -> "UnlossyAutoencoder | OnnxAutoencoder":
        from unlossy import load_autoencoder

        return load_autoencoder(device="cpu")  # where it is fast, and where there is no queue for a GPU

    executor = ThreadPoolExecutor(1)
    _model = executor.submit(load_it)
    _autoencoder = executor.submit(load_autoencoder)
    executor.shutdown(wait=is_zero_gpu())


def autoencoder() -> "UnlossyAutoencoder | OnnxAutoencoder":
    """The package's autoencoder, once it is loaded."""
    if _autoencoder is None:
        raise RuntimeError("call load() first")
    return _autoencoder.result()


def is_zero_gpu() -> bool:
    return spaces is not None and spaces.config.Config.zero_gpu


def gpu_seconds(source: Path | np.ndarray, *_: object) -> int:
    """How long [s] ZeroGPU is asked for, for an upload, or an array at `LISTENING_RATE`."""
    from unlossy_space import clips

    if isinstance(source, Path):
        with clips.UploadReader(source) as upload:
            seconds = min(upload.declared_seconds or limits.MAX_SECONDS, limits.MAX_SECONDS)
    else:
        seconds = source.shape[1] / clips.LISTENING_RATE
    return _GPU_START + round(seconds / _GPU_SPEED)


def _on_gpu(function: Callable[P, R]) -> Callable[P, R]:
    return spaces.GPU(duration=gpu_seconds)(function) if spaces is not None else function


@_on_gpu
def restore_upload(
    path: Path, folder: Path, detail: float, progress: gr.Progress
) -> tuple[Path, Path, tuple[str, ...]]:
    """`unlossy.restore` from file to file, with the time left shown.

    Args:
        path (`Path`): the upload, which is decoded once.
        folder (`Path`): for the results, one that `Sessions.new_folder` made.
        detail (`float`): see `unlossy.restore`.
        progress (`gr.Progress`): is told the share that is done, and the time left.

    Returns:
        the restored file, a copy of the upload as of `clips.copying`, and a sentence on each thing that is odd.

    Raises:
        StoppedError: the session has been stopped.
        ValueError, AudioError: the file is beyond the limits, or can't be read.
    """
    from unlossy_space import clips

    output, before = folder / f"{path.stem}.restored.flac", folder / "Before.flac"
    with clips.UploadReader(path) as upload, clips.copying(upload, before) as upload.listener:
        if (
            upload.declared_seconds > limits.MAX_SECONDS
        ):  # in doubt, it is counted before there is much work for nothing
            clips.count(path)
        done = _restore(upload, folder, progress, detail=detail, output=output)
    return output, before, done.warnings


@_on_gpu
def restore_array(audio: np.ndarray, folder: Path, progress: gr.Progress) -> np.ndarray:
    """`unlossy.restore` of an array at `clips.LISTENING_RATE`, otherwise as `restore_upload`."""
    from unlossy_space import clips

    return np.asarray(_restore(audio, folder, progress, sampling_rate=clips.LISTENING_RATE).audio)


def _restore(source: "AudioReader | np.ndarray", folder: Path, progress: gr.Progress, **options: Any) -> "Restored":
    if _model is None:
        raise RuntimeError("call load() first")
    if not _model.done():
        progress(0, desc="loading the model")
    model = _model.result()
    from unlossy import restore

    start = time.monotonic()

    def report(share: float) -> None:
        if is_stopped(folder):
            raise StoppedError
        taken = time.monotonic() - start
        left = taken / share - taken if share > 0 else None  # before the first block is done, it tells nothing
        progress(share, desc="restoring" if left is None else f"{left:.0f} s left")

    try:
        return restore(source, model, progress=report, **options)
    finally:
        _give_memory_back()


def _give_memory_back() -> None:
    """Return freed memory to the system. glibc keeps it in pieces, some hundred megabytes after many clips."""
    with suppress(OSError, AttributeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)


def shipped_revision() -> str:
    """The beginning of the SHA-256 of the weights in the package."""
    spec = importlib.util.find_spec("unlossy")  # where it lies, without importing it
    if spec is None or spec.origin is None:
        raise RuntimeError("the package unlossy is not installed")
    weights = Path(spec.origin).parent / "checkpoints" / "unlossy-44khz" / "model.safetensors"
    return f"unlossy-44khz {hashlib.sha256(weights.read_bytes()).hexdigest()[:8]}"


def connect_cancel(button: gr.Button, sessions: Sessions, events: list[Any]) -> None:
    """Let a button end events, waiting or running, of the session that it is pressed in."""

    def stop(request: gr.Request) -> None:
        sessions.stop(request.session_hash)

    button.click(stop, cancels=events, queue=False, api_visibility="private")
