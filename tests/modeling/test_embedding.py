"""Embedding files: rounding, packing, and every kind of damage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from unlossy.embedding import (
    Embedding,
    EmbeddingError,
    dequantise,
    from_bytes,
    load_embedding,
    quantise,
    save_embedding,
    to_bytes,
)
from unlossy.hub.audio_unlossy import AudioError

STEPS = np.array([[0.1, 2e-3], [0.3, 5.0], [1.0, 1e-4]], np.float32)  # of groups of three frames


def make_embedding(frames: int = 400) -> Embedding:
    """An envelope of whole steps, and a waveform with values of very different ranges, one dimension constant."""
    random = np.random.default_rng(0)
    multiples = np.rint(random.normal(0, 100, (1, frames, 2)))
    envelope = multiples * np.resize(STEPS, (frames, 2))
    waveform = random.normal(5, 1, (1, frames, 6)) * np.array([0, 1e-3, 1, 10, 1000, 3])
    values = np.concatenate([envelope, waveform], axis=2).astype(np.float32)
    tags = {"title": ["ö"], "artist": ["a", "b"]}
    return Embedding(values, STEPS, 44_100, ("FL", "FR"), 200_000, "a/b", "ab12", tags)


def test_a_float_file_keeps_everything(tmp_path: Path) -> None:
    embedding = make_embedding()
    size = save_embedding(embedding, tmp_path / "a.safetensors", bits=32)
    assert size == (tmp_path / "a.safetensors").stat().st_size
    loaded = load_embedding(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.values, embedding.values)
    np.testing.assert_array_equal(loaded.envelope_steps, STEPS)
    assert replace(loaded, values=embedding.values, envelope_steps=STEPS) == embedding
    with pytest.raises(AudioError, match="exists already"):
        save_embedding(embedding, tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(("bits", "least_snr"), [(8, 40), (4, 19)])
def test_rounding_suits_each_dimension(bits: int, least_snr: float) -> None:
    embedding = make_embedding(2000)
    loaded = from_bytes(to_bytes(embedding, bits))
    np.testing.assert_allclose(loaded.values[..., :2], embedding.values[..., :2], rtol=1e-6)
    waveform = embedding.values[..., 2:]
    error = np.square(loaded.values[..., 2:] - waveform).mean(axis=(0, 1))
    variance = waveform.var(axis=(0, 1))
    assert error[0] < 1e-12
    # A uniform quantiser of a Gaussian reaches 20.2 dB at 4 bits and 40.6 dB at 8 (Max, 1960).
    assert (10 * np.log10(variance[1:] / error[1:]) > least_snr).all()
    codes, low, step = quantise(waveform, bits)
    assert codes.max() == 2**bits - 1
    np.testing.assert_array_equal(dequantise(codes, low, step), loaded.values[..., 2:])


def test_files_are_as_small_as_the_values_allow() -> None:
    sizes = {bits: len(to_bytes(make_embedding(5000), bits)) for bits in (32, 8, 4)}
    envelope = 1.3 * 10_000  # bytes; multiples with a deviation of 100 have 8.7 bits
    assert sizes[32] > 4 * 40_000
    assert sizes[8] < 30_000 + envelope
    assert sizes[4] < 15_000 + envelope


def changed(data: bytes, **fields: str) -> bytes:
    """The same file with other metadata."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return save(load(data), header["__metadata__"] | fields)


@pytest.mark.parametrize("bits", [8, 32])
def test_damage_is_named(bits: int, tmp_path: Path) -> None:
    data = to_bytes(make_embedding(), bits)
    flipped = bytearray(data)
    flipped[-40] ^= 255
    damaged = {
        "is damaged, truncated": [b"", b"no safetensors at all", data[:100], data[:-1]],
        "is no embedding": [save({"x": np.zeros(3, np.float32)}), changed(data, format="unlossy-embedding-9")],
        "does not hold what its header says|of shape": [
            changed(data, shape="[1, 399, 8]"),
            changed(data, shape="[]"),
            changed(data, shape="x"),
            changed(data, tags="3"),
            changed(data, channels="9"),
            changed(data, channels="5"),
            changed(data, num_frames="0"),
            *([bytes(flipped)] if bits == 8 else []),
        ],
    }
    for message, files in damaged.items():
        for content in files:
            (tmp_path / "a.safetensors").write_bytes(content)
            with pytest.raises(EmbeddingError, match=rf"a\.safetensors .*({message})"):
                load_embedding(tmp_path / "a.safetensors")


def test_values_that_are_not_finite_are_refused() -> None:
    embedding = make_embedding()
    embedding.values[0, 3, 2] = np.nan
    with pytest.raises(EmbeddingError, match="NaN"):
        from_bytes(to_bytes(embedding, 32))
    with pytest.raises(EmbeddingError, match="bits must be one of 8, 4, 32, got 5"):
        to_bytes(make_embedding(), 5)
