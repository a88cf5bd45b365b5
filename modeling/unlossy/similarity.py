"""Which pieces of a folder are most like one: their embeddings, shifted against each other, compared by cosine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .autoencoding import encode, ready_autoencoder
from .embedding import SUFFIX, Embedding, EmbeddingError, fingerprint_of, load_embedding
from .hub.onnx_unlossy import OnnxAutoencoder, OnnxAutoencoderConfig

if TYPE_CHECKING:
    from .hub.configuration_unlossy_autoencoder import UnlossyAutoencoderConfig
    from .hub.modeling_unlossy_autoencoder import UnlossyAutoencoder

POOLED = 8  # frames that are averaged into one, 93 ms: what encoders shift is less
LEAST_OVERLAP = 0.5  # of the shorter piece


@dataclass(frozen=True)
class Neighbour:
    """
    Attributes:
        path (`Path`): the file.
        similarity (`float`): from −1 to 1; 1 for the same.
        shift_s (`float`): how much later the match is in it than in the query [s].
    """

    path: Path
    similarity: float
    shift_s: float


def summary(embedding: Embedding, size: int) -> np.ndarray:
    """The sequence that pieces are compared by, `(steps, size)`: means over `POOLED` frames of the first channels'
    envelope, without the mean over time, which tells more of a codec than of the music. The waveform's values would
    match only where frames begin at the same sample."""
    values = embedding.values[0, :, :size]
    steps = -(-len(values) // POOLED)
    starts = np.arange(steps) * POOLED
    counts = np.diff(starts, append=len(values))[:, None]
    pooled = np.add.reduceat(values, starts, axis=0) / counts
    return pooled - pooled.mean(axis=0)


def best_match(query: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """The highest cosine over all shifts, each of what overlaps then, and its shift.

    Args:
        query, other (`np.ndarray` of shape `(steps, size)`): see [`summary`].

    Returns:
        the similarity, 0 where there is nothing but silence, and how much later it is in `other` [steps].
    """
    least = max(round(LEAST_OVERLAP * min(len(query), len(other))), 1)
    length = len(query) + len(other) - 1
    # products[shift] = Σ query[t] · other[t + shift]; negative shifts are at the end.
    spectra = np.conj(np.fft.rfft(query, length, axis=0)) * np.fft.rfft(other, length, axis=0)
    products = np.fft.irfft(spectra.sum(axis=1), length)
    shifts = np.arange(least - len(query), len(other) - least + 1)
    energies = [np.append(0.0, np.square(part, dtype=np.float64).sum(axis=1).cumsum()) for part in (query, other)]
    start, stop = np.maximum(-shifts, 0), np.minimum(len(query), len(other) - shifts)
    first = energies[0][stop] - energies[0][start]
    second = energies[1][stop + shifts] - energies[1][start + shifts]
    # An overlap with hardly anything in it matches anything.
    heard = (first > 1e-2 * energies[0][-1]) & (second > 1e-2 * energies[1][-1]) & (first * second > 0)
    if not heard.any():
        return 0.0, 0
    cosines = np.where(heard, products[shifts] / np.sqrt(np.where(heard, first * second, 1.0)), -1.0)
    best = int(cosines.argmax())
    return float(min(cosines[best], 1.0)), int(shifts[best])


def similar(
    query: str | os.PathLike[str],
    others: Iterable[str | os.PathLike[str]],
    model: UnlossyAutoencoder | OnnxAutoencoder | str | os.PathLike[str] | None = None,
    *,
    strict: bool = False,
    partial: bool = False,
) -> list[Neighbour]:
    """Rank files by how much they sound like one, whatever codecs they went through.

    Args:
        query, others: audio files, or embeddings written by [`unlossy.save_embedding`].
        model (`UnlossyAutoencoder`, `OnnxAutoencoder`, Hub id or folder, *optional*): the autoencoder in the package by
            default.
        strict, partial (`bool`, default to `False`): see [`unlossy.restore`].

    Returns:
        all others, the most similar first.

    Raises:
        EmbeddingError: an embedding made by another model.
        ValueError: a file that can't be read.
    """
    model = ready_autoencoder(model)
    found = [(Path(path), embedding_of(path, model, strict=strict, partial=partial)) for path in others]
    return rank(embedding_of(query, model, strict=strict, partial=partial), found, model.config)


def embedding_of(
    path: str | os.PathLike[str],
    model: UnlossyAutoencoder | OnnxAutoencoder,
    *,
    strict: bool = False,
    partial: bool = False,
) -> Embedding:
    """The embedding of an audio file, read as [`unlossy.restore`] reads it, or what an embedding's file holds.

    Raises:
        EmbeddingError: made by another model.
        ValueError: neither can be read.
    """
    if not os.fspath(path).endswith(SUFFIX):
        return encode(path, model, strict=strict, partial=partial)
    embedding = load_embedding(path)
    if embedding.fingerprint != fingerprint_of(model):
        raise EmbeddingError(f"{path} was made by another model ({embedding.model}): encode the audio again")
    return embedding


def rank(
    query: Embedding,
    others: Sequence[tuple[Path, Embedding]],
    config: UnlossyAutoencoderConfig | OnnxAutoencoderConfig,
) -> list[Neighbour]:
    """All others, the most similar first.

    Args:
        config (`UnlossyAutoencoderConfig` or `OnnxAutoencoderConfig`): of the model that made the embeddings.
    """
    first, *rest = [
        summary(embedding, config.envelope_size) for embedding in (query, *(embedding for _, embedding in others))
    ]
    # Every dimension counts the same, however widely it varies.
    scale = np.sqrt(np.mean([np.square(sequence).mean(axis=0) for sequence in (first, *rest)], axis=0)) + 1e-9
    matches = [best_match(first / scale, sequence / scale) for sequence in rest]
    neighbours = [
        Neighbour(path, similarity, shift * POOLED / config.frame_rate)
        for (path, _), (similarity, shift) in zip(others, matches, strict=True)
    ]
    return sorted(neighbours, key=lambda neighbour: -neighbour.similarity)
