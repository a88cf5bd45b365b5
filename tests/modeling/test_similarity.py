"""Neighbours: the same piece is found in other codecs and when cut, by the embedding of a model that knows nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE

from unlossy import UnlossyAutoencoder, encode, similar
from unlossy.codecs import degrade
from unlossy.embedding import EmbeddingError, save_embedding
from unlossy.similarity import best_match, embedding_of, rank


def write_piece(path: Path, seed: int, seconds: float = 6.0) -> Path:
    """Random notes with attacks, on a beat of a quarter of a second."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    step = (time / 0.25).astype(int)
    pitches = 110 * 2 ** (random.integers(0, 48, (3, step.max() + 1)) / 12)
    tones = np.sin(2 * np.pi * pitches[:, step] * time).sum(axis=0) * np.exp(-8 * (time % 0.25))
    audio = 0.1 * tones + random.normal(0, 1e-3, (2, len(time)))
    soundfile.write(path, audio.T, RATE)
    return path


@pytest.fixture(scope="module")
def autoencoder(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> UnlossyAutoencoder:
    return make_autoencoder()


def test_same_piece_in_other_codecs(autoencoder: UnlossyAutoencoder, tmp_path: Path) -> None:
    """It ranks first."""
    pieces = [write_piece(tmp_path / f"{seed}.flac", seed) for seed in range(4)]
    degrade(pieces[0], tmp_path / "same.mp3", "mp3", 48)
    degrade(pieces[0], tmp_path / "same.opus", "opus", 48)
    audio, _ = soundfile.read(pieces[0])
    soundfile.write(tmp_path / "excerpt.wav", audio[RATE : 5 * RATE], RATE)
    query = encode(pieces[0], autoencoder)
    paths = [*pieces[1:], *(tmp_path / name for name in ("same.mp3", "same.opus", "excerpt.wav"))]
    neighbours = rank(query, [(path, encode(path, autoencoder)) for path in paths], autoencoder.config)
    assert {neighbour.path.name for neighbour in neighbours[:3]} == {"same.mp3", "same.opus", "excerpt.wav"}
    assert neighbours[2].similarity > neighbours[3].similarity + 0.2
    shifts = {neighbour.path.name: neighbour.shift_s for neighbour in neighbours}
    assert shifts["same.mp3"] == 0
    assert shifts["excerpt.wav"] == pytest.approx(-1, abs=0.1)


def test_similar_takes_files_and_embeddings(autoencoder: UnlossyAutoencoder, tmp_path: Path) -> None:
    pieces = [write_piece(tmp_path / f"{seed}.flac", seed, 3.0) for seed in range(2)]
    stored = tmp_path / "same.embedding.safetensors"
    save_embedding(encode(pieces[0], autoencoder), stored)
    autoencoder.save_pretrained(tmp_path / "model")
    for model in (autoencoder, tmp_path / "model"):
        neighbours = similar(pieces[0], [pieces[1], str(stored)], model)
        assert [neighbour.path for neighbour in neighbours] == [stored, pieces[1]]
        assert neighbours[0].similarity == pytest.approx(1, abs=0.02)


def test_best_match_is_the_cosine_of_the_overlap() -> None:
    random = np.random.default_rng(0)
    query, noise = random.normal(size=(2, 50, 4))
    assert best_match(query, query) == (pytest.approx(1), 0)
    later = np.concatenate([noise[:20], 3 * query])
    assert best_match(query, later) == (pytest.approx(1), 20)
    assert best_match(later, query) == (pytest.approx(1), -20)
    assert best_match(query, noise)[0] < 0.6
    assert best_match(query, -query)[0] < 0.6
    assert best_match(query, np.zeros((50, 4))) == (0, 0)
    assert best_match(query[:1], query[:1]) == (pytest.approx(1), 0)


def test_stored_embedding_of_another_model(
    autoencoder: UnlossyAutoencoder, make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path
) -> None:
    """It is refused."""
    embedding = encode(write_piece(tmp_path / "a.flac", 0, seconds=1.0), autoencoder)
    path = tmp_path / "a.embedding.safetensors"
    save_embedding(embedding, path, bits=32)
    np.testing.assert_array_equal(embedding_of(path, autoencoder).values, embedding.values)
    other = make_autoencoder(embedding_size=16)
    with pytest.raises(EmbeddingError, match="made by another model"):
        embedding_of(path, other)
