"""The transformers pipeline: `pipeline("audio-to-audio", model)("song.mp3")`."""

from typing import Any

import numpy as np
from transformers import Pipeline

from .modeling_unlossy import UnlossyModel
from .restoration_unlossy import restore


class UnlossyPipeline(Pipeline):
    """
    Restores audio files and arrays of any length, rate and channel count; see [`restore`].

    Call it with a path, a URL, the bytes of a file or a file object, with a dictionary of `array` (`np.ndarray` of
    shape `(samples,)` or `(channels, samples)`, float, ±1) and `sampling_rate` [Hz], with what `datasets` gives for
    audio, or with a list of these. `detail` goes from 0 (most faithful) to 1 (most complete, the default). It
    returns `{"audio": np.ndarray (channels, samples), "sampling_rate": int}`. Items are restored one by one, whatever
    the `batch_size`.
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
        if hasattr(inputs, "get_all_samples"):  # a decoder of torchcodec, in which datasets hand over audio
            samples = inputs.get_all_samples()
            inputs = {"array": samples.data.numpy(force=True), "sampling_rate": samples.sample_rate}
        if isinstance(inputs, dict) and {"bytes", "path"} & inputs.keys():  # undecoded audio of datasets
            inputs = inputs.get("path") if inputs.get("bytes") is None else inputs["bytes"]
        if isinstance(inputs, dict):
            if "sampling_rate" not in inputs or not ({"array", "raw"} & inputs.keys()):
                raise ValueError(f"Expected a dictionary with array and sampling_rate, got the keys {list(inputs)}.")
            array = inputs["array"] if "array" in inputs else inputs["raw"]
            return {"audio": np.asarray(array), "sampling_rate": inputs["sampling_rate"]}
        if isinstance(inputs, str) and inputs.startswith(("http://", "https://")):
            inputs = _download(inputs)
        return {"audio": inputs, "sampling_rate": None}

    def _forward(  # type: ignore[override]
        self, model_inputs: dict[str, Any], detail: float = 1.0
    ) -> dict[str, Any]:
        audio, rate = model_inputs["audio"], model_inputs["sampling_rate"]
        if isinstance(audio, list):  # a batch
            pairs = zip(audio, rate, strict=True)
            return {"restored": [restore(each, self.model, sampling_rate=its, detail=detail) for each, its in pairs]}
        return {"restored": restore(audio, self.model, sampling_rate=rate, detail=detail)}

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, Any]
    ) -> dict[str, Any]:
        restored = model_outputs["restored"]
        return {"audio": restored.audio, "sampling_rate": restored.sampling_rate}


def _download(url: str) -> bytes:
    from huggingface_hub.utils import httpx

    try:
        return httpx.get(url, follow_redirects=True).raise_for_status().content
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"{url} cannot be downloaded: {str(error).splitlines()[0]}") from error


__all__ = ["UnlossyPipeline"]
