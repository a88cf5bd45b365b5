"""`encode` and `decode`: blocks, rates and channels, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from signals import CANON, RATE, noise, tones

from unlossy import UnlossyAutoencoder, UnlossyModel, decode, encode, load_autoencoder
from unlossy.embedding import BITS, Embedding, EmbeddingError, from_bytes, to_bytes
from unlossy.hub.audio_unlossy import AudioReader


@pytest.fixture(scope="module")
def autoencoder(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> UnlossyAutoencoder:
    """Kernels of 3, so that little is seen around a sample and short audio has many blocks. Its random weights are
    turned down to what is audio: at ten times full scale, rounding is ten times as much."""
    model = make_autoencoder(kernel_size=3, noise_attenuation=0.0)
    with torch.no_grad():
        model.envelope_coder.linear_decoder.bias.sub_(1.0)  # 26 dB
        model.envelope_coder.linear_decoder.weight.mul_(0.3)
    return model


def decoded(embedding: Embedding, model: UnlossyAutoencoder, **options: float) -> np.ndarray:
    audio = decode(embedding, model, **options).audio  # type: ignore[arg-type]
    assert isinstance(audio, np.ndarray)
    return audio


@pytest.mark.parametrize("samples", [1, 30_000, 98_765])
def test_blocks(autoencoder: UnlossyAutoencoder, samples: int) -> None:
    """They give the embedding and the audio of the whole."""
    audio = tones(samples)
    embedding = encode(audio, autoencoder, sampling_rate=RATE, block_seconds=0.2)
    with torch.no_grad():
        whole = autoencoder.encode(torch.from_numpy(audio)[None]).embeddings
        assert whole is not None
        values = torch.from_numpy(embedding.values)
        torch.testing.assert_close(values, whole, atol=1e-4, rtol=1e-4)
        for detail in (0.0, 1.0):
            wanted = autoencoder.decode(values, num_samples=samples, detail=detail).audio_values
            assert wanted is not None
            given = decoded(embedding, autoencoder, detail=detail, block_seconds=0.2)
            np.testing.assert_allclose(given, wanted[0].numpy(), atol=1e-5)
    assert np.abs(given).max() > 0


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (48_000, 2), (96_000, 1), (44_100, 6)])
def test_rate_length_and_channels_come_back(autoencoder: UnlossyAutoencoder, rate: int, channels: int) -> None:
    audio = tones(rate // 7, channels)
    embedding = encode(audio, autoencoder, sampling_rate=rate)
    assert embedding.values.shape[0] == {1: 1, 2: 1, 6: 4}[channels]
    given = decode(embedding, autoencoder)
    assert (given.sampling_rate, given.num_frames) == (rate, rate // 7)
    assert isinstance(given.audio, np.ndarray)
    assert given.audio.shape == audio.shape


def test_files(autoencoder: UnlossyAutoencoder, write_chord: Callable[..., Path], tmp_path: Path) -> None:
    """They keep their tags, and stay within full scale."""
    embedding = replace(encode(write_chord(), autoencoder), tags={"title": ["Chord"]})
    loud = replace(embedding, values=embedding.values * 20)
    result = decode(loud, autoencoder, output=tmp_path / "out.wav", bit_depth="16")
    assert (result.num_frames, result.audio) == (22_050, None)
    with AudioReader(tmp_path / "out.wav") as reader:
        assert reader.tags.fields["title"] == ["Chord"]
        (block,) = reader.blocks(RATE)
    assert np.abs(block).max() <= 1
    # The guard turns peaks down; clipping would leave many samples at full scale.
    assert (np.abs(block) > 0.9999).mean() < 0.2


def test_foreign_embedding(
    autoencoder: UnlossyAutoencoder, make_autoencoder: Callable[..., UnlossyAutoencoder]
) -> None:
    """An embedding of another model or length is refused."""
    embedding = encode(tones(10_000), autoencoder, sampling_rate=RATE)
    other = make_autoencoder(embedding_size=16)
    with pytest.raises(EmbeddingError, match=r"made by the model .* name that one with --model"):
        decode(embedding, other)
    for values in (embedding.values[:, :-1], embedding.values[..., :-1]):
        with pytest.raises(EmbeddingError, match="encode the audio again"):
            decode(replace(embedding, values=values), autoencoder)
    with pytest.raises(ValueError, match="detail must be from 0 to 1, got 2"):
        decode(embedding, autoencoder, detail=2.0)


def test_a_model_may_be_given_by_its_name(autoencoder: UnlossyAutoencoder, tmp_path: Path) -> None:
    autoencoder.save_pretrained(tmp_path / "model")
    audio = noise(20_000)
    embedding = encode(audio, str(tmp_path / "model"), sampling_rate=44_100)
    np.testing.assert_array_equal(embedding.values, encode(audio, autoencoder, sampling_rate=44_100).values)
    decode(embedding, tmp_path / "model", output=tmp_path / "decoded.audio", format="wav")
    frames, rate = soundfile.read(tmp_path / "decoded.audio")
    assert (frames.shape, rate) == ((20_000, 2), 44_100)


def test_a_restorer_is_refused(lively_model: UnlossyModel, tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="is a restorer: name an autoencoder with --model"):
        encode(tones(10_000), lively_model, sampling_rate=RATE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is a restorer"):
        load_autoencoder(tiny_model)


def test_shipped_autoencoder() -> None:
    """It rebuilds music with one value for eleven samples."""
    model = load_autoencoder()
    with AudioReader(CANON) as reader:
        audio = np.concatenate(list(reader.blocks(RATE)), axis=1)
    embedding = encode(audio, model, sampling_rate=RATE)
    assert embedding.values.size * 11 <= 1.01 * audio.size
    errors = {}
    for bits in BITS:
        decoded = np.asarray(decode(from_bytes(to_bytes(embedding, bits)), model, detail=0.0).audio)
        errors[bits] = 10 * np.log10(np.square(audio).sum() / np.square(audio - decoded).sum())
    assert errors[32] > 9.5  # what is below 2 kHz alone makes 7.2
    assert errors[8] > errors[32] - 0.1
    assert errors[4] > errors[32] - 1


def test_audio_beyond_reason_is_refused(autoencoder: UnlossyAutoencoder) -> None:
    with pytest.raises(ValueError, match="times full scale"):
        encode(np.full((2, 5000), 3e38, np.float32), autoencoder, sampling_rate=RATE)
