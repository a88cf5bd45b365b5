"""Unlossy restores music and speech that was saved as MP3, AAC, Vorbis or Opus at a low bitrate.

Importing it registers the models with transformers: the restorer with `AutoModel` and `pipeline("audio-to-audio", …)`,
the autoencoder with `AutoModel` and `AutoModelForAudioTokenization`.
"""

from importlib.metadata import requires, version

try:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioTokenization
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
from .hub.configuration_unlossy_autoencoder import UnlossyAutoencoderConfig
from .hub.feature_extraction_unlossy import UnlossyFeatureExtractor
from .hub.modeling_unlossy import UnlossyEncoderOutput, UnlossyModel, UnlossyOutput, UnlossyPreTrainedModel
from .hub.modeling_unlossy_autoencoder import (
    UnlossyAutoencoder,
    UnlossyAutoencoderDecoderOutput,
    UnlossyAutoencoderEncoderOutput,
    UnlossyAutoencoderOutput,
    UnlossyAutoencoderPreTrainedModel,
)
from .hub.pipeline_unlossy import UnlossyPipeline
from .hub.restoration_unlossy import SHIPPED_MODEL, ModelNotFoundError, Restored, load_model, restore
from .similarity import Neighbour, similar

__version__ = version("unlossy")

for config, model in ((UnlossyConfig, UnlossyModel), (UnlossyAutoencoderConfig, UnlossyAutoencoder)):
    AutoConfig.register(config.model_type, config)
    AutoModel.register(config, model)
    AutoFeatureExtractor.register(config, UnlossyFeatureExtractor)
AutoModelForAudioTokenization.register(UnlossyAutoencoderConfig, UnlossyAutoencoder)
PIPELINE_REGISTRY.register_pipeline("audio-to-audio", UnlossyPipeline, pt_model=AutoModel, type="audio")

# A saved model carries its own code, so that it loads where this package is not installed (trust_remote_code=True).
UnlossyConfig.register_for_auto_class()
UnlossyAutoencoderConfig.register_for_auto_class()
UnlossyModel.register_for_auto_class("AutoModel")
UnlossyAutoencoder.register_for_auto_class("AutoModelForAudioTokenization")
UnlossyFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = [
    "SHIPPED_AUTOENCODER",
    "SHIPPED_MODEL",
    "AudioError",
    "Embedding",
    "EmbeddingError",
    "ModelNotFoundError",
    "Neighbour",
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
    "save_embedding",
    "similar",
]
