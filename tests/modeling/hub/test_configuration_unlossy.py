"""The configurations: what they refuse, what they derive, and that JSON keeps them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from unlossy import UnlossyAutoencoderConfig, UnlossyConfig


def test_misspelt_field_is_refused() -> None:
    with pytest.raises(ValueError, match="UnlossyConfig has no field 'hidden_size'"):
        UnlossyConfig(**{"hidden_size": 512})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="UnlossyAutoencoderConfig has no field 'detail_size'"):
        UnlossyAutoencoderConfig(**{"detail_size": 16})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_fft": 2046}, "n_fft must be a multiple of 4, got 2046"),
        ({"band_counts": (16, 8, 8)}, "must have the same length"),
        ({"band_counts": (16, 8, 8, 15)}, "must fill n_fft / 2 = 1024 bins, got 976"),
        ({"band_widths": (4, 8, 40, 36)}, "whole cells of 16 bins"),
        ({"band_counts": (64,), "band_widths": (16,)}, "two groups of bands or more"),
        ({"depths": (1, 2)}, "hidden_sizes and depths must have the same length"),
        ({"band_counts": (16, 8, 8, 8, 1), "band_widths": (4, 8, 16, 16, 640)}, "41 bands can't be halved"),
        ({"hidden_sizes": (32, 80, 96, 160)}, "must narrow towards the bottleneck"),
        ({"embedding_size": 2000}, "must narrow towards the bottleneck"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"detail_stride": 3}, "detail_stride must be 1, 2 or 4, got 3"),
        ({"cell_width": 0}, "cell_width must be positive, got 0"),
        ({"depths": (1, 2, 0, 2)}, "depths must be positive"),
        ({"n_fft": "2048"}, "expected int, got str"),
        ({"full_band_hz": (20_000.0, 16_000.0)}, "a lower and a higher frequency"),
        ({"hole_level": -10.0}, "hole_level must be below preserved_level"),
        ({"onset_step": 60}, "must divide n_fft = 2048"),
        ({"shaping_long": 128}, "shaping_long must be odd"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassError, match=message):
        UnlossyConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"envelope_size": 92}, "envelope_size must be below embedding_size=92, got 92"),
        ({"embedding_size": 2000}, "lower embedding_size"),
        ({"hidden_sizes": (128, 192), "depths": (1, 1)}, "must narrow towards the bottleneck"),
        ({"band_counts": (16, 8, 8, 16), "band_widths": (4, 8, 16, 16)}, "must fill n_fft / 2 = 1024 bins, got 512"),
        ({"group_frames": 0}, "group_frames must be positive"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
    ],
)
def test_sizes_of_an_autoencoder_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassError, match=message):
        UnlossyAutoencoderConfig(**fields)


def test_whole_numbers_are_as_good_as_decimals() -> None:
    """As YAML and a command line give them: the fingerprint of a model must not depend on it."""
    config = UnlossyConfig(hole_caution=2, hidden_sizes=[32, 64, 96, 160])
    assert config.own_fields() == UnlossyConfig(hole_caution=2.0).own_fields()
    assert json.dumps(config.own_fields()) == json.dumps(UnlossyConfig(hole_caution=2.0).own_fields())


def test_json_round_trip(tmp_path: Path) -> None:
    config = UnlossyConfig(hidden_sizes=[8, 8], depths=[1, 1], embedding_size=32, detail_size=16)
    config.save_pretrained(tmp_path)
    loaded = UnlossyConfig.from_pretrained(tmp_path)
    assert loaded.to_diff_dict() == config.to_diff_dict()
    assert loaded.hidden_sizes == config.hidden_sizes == (8, 8)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "unlossy"


def test_what_transformers_trainer_adds_can_be_loaded_again(tmp_path: Path) -> None:
    config = UnlossyConfig()
    config.use_cache = False
    config.save_pretrained(tmp_path)
    assert UnlossyConfig.from_pretrained(tmp_path).hole_caution == config.hole_caution


def test_derived_sizes() -> None:
    config = UnlossyConfig()
    assert sum(config.cell_widths) == config.n_fft // 2
    assert max(config.cell_widths) == config.cell_width
    assert config.num_bands == 48
    assert config.level_sizes == (48 * 32, 24 * 64, 12 * 96, 6 * 160)
    assert config.frame_rate == pytest.approx(86.13, abs=0.01)
    assert config.receptive_field < 0.85 * config.sampling_rate
    assert config.block_alignment == 4 * config.hop_length == config.n_fft


def test_the_autoencoders_recipe_is_eleven_to_one_and_narrows_layer_by_layer() -> None:
    recipe = Path(__file__).parents[3] / "training" / "recipes" / "unlossy-44khz-autoencoder.yaml"
    config = AutoConfig.for_model(**yaml.safe_load(recipe.read_text())["model"])
    assert isinstance(config, UnlossyAutoencoderConfig)
    values_a_second = config.embedding_size * config.frame_rate / 2  # the embedding holds two channels
    assert values_a_second <= 4000
    assert config.compression_ratio == pytest.approx(44_100 / values_a_second)
    assert config.compression_ratio >= 11
    frame = 2 * config.hop_length + 4 * len(config.cell_widths)  # coefficients, level and unevenness of mid and side
    assert frame > config.hidden_sizes[0]
    sizes = [4 * len(config.cell_widths), *config.hidden_sizes, config.envelope_size]
    assert sizes == sorted(set(sizes), reverse=True)
