"""`restore` and `load_model`: any rate and channel count, blocks, peaks, files, and what they refuse."""

import gc
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from signals import RATE, TINY, noise, snr, tones

from unlossy import ModelNotFoundError, UnlossyAutoencoder, UnlossyConfig, UnlossyModel, load_model, restore
from unlossy.hub.audio_unlossy import AudioError, AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.layout_unlossy import DEFAULT_SPEAKERS, channel_groups
from unlossy.hub.streaming_unlossy import GUARD_SECONDS
from unlossy.hub.tags_unlossy import Tags

RATES = [8_000, 22_050, 44_100, 48_000, 96_000, 192_000]


def restored(audio: np.ndarray, model: Any, rate: int = RATE, **options: Any) -> np.ndarray:
    result = restore(audio, model, sampling_rate=rate, **options).audio
    assert isinstance(result, np.ndarray)
    return result


@pytest.fixture(scope="module")
def identity_model() -> UnlossyModel:
    """Untrained: returns its input."""
    return UnlossyModel(UnlossyConfig(**TINY)).eval()


@pytest.fixture(scope="module")
def louder_model(identity_model: UnlossyModel) -> Any:
    """In place of a model: makes everything 1.5 times as loud."""

    def forward(degraded: torch.Tensor, detail: float, offset: int) -> SimpleNamespace:
        return SimpleNamespace(audio_values=1.5 * degraded)

    class Louder:
        config, device = identity_model.config, torch.device("cpu")
        __call__ = staticmethod(forward)

    return Louder()


@pytest.mark.parametrize("rate", RATES)
def test_rate_length_and_level(identity_model: UnlossyModel, rate: int) -> None:
    audio = tones(rate // 2 + 7, rate=rate)
    result = restore(audio, identity_model, sampling_rate=rate)
    assert result.sampling_rate == max(rate, RATE)
    assert result.num_frames == math.ceil(audio.shape[1] * result.sampling_rate / rate)
    assert isinstance(result.audio, np.ndarray)
    assert result.audio.shape == (2, result.num_frames)
    assert result.audio.dtype == np.float32
    if rate >= RATE:
        assert snr(audio, result.audio) > 90
    else:
        level = np.square(result.audio).mean() / np.square(audio).mean()
        assert level == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("rate", "output_rate"), [(44_100, 48_000), (48_000, 44_100), (22_050, 22_050), (44_100, 8_000)]
)
def test_output_rate_can_be_chosen(identity_model: UnlossyModel, rate: int, output_rate: int) -> None:
    result = restore(tones(20_001), identity_model, sampling_rate=rate, output_sampling_rate=output_rate)
    assert result.sampling_rate == output_rate
    assert result.num_frames == math.ceil(20_001 * output_rate / rate)


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_restored_in_pairs(lively_model: UnlossyModel, channels: int) -> None:
    audio = tones(12_000, channels)
    result = restored(audio, lively_model)
    assert result.shape == audio.shape
    assert snr(audio, result) < 60, "the model must have changed something"
    groups = channel_groups(DEFAULT_SPEAKERS[channels])
    assert sorted(channel for group in groups for channel in group) == list(range(channels))
    for group in groups[-2:]:
        assert snr(restored(audio[group], lively_model), result[group]) > 100


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("threads", [1, 2, 5], ids="{} threads".format)
def test_blocks_agree_with_the_whole(one_thread: None, lively_model: UnlossyModel, rate: int, threads: int) -> None:
    audio = tones(4 * rate + 1234, rate=rate)
    whole = restored(audio, lively_model, rate, block_seconds=10)
    torch.set_num_threads(threads)
    for seconds in (0.5, 1.5, 10):
        blocks = restored(audio, lively_model, rate, block_seconds=seconds)
        assert blocks.shape == whole.shape
        assert snr(whole - audio, blocks - audio) > 60
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("rate", [48_000, 96_000])
def test_what_lies_above_the_network_is_untouched(lively_model: UnlossyModel, rate: int) -> None:
    audio = tones(rate, rate=rate)
    change = restored(audio, lively_model, rate) - audio
    window = np.hanning(rate)
    energy = np.square(np.abs(np.fft.rfft(change * window))).sum(axis=0)  # a bin is 1 Hz wide
    assert energy[100:20_000].mean() > 1e8 * energy[22_100:].mean()


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_silence_stays_silent(lively_model: UnlossyModel, rate: int) -> None:
    assert not restored(np.zeros((2, 20_000), np.float32), lively_model, rate).any()


def test_detail_reaches_the_model(lively_model: UnlossyModel) -> None:
    audio = tones(20_000)
    faithful = lively_model(torch.from_numpy(audio)[None], detail=0.0).audio_values[0].detach().numpy()
    assert snr(faithful, restored(audio, lively_model, detail=0.0)) > 90
    assert snr(faithful, restored(audio, lively_model)) < 60


