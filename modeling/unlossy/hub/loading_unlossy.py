"""Finding and loading a model, by its name and for the machine that it runs on.

A model runs in ONNX Runtime, or in PyTorch where there is a GPU or somebody asks for it. PyTorch and transformers
take seconds to import: nothing here does so before it has to.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from .onnx_unlossy import OnnxAutoencoder, OnnxModel, OutdatedExportError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .modeling_unlossy import UnlossyModel

Checkpoint = TypeVar("Checkpoint", bound="PreTrainedModel")
Exported = TypeVar("Exported", OnnxModel, OnnxAutoencoder)

SHIPPED_MODEL = str(Path(__file__).parents[1] / "checkpoints" / "unlossy-44khz")
BACKENDS = ("auto", "onnx", "torch")
KINDS = {"unlossy": "a restorer", "unlossy_autoencoder": "an autoencoder"}  # of models, by their type


class ModelNotFoundError(ValueError):
    """There is no Unlossy model of this name; the message says where it was looked for."""


def load_model(
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    backend: str = "auto",
    threads: int | None = None,
) -> UnlossyModel | OnnxModel:
    """
    Args:
        model: Hub id or folder; `None` for the checkpoint in the package, which needs no network.
        device (`str`, defaults to `"auto"`): `"cpu"`, `"cuda"`, `"mps"`, or the best that there is.
        backend (`str`, defaults to `"auto"`): `"onnx"` for ONNX Runtime, which runs on the CPU, or `"torch"`, which
            `pip install "unlossy[torch]"` brings. By default PyTorch where it is installed and finds a GPU, or where
            a model has no export; otherwise ONNX Runtime.
        threads (`int`, *optional*): of ONNX Runtime, as many as there are cores by default. PyTorch's are those of the
            process, see `torch.set_num_threads`.

    Raises:
        ModelNotFoundError: no such model, or not a restorer.
        ValueError: no such device or backend.
        ImportError: PyTorch is needed, and not installed.
    """
    name = SHIPPED_MODEL if model is None else os.fspath(model)

    def load_in_torch() -> UnlossyModel:
        from .modeling_unlossy import UnlossyModel

        return load_checkpoint(name, device, UnlossyModel)

    return load_network(name, device, backend, threads, OnnxModel, load_in_torch)


def load_network(
    name: str,
    device: str,
    backend: str,
    threads: int | None,
    exported: type[Exported],
    load_in_torch: Callable[[], Checkpoint],
) -> Exported | Checkpoint:
    """A model in the backend that is asked for, or that suits the machine; see [`load_model`].

    Args:
        name: Hub id or folder.
        exported: the class for ONNX Runtime.
        load_in_torch: loads it in PyTorch, which is imported by then.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "onnx" and device not in ("auto", "cpu"):
        raise ValueError(f"ONNX Runtime runs on the CPU here, not on {device}: use --backend torch")
    missing = exported.files[0]
    if backend == "onnx" or (backend == "auto" and device in ("auto", "cpu") and not (device == "auto" and has_gpu())):
        paths = _find_export(name, exported.files)
        try:
            if paths is not None:
                found = exported(*paths, threads=threads)
                found.config = replace(found.config, name_or_path=name)  # of the Hub's, not of a folder in the cache
                return found
        except OutdatedExportError:
            if backend == "onnx" or importlib.util.find_spec("torch") is None:
                raise
        if backend == "onnx":
            raise ModelNotFoundError(f"{name}: no {missing} found there; make it with `unlossy-train export`")
    if importlib.util.find_spec("torch") is None:
        reason = f"{name} has no usable {missing}" if backend == "auto" else "backend torch was asked for"
        raise ImportError(f'{reason}, and PyTorch is not installed: pip install "unlossy[torch]"')
    import_transformers()  # before the class, so that it is registered there
    return load_in_torch()


