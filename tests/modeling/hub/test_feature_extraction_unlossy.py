"""The feature extractor: padding, masks, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from signals import RATE

from unlossy import UnlossyFeatureExtractor


@pytest.fixture
def extractor() -> UnlossyFeatureExtractor:
    return UnlossyFeatureExtractor()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape)


@pytest.mark.parametrize("shape", [(700,), (1, 700), (2, 9)])
def test_one_item(extractor: UnlossyFeatureExtractor, shape: tuple[int, ...]) -> None:
    audio = noise(*shape)
    batch_shape = (1, *np.atleast_2d(audio).shape)
    batch = extractor(audio, sampling_rate=RATE)
    assert batch["input_values"].shape == batch_shape
    assert batch["input_values"].dtype == torch.float32
    np.testing.assert_allclose(batch["input_values"].reshape(shape), audio, rtol=1e-6)
    assert batch["padding_mask"].tolist() == [[1] * batch_shape[2]]


def test_a_list_of_numbers_is_one_item(extractor: UnlossyFeatureExtractor) -> None:
    assert extractor([0.1, 0.2], sampling_rate=44100.0)["input_values"].shape == (1, 1, 2)
    assert extractor([[0.1, 0.2], [0.3]], sampling_rate=RATE)["padding_mask"].tolist() == [[1, 1], [1, 0]]


def test_shorter_items_are_padded_with_silence(extractor: UnlossyFeatureExtractor) -> None:
    items: list[Any] = [noise(2, 5), noise(2, 3), torch.from_numpy(noise(2, 4))]
    batch = extractor(items, sampling_rate=RATE, return_tensors="np")
    assert batch["input_values"].shape == (3, 2, 5)
    assert batch["padding_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    for row, item in zip(batch["input_values"], items, strict=True):
        np.testing.assert_allclose(row[:, : item.shape[1]], item, rtol=1e-6)
        assert not row[:, item.shape[1] :].any()


def test_a_batch_goes_into_the_model(extractor: UnlossyFeatureExtractor, lively_model: Any) -> None:
    batch = extractor([noise(2, 5000), noise(2, 3000)], sampling_rate=RATE)
    assert lively_model(**batch).audio_values.shape == (2, 2, 5000)


@pytest.mark.parametrize("rate", [None, 48_000])
def test_another_rate_is_refused(extractor: UnlossyFeatureExtractor, rate: int | None) -> None:
    with pytest.raises(ValueError, match=f"at 44100 Hz, got sampling_rate={rate}"):
        extractor(noise(100), sampling_rate=rate)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (noise(3, 100), r"got \(3, 100\)"),
        (noise(1, 2, 100), r"got \(1, 2, 100\)"),
        (noise(0), r"got \(0,\)"),
        ([], r"got \(0,\)"),
        ([0, 1], "got int64"),
        (np.ones((2, 100), np.int16), "Expected samples as float, ±1, got int16"),
        (np.array([0.1, np.nan]), "NaN or infinite"),
        ([noise(2, 10), noise(10)], "all mono or all stereo"),
    ],
)
def test_wrong_audio_is_refused(extractor: UnlossyFeatureExtractor, audio: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(audio, sampling_rate=RATE)


def test_save_and_load(extractor: UnlossyFeatureExtractor, tmp_path: Path) -> None:
    extractor.save_pretrained(tmp_path)
    assert UnlossyFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()
