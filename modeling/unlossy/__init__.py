"""Unlossy restores music and speech that was saved as MP3, AAC, Vorbis or Opus at a low bitrate.

Importing it registers the model with transformers, so that `AutoModel`, `AutoFeatureExtractor` and
`pipeline("audio-to-audio", …)` know it.
"""

from importlib.metadata import requires, version

try:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY
except OSError as error:
    if "torchaudio" not in str(error):
        raise
    # transformers imports torchaudio wherever it is installed, and that loads only beside the torch it was built for.
    needs = (need.split(";")[0].strip() for need in requires("unlossy") or [])
    pair = " ".join(dict.fromkeys(need for need in needs if need.startswith(("torch==", "torchaudio=="))))
    raise ImportError(
        f"torchaudio {version('torchaudio')} does not load beside torch {version('torch')}: remove it: `pip uninstall "
        f"torchaudio`, since restoring does not need it, or take a pair that fits: `pip install {pair}`."
    ) from None

from .autoencoding import SHIPPED_AUTOENCODER, decode, encode, load_autoencoder
from .embedding import Embedding, EmbeddingError, load_embedding, save_embedding
from .hub.audio_unlossy import AudioError, TruncatedError
from .hub.configuration_unlossy import UnlossyConfig
from .hub.feature_extraction_unlossy import UnlossyFeatureExtractor
from .hub.modeling_unlossy import (
    UnlossyDecoderOutput,
    UnlossyEncoderOutput,
    UnlossyModel,
    UnlossyOutput,
    UnlossyPreTrainedModel,
)
from .hub.pipeline_unlossy import UnlossyPipeline
from .hub.restoration_unlossy import SHIPPED_MODEL, ModelNotFoundError, Restored, load_model, restore

__version__ = version("unlossy")

AutoConfig.register("unlossy", UnlossyConfig)
AutoModel.register(UnlossyConfig, UnlossyModel)
AutoFeatureExtractor.register(UnlossyConfig, UnlossyFeatureExtractor)
PIPELINE_REGISTRY.register_pipeline("audio-to-audio", UnlossyPipeline, pt_model=AutoModel, type="audio")

# A saved model carries its own code, so that it loads where this package is not installed (trust_remote_code=True).
UnlossyConfig.register_for_auto_class()
UnlossyModel.register_for_auto_class("AutoModel")
UnlossyFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = [
    "SHIPPED_AUTOENCODER",
    "SHIPPED_MODEL",
    "AudioError",
    "Embedding",
    "EmbeddingError",
    "ModelNotFoundError",
    "Restored",
    "TruncatedError",
    "UnlossyConfig",
    "UnlossyDecoderOutput",
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
    "save_embedding",
]
