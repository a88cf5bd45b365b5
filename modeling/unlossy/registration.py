"""The classes that need PyTorch and transformers, registered there: the restorer with `AutoModel` and
`pipeline("audio-to-audio", …)`, the autoencoder with `AutoModel` and `AutoModelForAudioTokenization`."""

# ruff: noqa: F401  # `unlossy` hands all of them on

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioTokenization
from transformers.pipelines import PIPELINE_REGISTRY

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
