"""Real encoders: aligned, of the asked length and bitrate, and clear about what they cannot do."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE, find_lag, noise, notes

from unlossy import codecs
from unlossy.codecs import BITRATE_RANGES, CODECS, check_bitrate, decode, degrade, encode
from unlossy.hub.audio_unlossy import AudioError, AudioReader


@pytest.mark.parametrize("frames", [RATE + 1, 5_001, 1_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec", CODECS)
def test_decoded_audio_is_aligned(codec: str, channels: int, frames: int) -> None:
    for audio in (notes(frames, channels), noise(frames, channels)):
        result = decode(encode(audio, RATE, codec, 96), frames)
        assert result.shape == audio.shape
        assert result.dtype == np.float32
        assert find_lag(result, audio) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_lowest_and_highest_bitrates_work(codec: str, channels: int) -> None:
    audio = notes(20_000, channels)
    sizes = []
    for bitrate_kbps in BITRATE_RANGES[codec][channels]:
        data = encode(audio, RATE, codec, bitrate_kbps)
        assert decode(data, 20_000).shape == audio.shape
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


def test_mp3_has_a_constant_bitrate() -> None:
    for bitrate_kbps in (24, 64, 320):
        data = encode(notes(3 * RATE), RATE, "mp3", bitrate_kbps)
        assert len(data) * 8 / 3 / 1000 == pytest.approx(bitrate_kbps, rel=0.06)


@pytest.mark.parametrize("codec", ["mp3", "aac"])
def test_variable_bitrate_by_quality(codec: str) -> None:
    audio = notes(RATE)
    files = [encode(audio, RATE, codec, None, quality=quality) for quality in (0, 4, 9)]
    assert len(files[0]) > len(files[1]) > len(files[2])
    assert len(files[0]) > 2 * len(files[2])
    for data in files:
        assert find_lag(decode(data, RATE), audio) == 0


def test_joint_stereo_and_constant_opus() -> None:
    audio = notes(RATE)
    assert encode(audio, RATE, "mp3", 128) != encode(audio, RATE, "mp3", 128, joint_stereo=False)
    constant = encode(audio, RATE, "opus", 64, opus_cbr=True)
    assert len(constant) * 8 / 1000 == pytest.approx(64, rel=0.06)
    assert len(encode(audio, RATE, "opus", 64)) > 1.2 * len(constant)
    assert find_lag(decode(constant, RATE), audio) == 0


def test_vorbis_bitrate_grows_with_what_is_asked() -> None:
    sizes = [len(encode(noise(RATE), RATE, "vorbis", kbps)) for kbps in (64, 72, 128, 192, 400)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("codec", CODECS)
def test_other_sampling_rates_are_converted(codec: str) -> None:
    audio = encode(notes(48_000, rate=48_000), 48_000, codec, 128)
    assert find_lag(decode(audio, RATE), notes(RATE)) == 0


def test_a_minute_of_vorbis_does_not_crash() -> None:
    encode(noise(65 * RATE), RATE, "vorbis", 64)


def test_what_is_decoded_is_cut_or_padded() -> None:
    data = encode(notes(5_000), RATE, "mp3", 128)
    assert decode(data, 4_000).shape == (2, 4_000)
    longer = decode(data, 6_000)
    assert longer.shape == (2, 6_000)
    assert not longer[:, 5_000:].any()


def test_damaged_data_is_an_audio_error() -> None:
    data = encode(notes(5_000), RATE, "aac", 96)
    for damaged in (b"", b"no audio at all", data[:100], bytes(len(data))):
        with pytest.raises(AudioError, match="compressed audio"):
            decode(damaged, 5_000)


def test_what_cannot_be_encoded() -> None:
    audio = notes(1_000)
    for codec, bitrate_kbps, reason in (
        ("wma", 128, "unknown codec 'wma': choose one of mp3, aac, vorbis, opus"),
        ("mp3", 100, "no bitrate of 100 kbps: choose one of 24, 32"),
        ("vorbis", 48, "stereo takes 64 to 500 kbps, not 48"),
        ("aac", 400, "16 to 320"),
        ("opus", 6, "32 to 510"),
        ("opus", None, "bitrate_kbps is needed"),
    ):
        with pytest.raises(ValueError, match=reason):
            encode(audio, RATE, codec, bitrate_kbps)
    with pytest.raises(ValueError, match="mono and stereo"):
        encode(notes(1_000, 3), RATE, "mp3", 128)
    with pytest.raises(ValueError, match="shape"):
        encode(audio[:, :0], RATE, "mp3", 128)
    with pytest.raises(ValueError, match="quality is 0 to 9"):
        encode(audio, RATE, "mp3", 128, quality=2)
    with pytest.raises(ValueError, match="quality is 0 to 9"):
        encode(audio, RATE, "vorbis", None, quality=2)
    check_bitrate("vorbis", 48, channels=1)


@pytest.mark.parametrize(("codec", "suffix"), [("mp3", "mp3"), ("aac", "m4a"), ("vorbis", "ogg"), ("opus", "opus")])
def test_degrading_a_file(tmp_path: Path, codec: str, suffix: str) -> None:
    audio = notes(100_003)
    soundfile.write(tmp_path / "in.wav", audio.T, RATE, "FLOAT")
    output = tmp_path / f"out.{suffix}"
    degrade(tmp_path / "in.wav", output, codec, 96)
    with AudioReader(output) as reader:
        assert reader.codec == codec
        frames = sum(block.shape[1] for block in reader.blocks(10_000))
        assert frames == -(-100_003 * reader.sampling_rate // RATE)
    result = decode(output.read_bytes(), 100_003)
    assert find_lag(result, audio) == 0
    np.testing.assert_allclose(result, decode(encode(audio, RATE, codec, 96), 100_003), atol=1e-3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.wav", output.name]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "in.wav", notes(20_000).T, RATE)

    def close_and_cut(encoder: codecs._VorbisEncoder) -> None:
        encoder._file.close()
        os.truncate(encoder._file.name, os.path.getsize(encoder._file.name) - 100)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(codecs._VorbisEncoder, "close", close_and_cut)  # libsndfile says nothing
    monkeypatch.setattr(codecs.Encoder, "write", refuse)
    with pytest.raises(AudioError, match=r"out\.ogg: the end is missing"):
        degrade(tmp_path / "in.wav", tmp_path / "out.ogg", "vorbis", 96)
    with pytest.raises(AudioError, match=r"out\.mp3: No space left on device$"):
        degrade(tmp_path / "in.wav", tmp_path / "out.mp3", "mp3", 96)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.wav"]


def test_what_cannot_be_degraded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", notes(1_000).T, RATE)
    soundfile.write(tmp_path / "surround.wav", notes(1_000, 6).T, RATE)
    (tmp_path / "there.mp3").write_bytes(b"precious")
    with pytest.raises(ValueError, match="unknown codec"):
        degrade(tmp_path / "in.wav", tmp_path / "out.mp3", "mp2", 128)
    with pytest.raises(ValueError, match="no bitrate of 100"):
        degrade(tmp_path / "in.wav", tmp_path / "out.mp3", "mp3", 100)
    with pytest.raises(ValueError, match=r"ends in \.m4a"):
        degrade(tmp_path / "in.wav", tmp_path / "out.mp3", "aac", 128)
    with pytest.raises(ValueError, match="6 channels"):
        degrade(tmp_path / "surround.wav", tmp_path / "out.mp3", "mp3", 128)
    with pytest.raises(AudioError, match="exists already"):
        degrade(tmp_path / "in.wav", tmp_path / "there.mp3", "mp3", 128)
    with pytest.raises(AudioError, match="no such file"):
        degrade(tmp_path / "nowhere.wav", tmp_path / "out.mp3", "mp3", 128)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.wav", "surround.wav", "there.mp3"]
