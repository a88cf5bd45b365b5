"""The transformers pipeline: `pipeline("audio-to-audio", model)("song.mp3")`."""

from typing import Any

import numpy as np
from transformers import Pipeline

from .modeling_unlossy import UnlossyModel
from .restoration_unlossy import restore


class UnlossyPipeline(Pipeline):
    """
    Restores audio files and arrays of any length, rate and channel count; see [`restore`].

    Call it with a path, or with a dictionary of `array` (`np.ndarray` of shape `(samples,)` or `(channels, samples)`,
    float, ±1) and `sampling_rate` [Hz], or with a list of these. `detail` goes from 0 (most faithful) to 1 (most
    complete, the default). It returns `{"audio": np.ndarray (channels, samples), "sampling_rate": int}`.
    """

    model: UnlossyModel
    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_feature_extractor = True  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]

    def _sanitize_parameters(
        self, detail: float | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if kwargs:
            raise ValueError(f"UnlossyPipeline has no parameter {sorted(kwargs)[0]!r}; there is detail.")
        return {}, {} if detail is None else {"detail": detail}, {}

    def preprocess(self, inputs: Any) -> dict[str, Any]:  # type: ignore[override]
        if isinstance(inputs, dict):
            if "sampling_rate" not in inputs or not ({"array", "raw"} & inputs.keys()):
                raise ValueError(f"Expected a dictionary with array and sampling_rate, got the keys {list(inputs)}.")
            array = inputs["array"] if "array" in inputs else inputs["raw"]
            return {"audio": np.asarray(array), "sampling_rate": int(inputs["sampling_rate"])}
        return {"audio": inputs}

    def _forward(  # type: ignore[override]
        self, model_inputs: dict[str, Any], detail: float = 1.0
    ) -> dict[str, Any]:
        restored = restore(**model_inputs, model=self.model, detail=detail)
        return {"audio": restored.audio, "sampling_rate": restored.sampling_rate}

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, Any]
    ) -> dict[str, Any]:
        return model_outputs


__all__ = ["UnlossyPipeline"]
