"""The configuration: what it refuses, what it derives, and that JSON keeps it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub.errors import StrictDataclassError

from unlossy import UnlossyConfig


def test_misspelt_field_is_refused() -> None:
    with pytest.raises(ValueError, match="has no field 'hop_lenght'"):
        UnlossyConfig(**{"hop_lenght": 512})  # type: ignore[arg-type]


AUTOENCODER: dict[str, Any] = {
    "residual": False, "skip_connections": False, "hidden_sizes": (128, 64), "depths": (1, 1), "embedding_size": 92,
}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hop_length": 1024}, "hop_length must be n_fft / 4"),
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
        ({"residual": False}, "has no skip connections"),
        (AUTOENCODER | {"envelope_size": 92}, "envelope_size must be below embedding_size=92, got 92"),
        (AUTOENCODER | {"embedding_size": 2000, "envelope_size": 28}, "lower embedding_size"),
        (AUTOENCODER | {"hidden_sizes": (128, 192), "depths": (1, 1)}, "must narrow towards the bottleneck"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassError, match=message):
        UnlossyConfig(**fields)


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
    assert UnlossyConfig.from_pretrained(tmp_path).detail_threshold == config.detail_threshold


def test_derived_sizes() -> None:
    config = UnlossyConfig()
    assert sum(config.cell_widths) == config.n_fft // 2
    assert max(config.cell_widths) == config.cell_width
    assert config.num_bands == 48
    assert config.level_sizes == (48 * 32, 24 * 64, 12 * 96, 6 * 160)
    assert config.frame_rate == pytest.approx(86.13, abs=0.01)
    assert config.receptive_field < 0.85 * config.sampling_rate
    assert config.block_alignment % config.hop_length == 0


def test_the_autoencoders_recipe_is_eleven_to_one_and_narrows_layer_by_layer() -> None:
    recipe = Path(__file__).parents[3] / "training" / "recipes" / "unlossy-44khz-autoencoder.yaml"
    config = UnlossyConfig(**yaml.safe_load(recipe.read_text())["model"])
    assert not config.residual
    assert not config.skip_connections
    values_a_second = config.embedding_size * config.frame_rate / 2  # the embedding holds two channels
    assert values_a_second <= 4000
    assert config.compression_ratio == pytest.approx(44_100 / values_a_second)
    assert config.compression_ratio >= 11
    frame = 2 * config.hop_length + 4 * len(config.cell_widths)  # coefficients, level and unevenness of mid and side
    assert frame > config.level_sizes[0]
    sizes = [4 * len(config.cell_widths), *config.level_sizes, config.envelope_size]
    assert sizes == sorted(set(sizes), reverse=True)
