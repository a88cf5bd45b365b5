"""The model, loaded once and beside the page, on a CPU or on ZeroGPU; and `restore` with progress and cancelling."""

import ctypes
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from huggingface_hub import snapshot_download

from unlossy_space.sessions import Sessions, is_stopped

if TYPE_CHECKING:
    from unlossy import OnnxModel, UnlossyAutoencoder, UnlossyModel

try:
    import spaces  # there on Hugging Face Spaces only
except ImportError:
    spaces = None

_WEIGHTS = ["config.json", "model.safetensors", "onnx/*"]  # of a model's repository, in which there is more
_GPU_START, _GPU_SPEED = 10, 30  # [s] to start; and how many times faster than real time at least

# One queue for everybody, first come, first served; two at a time, so that a long clip lets short ones pass.
QUEUE: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 2}

_model: "Future[UnlossyModel | OnnxModel] | None" = None
_autoencoder: "Future[UnlossyAutoencoder] | None" = None


class StoppedError(Exception):
    """The user has cancelled, or closed the page."""


def accept(upload: str | None, sessions: Sessions, request: gr.Request) -> tuple[Path, Path]:
    """The path of an upload, from now on its session's, and a new folder for what becomes of it.

    Raises:
        gr.Error: there is none.
    """
    if upload is None:
        raise gr.Error("There is no file yet.", print_exception=False)
    path = Path(upload)
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
        message = str(error)
        for path in paths:
            message = message.replace(str(path), path.name)
        raise gr.Error(message, print_exception=False) from error


def load(name: str | None = None, revision: str | None = None) -> None:
    """Start loading the checkpoint: the one in the package, or a Hub id, at a revision, or folder; and after it the
    package's autoencoder.

    On ZeroGPU it waits until that is done, because only what is loaded before the first call is moved to the GPU.
    """
    global _model, _autoencoder

    def load_it() -> "UnlossyModel | OnnxModel":
        from unlossy import load_model

        if name is None or revision is None:
            return load_model(name)
        return load_model(snapshot_download(name, revision=revision, allow_patterns=_WEIGHTS))

    def load_autoencoder() -> "UnlossyAutoencoder":
        from unlossy import load_autoencoder

        return load_autoencoder(device="cpu")  # where it is fast, and where there is no queue for a GPU

    executor = ThreadPoolExecutor(1)
    _model = executor.submit(load_it)
    _autoencoder = executor.submit(load_autoencoder)
    executor.shutdown(wait=is_zero_gpu())


def autoencoder() -> "UnlossyAutoencoder":
    """The package's autoencoder, once it is loaded."""
    if _autoencoder is None:
        raise RuntimeError("call load() first")
    return _autoencoder.result()


def is_zero_gpu() -> bool:
    return spaces is not None and spaces.config.Config.zero_gpu


def gpu_seconds(path: Path, seconds: float, *_: object) -> int:
    """How long [s] ZeroGPU is asked for, for a clip of a length [s]."""
    return _GPU_START + round(seconds / _GPU_SPEED)


def _on_gpu(function: Callable[..., None]) -> Callable[..., None]:
    return spaces.GPU(duration=gpu_seconds)(function) if spaces is not None else function


@_on_gpu
def restore_file(path: Path, seconds: float, output: Path, detail: float, progress: gr.Progress) -> None:
    """`unlossy.restore` from file to file, with the time left shown.

    Args:
        path (`Path`), output (`Path`): the files; the output's folder is one that `Sessions.new_folder` made.
        seconds (`float`): length of the clip [s].
        detail (`float`): see `unlossy.restore`.
        progress (`gr.Progress`): is told the share that is done, and the time left.

    Raises:
        StoppedError: the session has been stopped.
        AudioError: the file can't be read.
    """
    if _model is None:
        raise RuntimeError("call load() first")
    if not _model.done():
        progress(0, desc="loading the model")
    model = _model.result()
    from unlossy import restore

    start = time.monotonic()

    def report(share: float) -> None:
        if is_stopped(output.parent):
            raise StoppedError
        taken = time.monotonic() - start
        left = taken / share - taken if share > 0 else None  # before the first block is done, it tells nothing
        progress(share, desc="restoring" if left is None else f"{left:.0f} s left")

    try:
        restore(path, model, detail=detail, output=output, progress=report)
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