def burst(peak: float, rate: int = RATE) -> np.ndarray:
    """Two seconds of a quiet tone with 10 ms of a loud one after a second."""
    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * 441 * time) * np.where(np.abs(time - 1) < 0.005, peak, 0.3)
    return np.stack([tone, 0.5 * tone]).astype(np.float32)


def test_peaks_are_guarded(louder_model: Any) -> None:
    audio = burst(0.9)
    result = restored(audio, louder_model)
    assert 0.9999 < np.abs(result).max() <= 1
    reach = round((0.005 + 2 * GUARD_SECONDS) * RATE) + 2
    for part in (slice(0, RATE - reach), slice(RATE + reach, None)):
        np.testing.assert_allclose(result[:, part], 1.5 * audio[:, part], atol=1e-6)
    # Turned down, both channels by the same factor, instead of clipped.
    np.testing.assert_allclose(result[1], result[0] / 2, atol=5e-6)
    blocks = restored(audio, louder_model, block_seconds=0.5)
    np.testing.assert_allclose(blocks, result, atol=1e-6)


def test_a_float_array_may_exceed_full_scale_where_its_original_does(louder_model: Any) -> None:
    result = restored(burst(1.2), louder_model)
    assert np.abs(result).max() == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("peak", [0.9, 1.2])
def test_an_integer_file_is_guarded_instead_of_clipped(louder_model: Any, tmp_path: Path, peak: float) -> None:
    restore(burst(peak), louder_model, sampling_rate=RATE, output=tmp_path / "out.flac")
    with AudioReader(tmp_path / "out.flac") as reader:
        written = np.concatenate(list(reader.blocks(RATE)), axis=1)
    assert written.shape == (2, 2 * RATE)
    assert np.abs(written).max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(written[1], written[0] / 2, atol=5e-6)


def test_the_guard_works_at_the_edges(louder_model: Any) -> None:
    for samples in (1, 10, 1000):
        result = restored(np.full((1, samples), 0.9, np.float32), louder_model)
        np.testing.assert_allclose(result, 1, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, np.float64, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3000,), (1, 3000), (2, 3000)])
def test_the_result_is_like_the_input(identity_model: UnlossyModel, kind: Any, shape: tuple[int, ...]) -> None:
    samples = tones(3000, 2)[: shape[0] if len(shape) == 2 else 1].reshape(shape)
    audio = torch.from_numpy(samples).to(kind) if isinstance(kind, torch.dtype) else samples.astype(kind)
    result = restore(audio, identity_model, sampling_rate=RATE).audio
    assert isinstance(result, torch.Tensor) == isinstance(audio, torch.Tensor)
    assert result is not None
    assert result.shape == shape
    assert snr(samples, np.asarray(result)) > 40


