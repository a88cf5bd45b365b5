"""Turns audio arrays into the padded batch that an Unlossy model takes."""

from typing import Any

import numpy as np
from transformers import BatchFeature, SequenceFeatureExtractor


class UnlossyFeatureExtractor(SequenceFeatureExtractor):
    """
    Args:
        feature_size (`int`, defaults to 2): channels of a mono or stereo item: 1 or 2; each call tells by itself.
        sampling_rate (`int`, defaults to 44100): rate of the audio that the model takes [Hz].
        padding_value (`float`, defaults to 0.0): silence, which the model must see on padding.
    """

    model_input_names = ["input_values", "padding_mask"]

    def __init__(
        self, feature_size: int = 2, sampling_rate: int = 44100, padding_value: float | int = 0.0, **kwargs: Any
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

    def __call__(
        self, raw_audio: Any, sampling_rate: float | None = None, return_tensors: str | None = "pt"
    ) -> BatchFeature:
        """
        Args:
            raw_audio: an array of shape `(samples,)` or `(channels, samples)`, float, ±1, or a list of numbers, or a
                list of such arrays or lists; all with one channel or all with two.
            sampling_rate (`int`): rate of the audio [Hz]. It must be the model's; [`restore`] converts any rate.
            return_tensors (`str`, defaults to `"pt"`): `"pt"` or `"np"`.

        Returns:
            `BatchFeature`: `input_values` of shape `(batch_size, channels, samples)`, silent after an item's end, and
            `padding_mask` of shape `(batch_size, samples)`, 1 on audio and 0 on padding.

        Raises:
            ValueError: for another sampling rate, or audio that is empty, not finite or of another shape.
        """
        if sampling_rate != self.sampling_rate:
            raise ValueError(
                f"Expected audio at {self.sampling_rate} Hz, got sampling_rate={sampling_rate}; resample it, or call "
                "unlossy.restore, which takes any rate."
            )
        is_batch = isinstance(raw_audio, list | tuple) and len(raw_audio) > 0 and np.ndim(raw_audio[0]) > 0
        items = [_as_channels(item) for item in (raw_audio if is_batch else [raw_audio])]
        channels = {item.shape[0] for item in items}
        if len(channels) != 1:
            raise ValueError("A batch must be all mono or all stereo.")
        lengths = np.array([item.shape[1] for item in items])
        batch = np.full((len(items), channels.pop(), lengths.max()), self.padding_value, dtype=np.float32)
        for row, item in zip(batch, items, strict=True):
            row[:, : item.shape[1]] = item
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        return BatchFeature({"input_values": batch, "padding_mask": mask}, tensor_type=return_tensors)


def _as_channels(item: Any) -> np.ndarray:
    if np.asarray(item).dtype.kind != "f":
        raise ValueError(f"Expected samples as float, ±1, got {np.asarray(item).dtype}; divide integers by full scale.")
    audio = np.atleast_2d(np.asarray(item, dtype=np.float32))
    if np.ndim(item) not in (1, 2) or audio.shape[0] not in (1, 2) or audio.shape[1] == 0:
        raise ValueError(f"Expected audio of shape (samples,) or (1 or 2, samples), got {np.shape(item)}.")
    if not np.isfinite(audio).all():
        raise ValueError("The audio has samples that are NaN or infinite.")
    return audio


__all__ = ["UnlossyFeatureExtractor"]
