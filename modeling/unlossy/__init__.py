"""Unlossy restores music and speech that was saved as MP3, AAC, Vorbis or Opus at a low bitrate.

`restore`, `encode`, `decode`, `similar` and what goes with them need neither PyTorch nor transformers. The classes that
do are imported when they are first named. That, or importing transformers, registers the models there: the restorer
with `AutoModel` and `pipeline("audio-to-audio", …)`, the autoencoder with `AutoModel` and
`AutoModelForAudioTokenization`.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .autoencoding import SHIPPED_AUTOENCODER, decode, encode, load_autoencoder
from .embedding import Embedding, EmbeddingError, load_embedding, save_embedding
from .hub.audio_unlossy import AudioError, TruncatedError
from .hub.loading_unlossy import SHIPPED_MODEL, ModelNotFoundError, import_transformers, load_model
from .hub.onnx_unlossy import OnnxAutoencoder, OnnxModel
from .hub.restoration_unlossy import Restored, restore, restore_stream
from .similarity import Neighbour, similar

if TYPE_CHECKING:
    from .registration import (
        UnlossyAutoencoder,
        UnlossyAutoencoderConfig,
        UnlossyAutoencoderDecoderOutput,
        UnlossyAutoencoderEncoderOutput,
        UnlossyAutoencoderOutput,
        UnlossyAutoencoderPreTrainedModel,
        UnlossyConfig,
        UnlossyEncoderOutput,
        UnlossyFeatureExtractor,
        UnlossyModel,
        UnlossyOutput,
        UnlossyPipeline,
        UnlossyPreTrainedModel,
    )

__version__ = version("unlossy")

__all__ = [
    "SHIPPED_AUTOENCODER",
    "SHIPPED_MODEL",
    "AudioError",
    "Embedding",
    "EmbeddingError",
    "ModelNotFoundError",
    "Neighbour",
    "OnnxAutoencoder",
    "OnnxModel",
    "Restored",
    "TruncatedError",
    "UnlossyAutoencoder",
    "UnlossyAutoencoderConfig",
    "UnlossyAutoencoderDecoderOutput",
    "UnlossyAutoencoderEncoderOutput",
    "UnlossyAutoencoderOutput",
    "UnlossyAutoencoderPreTrainedModel",
    "UnlossyConfig",
    "UnlossyEncoderOutput",
    "UnlossyFeatureExtractor",
    "UnlossyModel",
    "UnlossyOutput",
    "UnlossyPipeline",
    "UnlossyPreTrainedModel",
    "decode",
    "encode",
    "load_autoencoder",
    "load_embedding",
    "load_model",
    "restore",
    "restore_stream",
    "save_embedding",
    "similar",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'unlossy' has no attribute {name!r}")
    missing = next((module for module in ("torch", "transformers") if importlib.util.find_spec(module) is None), None)
    if missing is not None:
        raise ImportError(f'unlossy.{name} needs {missing}: pip install "unlossy[torch]"')
    import_transformers()
    return getattr(importlib.import_module("unlossy.registration"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _RegisterWithTransformers(MetaPathFinder):
    """Registers the models when transformers is imported, so that nobody who doesn't use it waits for it."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "transformers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or importlib.util.find_spec("torch") is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if not any(_is_being_imported(name) for name in list(sys.modules) if name.startswith("unlossy.")):
                importlib.import_module("unlossy.registration")

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _is_being_imported(name: str) -> bool:
    """Then it is this package that imports transformers, and whoever names a class of it registers the models."""
    return getattr(getattr(sys.modules[name], "__spec__", None), "_initializing", False)


if "transformers" in sys.modules:
    importlib.import_module("unlossy.registration")
else:
    sys.meta_path.insert(0, _RegisterWithTransformers())