def import_transformers() -> None:
    """
    Raises:
        ImportError: it doesn't load with the torchaudio that is installed.
    """
    try:
        import transformers.pipelines  # noqa: F401
    except OSError as error:
        if "torchaudio" not in str(error):
            raise
        # transformers imports torchaudio wherever it is installed, and that loads only beside the torch it is made for.
        needs = (need.split(";")[0].strip() for need in requires("unlossy") or [])
        pair = " ".join(dict.fromkeys(need for need in needs if need.startswith(("torch==", "torchaudio=="))))
        raise ImportError(
            f"torchaudio {version('torchaudio')} does not load beside torch {version('torch')}: remove it: `pip "
            f"uninstall torchaudio`, since restoring does not need it, or take a pair that fits: `pip install {pair}`."
        ) from None


def has_gpu() -> bool:
    """Whether PyTorch is installed and finds a GPU. It is imported only where there may be one."""
    has_driver = any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/kfd"))  # NVIDIA's and AMD's on Linux
    if importlib.util.find_spec("torch") is None or not (has_driver or sys.platform in ("darwin", "win32")):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _find_export(name: str, files: tuple[str, ...]) -> list[Path] | None:
    """The ONNX files of a folder or of a Hub repository, if it has them."""
    if os.path.isdir(name):
        paths = [Path(name) / file for file in files]
        return paths if all(path.exists() for path in paths) else None
    try:
        return [Path(hf_hub_download(name, file)) for file in files]
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError):
        return None  # the search for the checkpoint itself says what is missing


def load_checkpoint(name: str | os.PathLike[str], device: str, *kinds: type[Checkpoint]) -> Checkpoint:
    """A checkpoint of one of several classes.

    Args:
        name: Hub id or folder.
        device (`str`): `"cpu"`, `"cuda"`, `"mps"`, or `"auto"` for the best that there is.
        kinds: classes that it may be of.

    Raises:
        ModelNotFoundError: no such model, or of none of these classes.
        ValueError: no such device.
        ImportError: PyTorch is not installed.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import PreTrainedConfig
    from transformers.utils import logging

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
    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of the weights: it is over in milliseconds, and not the bar that users wait for
    try:
        found = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
        for kind in kinds:
            if type_of(kind) == found:
                return kind.from_pretrained(name).eval().to(device)
    except (RuntimeError, SafetensorError) as error:
        raise ModelNotFoundError(f"{name}: its weights are damaged, or those of another model; get it again") from error
    except (OSError, ValueError, StrictDataclassError) as error:
        raise ModelNotFoundError(missing) from error
    finally:
        if shows_bars:
            logging.enable_progress_bar()
    if found not in KINDS:
        raise ModelNotFoundError(missing)
    wanted = " or ".join(KINDS[type_of(kind)] for kind in kinds)
    raise ModelNotFoundError(f"{name}: this model is {KINDS[found]}; name {wanted} with --model")


def type_of(kind: type[PreTrainedModel]) -> str:
    """The `model_type` of a class of models."""
    assert kind.config_class is not None
    return kind.config_class.model_type


def ready_model(model: Any, load: Callable[[str | os.PathLike[str] | None], Any], kind: str) -> Any:
    """A model as it is, or loaded by its name or, for `None`, as the one of the package.

    Raises:
        ModelNotFoundError: no model of this name.
        ValueError: a model of another kind of `KINDS`.
    """
    found = load(model) if model is None or isinstance(model, str | os.PathLike) else model
    check_kind(found, kind)
    return found


def check_kind(model: PreTrainedModel | OnnxModel | OnnxAutoencoder, kind: str) -> None:
    """
    Raises:
        ValueError: a model of another kind of `KINDS`.
    """
    if model.config.model_type != kind:
        name = model.config.name_or_path or "the model"
        found = KINDS.get(model.config.model_type, "no Unlossy model")
        raise ValueError(f"{name} is {found}: name {KINDS[kind]} with --model")


__all__ = ["BACKENDS", "SHIPPED_MODEL", "ModelNotFoundError", "load_model"]
