"""What containers declare: lengths that are wrong, tags that say what counts, codecs that nothing decodes."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from odd_files import encode, make_music, wav_bytes
from signals import RATE, read_with_warnings

from unlossy.hub.audio_unlossy import AudioError, AudioReader, TruncatedError
from unlossy.hub.container_unlossy import is_made_up


def test_a_length_that_a_recorder_made_up_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, make_music(1).T, RATE)
    data = path.read_bytes()
    lengths = [struct.pack("<I", 2 * 10**9 + header) for header in (36, 0)]
    path.write_bytes(data[:4] + lengths[0] + data[8:40] + lengths[1] + data[44:])
    result, warnings = read_with_warnings(path)
    assert result.shape == (2, RATE)
    assert warnings == [f"{path} declares too much: 1.0 s of 11337.9 s can be decoded"]
    with pytest.raises(AudioError, match="declares too much"):
        read_with_warnings(path, strict=True)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match=r"truncated or damaged: 0\.5 s of 1\.0 s"):
        read_with_warnings(path)
    assert "0.5 s of 1.0 s" in read_with_warnings(path, partial=True)[1][0]


def test_round_numbers_are_made_up() -> None:
    assert all(is_made_up(size + 44) for size in (10**9, 2 * 10**9, 2**30, 2**31 - 2**20))
    assert not any(is_made_up(size + 44) for size in (10**6, 1_234_567_890, 1_500_000_000 - 44 * 1000))


def test_an_aiff_that_is_all_there_is_read_whatever_its_header_counts(tmp_path: Path) -> None:
    path = tmp_path / "in.aiff"
    soundfile.write(path, make_music(1).T, RATE)
    data = bytearray(path.read_bytes())
    place = data.find(b"COMM") + 10
    data[place : place + 4] = struct.pack(">I", 2 * RATE)
    path.write_bytes(data)
    result, warnings = read_with_warnings(path)
    assert result.shape == (2, RATE)
    assert "declares too much: 1.0 s of 2.0 s" in warnings[0]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match="truncated"):
        read_with_warnings(path)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "CAF", "AIFF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "ULAW"])
def test_samples_that_a_header_counts_and_the_file_lacks(tmp_path: Path, container: str, subtype: str) -> None:
    path = tmp_path / "in"
    soundfile.write(path, make_music(2).T, RATE, subtype, format=container)
    data = path.read_bytes()
    assert read_with_warnings(path, strict=True)[0].shape == (2, 2 * RATE)
    path.write_bytes(data[: round(0.95 * len(data))])
    assert read_with_warnings(path)[1] == [f"{path} is truncated or damaged: 1.9 s of 2.0 s can be decoded"]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match=r"truncated or damaged: 1\.0 s of 2\.0 s"):
        read_with_warnings(path)


def test_an_aiff_in_adpcm_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "in.aiff"
    data = encode(make_music(2), "aiff", "adpcm_ima_qt", kind="s16p")
    path.write_bytes(data)
    assert read_with_warnings(path, strict=True)[0].shape[1] >= 2 * RATE
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError, match=r"truncated or damaged: 1\.0 s of 2\.0 s"):
        read_with_warnings(path)


def with_itunes_tag(data: bytes, priming: int, length: int) -> bytes:
    """An M4A with the tag in place of its comment and of its edit list."""
    text = f" 00000000 {priming:08X} {-(priming + length) % 1024:08X} {length:016X}" + " 00000000" * 8

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    new = box(
        b"----",
        box(b"mean", bytes(4) + b"com.apple.iTunes")
        + box(b"name", bytes(4) + b"iTunSMPB")
        + box(b"data", struct.pack(">II", 1, 0) + text.encode()),
    )
    changed = bytearray(data.replace(b"edts", b"free", 1))
    place = changed.find(b"\xa9cmt") - 4
    size = int.from_bytes(changed[place : place + 4], "big")
    assert len(new) == size
    changed[place : place + size] = new
    return bytes(changed)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, RATE])
def test_what_the_tag_of_itunes_says_counts(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "in.m4a"
    length = round(1.8 * rate)
    data = encode(make_music(2, rate, 1), "mp4", "aac", rate, tags={"comment": "x" * 164})
    path.write_bytes(with_itunes_tag(data, 2112, length))
    result, warnings = read_with_warnings(path, strict=True)
    assert warnings == []
    assert result.shape == (1, length)
    path.write_bytes(with_itunes_tag(data, 2112, rate))  # of another, shorter file
    assert read_with_warnings(path, partial=True)[0].shape[1] > length


@pytest.mark.parametrize(("tag", "bits"), [(0x1234, 16), (1, 36)])
def test_a_codec_that_nothing_decodes_is_named(tmp_path: Path, tag: int, bits: int) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, make_music(1).T, RATE)
    data = bytearray(path.read_bytes())
    data[20:22], data[34:36] = struct.pack("<H", tag), struct.pack("<H", bits)
    if bits == 36:
        data[32:34] = struct.pack("<H", 10)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=rf"codec that FFmpeg can't decode .*0x{tag:04x}\): convert it"):
        AudioReader(path)


@pytest.mark.parametrize(
    ("container", "subtype", "rate", "channels"),
    [
        ("WAV", "MS_ADPCM", 22_050, 2),
        ("WAV", "GSM610", 8_000, 1),
        ("W64", "GSM610", 8_000, 1),
        ("AIFF", "GSM610", 8_000, 1),
        ("CAF", "ALAC_16", RATE, 1),
        ("CAF", "ALAC_24", RATE, 2),
    ],
)
def test_blocks_that_are_not_full_are_not_filled(
    tmp_path: Path, container: str, subtype: str, rate: int, channels: int
) -> None:
    path = tmp_path / "in"
    audio = make_music(1.5001, rate, channels)
    soundfile.write(path, audio.T, rate, format=container, subtype=subtype)
    result, warnings = read_with_warnings(path)
    assert result.shape == audio.shape
    assert warnings == []
    assert np.corrcoef(result[0], audio[0])[0, 1] > 0.95


def test_adpcm_in_a_video_is_not_taken_for_truncated(tmp_path: Path) -> None:
    path = tmp_path / "in.avi"
    path.write_bytes(encode(make_music(1), "avi", "adpcm_ms", kind="s16"))
    assert read_with_warnings(path)[0].shape[1] >= RATE


def test_a_count_that_cannot_be_true_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "in.w64"  # libsndfile writes a wrong count here
    soundfile.write(path, make_music(1, 8_000, 1).T, 8_000, format="W64", subtype="MS_ADPCM")
    result, warnings = read_with_warnings(path)
    assert result.shape[1] >= 8_000
    assert len(warnings) == 1
    assert "declares too much" in warnings[0]


def test_integers_of_64_bits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    audio = make_music(1, channels=3)
    path.write_bytes(wav_bytes((audio.T * 2.0**63).astype("<i8"), RATE))
    with AudioReader(path) as reader:
        assert reader.bits_per_sample == 64
        np.testing.assert_allclose(next(reader.blocks(RATE)), audio, atol=1e-7)