@pytest.mark.parametrize(
    ("audio", "options", "message"),
    [
        (
            np.zeros((2, 100), np.int16),
            {},
            "float samples within ±1, got int16; divide integers by full scale",
        ),
        (torch.zeros(2, 100, dtype=torch.int32), {}, "float samples within ±1, got int32"),
        (np.zeros((2, 100), np.complex64), {}, "got complex64"),
        (np.zeros((1, 2, 100)), {}, r"1 to 8 channels, samples\), got \(1, 2, 100\)"),
        (np.zeros((9, 100)), {}, r"got \(9, 100\)"),
        (np.zeros((100, 2)), {}, r"got \(100, 2\)"),
        (np.zeros(()), {}, r"got \(\)"),
        (np.zeros((2, 0)), {}, "the audio has no samples"),
        (np.zeros(0), {}, "the audio has no samples"),
        (np.array([0, np.nan]), {}, "NaN or infinite"),
        (np.array([0, -np.inf]), {}, "NaN or infinite"),
        (np.zeros(100), {"sampling_rate": None}, "an array needs its sampling_rate"),
        (np.zeros(100), {"sampling_rate": 4000}, r"whole number from 8000 to 192000 \[Hz\], got 4000"),
        (
            np.zeros(100),
            {"output_sampling_rate": 0},
            r"output_sampling_rate must be a whole number from 8000 to 192000 \[Hz\], got 0",
        ),
        (np.zeros(100), {"sampling_rate": 44100.5}, r"got 44100\.5"),
        (np.zeros(100), {"sampling_rate": math.nan}, "got nan"),
        (np.zeros(100), {"sampling_rate": "44.1k"}, r"got '44\.1k'"),
        ([[0.1, 0.2], [0.3]], {}, "the channels differ in length"),
        (
            {"array": [0.1]},
            {"sampling_rate": None},
            "expected a file's name, its bytes, a file object or an array, not",
        ),
        (np.full(100, 1e30), {}, r"reach 1e\+30 times full scale"),
        (np.zeros(100), {"detail": 1.5}, "detail must be from 0 to 1, got 1.5"),
        (np.zeros(100), {"detail": math.nan}, "detail must be from 0 to 1, got nan"),
        ("song.mp3", {}, "a file knows its own"),
    ],
)
def test_wrong_arguments_are_refused(
    identity_model: UnlossyModel, audio: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        restore(audio, identity_model, **({"sampling_rate": RATE} | options))


def test_a_format_has_its_own_rate(identity_model: UnlossyModel, tmp_path: Path) -> None:
    result = restore(tones(RATE), identity_model, sampling_rate=RATE, output=tmp_path / "song.opus")
    assert (result.sampling_rate, result.num_frames) == (48_000, 48_000)
    with AudioReader(tmp_path / "song.opus") as reader:
        assert (reader.sampling_rate, reader.num_frames) == (48_000, 48_000)


def test_file_in_file_out(lively_model: UnlossyModel, tmp_path: Path) -> None:
    audio = tones(3 * RATE)
    with AudioWriter(tmp_path / "in.flac", RATE, 2, tags=Tags({"title": ["Canon"], "artist": ["Pachelbel"]})) as writer:
        writer.write(audio)
    shares: list[float] = []
    result = restore(tmp_path / "in.flac", lively_model, output=tmp_path / "out.wav", progress=shares.append)
    assert (result.audio, result.output) == (None, tmp_path / "out.wav")
    assert (result.sampling_rate, result.num_frames) == (RATE, audio.shape[1])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with AudioReader(tmp_path / "out.wav") as reader:
        assert reader.tags.fields == {"title": ["Canon"], "artist": ["Pachelbel"]}
        written = np.concatenate(list(reader.blocks(RATE)), axis=1)
    assert snr(restored(audio, lively_model), written) > 80


def test_mp3_in_array_out(identity_model: UnlossyModel, tmp_path: Path) -> None:
    audio = tones(RATE)
    with AudioWriter(tmp_path / "in.mp3", RATE, 2) as writer:
        writer.write(audio)
    result = restore(str(tmp_path / "in.mp3"), identity_model)
    assert result.audio is not None
    assert result.audio.shape == audio.shape
    assert result.output is None
    assert snr(audio, np.asarray(result.audio)) > 15


def test_a_failure_leaves_no_file(lively_model: UnlossyModel, write_chord: Callable[..., Path], tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    song = write_chord(seconds=3)
    with pytest.raises(KeyboardInterrupt):
        restore(song, lively_model, output=tmp_path / "out.flac", progress=interrupt)
    with pytest.raises(AudioError, match="exists already"):
        restore(song, lively_model, output=song)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


@pytest.fixture
def saved_model(lively_model: UnlossyModel, tmp_path: Path) -> Path:
    lively_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_load_model(saved_model: Path) -> None:
    for device in ("auto", "cpu"):
        model = load_model(saved_model, device)  # without an export
        assert isinstance(model, UnlossyModel)
        assert not model.training
        assert model.device.type == "cpu"


@pytest.mark.parametrize("device", ["tpu", "cuda:9"])
def test_unknown_device_is_refused(saved_model: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}' is not available"):
        load_model(saved_model, device)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncate_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def overwrite_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def shrink_config(folder: Path) -> None:
    UnlossyConfig(hidden_sizes=(4, 4), depths=(1, 1), embedding_size=16).save_pretrained(folder)


def break_config(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"n_fft": 2048', '"n_fft": 100'))


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def name_another_model(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "vocab_size": 3}')


@pytest.mark.parametrize(
    "damage",
    [
        remove_weights,
        truncate_weights,
        overwrite_weights,
        shrink_config,
        break_config,
        spoil_config,
        name_another_model,
    ],
)
def test_damaged_model_is_named(saved_model: Path, damage: Callable[[Path], None]) -> None:
    damage(saved_model)
    with pytest.raises(ModelNotFoundError, match="model") as caught:
        load_model(saved_model)
    assert str(caught.value).startswith(f"{saved_model}: ")


def test_an_autoencoder_is_no_restorer(make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path) -> None:
    model = make_autoencoder()
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelNotFoundError, match="this model is an autoencoder; name a restorer with --model"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="is an autoencoder: name a restorer"):
        restore(np.zeros(5000, np.float32), model, sampling_rate=RATE)  # type: ignore[arg-type]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no Unlossy model found"):
        load_model(tmp_path / "nothing")


def test_audio_is_in_no_cycle_of_references(lively_model: UnlossyModel, tmp_path: Path) -> None:
    """A server's memory grew by 15 MB with every clip, until Python's collector came by."""
    audio = tones(RATE)
    restore(audio, lively_model, sampling_rate=RATE, output=tmp_path / "first.flac")
    gc.collect()
    gc.disable()
    try:
        restore(audio, lively_model, sampling_rate=RATE, output=tmp_path / "second.flac")
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_silent_channel_and_a_pause_stay_silent(lively_model: UnlossyModel) -> None:
    audio = noise(3 * 44_100)
    audio[1] = 0  # everything is on the left, with a pause
    audio[0, 44_100:88_200] = 0
    result = restored(audio, lively_model)
    assert not result[1].any()
    assert not result[0, 44_100:88_200].any()
    assert (result[0, :44_100] != audio[0, :44_100]).any()
