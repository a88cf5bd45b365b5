"""Files whose rate, channels or codec change on their way: jingles before programmes, recordings of radio stations."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from odd_files import encode, find_lag_of_end, frames_of_mp3, make_music
from signals import RATE

from unlossy.hub.audio_unlossy import AudioError, AudioReader
from unlossy.hub.layout_unlossy import DEFAULT_SPEAKERS
from unlossy.hub.mpeg_unlossy import format_varies


def mp3(audio: np.ndarray, rate: int = RATE) -> bytes:
    return encode(audio, "mp3", "libmp3lame", rate, write_xing="0")


def aac(audio: np.ndarray, rate: int = RATE) -> bytes:
    return encode(audio, "adts", "aac", rate)


def flac(audio: np.ndarray, rate: int = RATE) -> bytes:
    return encode(audio, "flac", "flac", rate, "s16")


def ogg_flac(audio: np.ndarray, rate: int = RATE) -> bytes:
    return encode(audio, "ogg", "flac", rate, "s16")


def opus(audio: np.ndarray, rate: int = 48_000) -> bytes:
    return encode(audio, "ogg", "libopus", rate, "flt")


def vorbis(audio: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, rate, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


def ac3(audio: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    layout = "+".join(DEFAULT_SPEAKERS[len(audio)])
    with av.open(buffer, "w", format="ac3") as output:
        stream = output.add_stream("ac3", rate=48_000, layout=layout)
        stream.bit_rate = 384_000
        packed = np.ascontiguousarray(audio.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return buffer.getvalue()


def read(path: Path, data: bytes) -> tuple[np.ndarray, AudioReader]:
    path.write_bytes(data)
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(10_000)), axis=1), reader


@pytest.mark.parametrize("coder", [mp3, aac, vorbis, opus])
@pytest.mark.parametrize("order", [1, -1])
def test_mono_and_stereo_become_stereo(tmp_path: Path, coder: object, order: int) -> None:
    assert callable(coder)
    rate = 48_000 if coder is opus else RATE
    stereo, mono = make_music(1.5, rate), make_music(1.5, rate, 1, seed=1)
    parts = [(coder(mono, rate), np.repeat(mono, 2, axis=0)), (coder(stereo, rate), stereo)][::order]
    result, reader = read(tmp_path / "in", b"".join(data for data, _ in parts))
    assert (reader.sampling_rate, reader.speakers) == (rate, ("FL", "FR"))
    assert result.shape[1] == pytest.approx(3 * rate, abs=5000)
    assert len(reader.warnings) == 1
    assert "changes its sampling rate or channels at 1.5" in reader.warnings[0]
    assert f"all of it is read at {rate} Hz with FL+FR" in reader.warnings[0]
    for (_, wanted), half in zip(parts, (result[:, : rate * 3 // 2], result[:, -rate * 3 // 2 :]), strict=True):
        # The level stays, and mono is the same on both sides.
        levels, expected = (np.sqrt(np.square(audio).mean(axis=1)) for audio in (half, wanted))
        np.testing.assert_allclose(levels, expected, rtol=0.1)
        is_mono = np.array_equal(wanted[0], wanted[1])
        difference = np.abs(half[0, 9000:-9000] - half[1, 9000:-9000]).max()
        assert difference < 1e-4 if is_mono else difference > 0.05
    with pytest.raises(AudioError, match=r"changes its sampling rate or channels after 1\.5"):
        list(AudioReader(tmp_path / "in", strict=True).blocks(10_000))


@pytest.mark.parametrize("coder", [mp3, aac, vorbis])
@pytest.mark.parametrize("rates", [(RATE, RATE // 2), (RATE // 2, RATE)])
def test_the_higher_rate_is_kept(tmp_path: Path, coder: object, rates: tuple[int, int]) -> None:
    assert callable(coder)
    result, reader = read(tmp_path / "in", b"".join(coder(make_music(1.5, rate), rate) for rate in rates))
    assert reader.sampling_rate == RATE
    assert result.shape[1] == pytest.approx(3 * RATE, abs=6000)
    assert "changes its sampling rate" in reader.warnings[0]


def test_links_of_a_chain_are_exact_whatever_their_codec(tmp_path: Path) -> None:
    audio = make_music(1)
    resampled = make_music(1, 48_000)
    data = vorbis(audio) + opus(resampled) + ogg_flac(audio) + vorbis(audio) + vorbis(audio)
    result, reader = read(tmp_path / "in.ogg", data)
    assert result.shape == (2, 5 * 48_000)
    assert reader.num_frames == 5 * 48_000
    assert len(reader.warnings) == 1
    last, _ = read(tmp_path / "last.ogg", vorbis(audio) * 3)
    assert last.shape == (2, 3 * RATE)
    for part in np.split(last, 3, axis=1):
        assert find_lag_of_end(part, audio) == 0


def test_a_link_that_is_damaged_costs_itself(tmp_path: Path) -> None:
    audio = make_music(1)
    broken = bytearray(vorbis(audio))
    broken[40:3000] = bytes(2960)  # its headers
    result, reader = read(tmp_path / "in.ogg", vorbis(audio) + bytes(broken) + vorbis(audio))
    assert result.shape[1] in range(2 * RATE, 3 * RATE + 1)
    assert find_lag_of_end(result[:, -RATE:], audio) == 0
    assert reader.warnings


def test_surround_that_follows_stereo_is_mixed_down(tmp_path: Path) -> None:
    stereo, surround = make_music(1, 48_000), make_music(1, 48_000, 6)
    result, reader = read(tmp_path / "in.ac3", ac3(stereo) + ac3(surround))
    assert len(result) == 2
    assert result.shape[1] == pytest.approx(2 * 48_000, abs=3100)
    assert np.abs(result[:, -40_000:]).mean() > 0.5 * np.abs(surround[:2, -40_000:]).mean()
    assert "FL+FR" in reader.warnings[0]
    result, reader = read(tmp_path / "in.ac3", ac3(surround) + ac3(stereo))
    assert len(result) == 6
    assert np.abs(result[2:, -40_000:]).max() == 0
    np.testing.assert_allclose(result[:2, -40_000:].std(axis=1), stereo[:, -40_000:].std(axis=1), rtol=0.2)


@pytest.mark.parametrize("change", [{"channels": 1}, {"rate": 48_000}])
def test_flac_that_changes_is_read_whole(tmp_path: Path, change: dict[str, int]) -> None:
    second = make_music(1, **change)
    result, reader = read(tmp_path / "in.flac", flac(make_music(1)) + flac(second, change.get("rate", RATE)))
    assert result.shape == (2, 2 * RATE)
    assert "at 1.00 s" in reader.warnings[0]


def test_one_frame_with_another_header_is_damage(tmp_path: Path) -> None:
    data = bytearray(mp3(make_music(2)))
    assert not format_varies(_write(tmp_path, data), "mp3")
    data[frames_of_mp3(bytes(data))[30] + 3] |= 0xC0  # mono
    assert format_varies(_write(tmp_path, data), "mp3")
    result, reader = read(tmp_path / "in", bytes(data))
    assert reader.speakers == ("FL", "FR")
    assert reader.warnings == [f"{tmp_path / 'in'} has no audio at 0.78 s: 0.03 s are filled with silence"]
    start = 30 * 1152
    assert np.abs(result[:, start : start + 500]).max() < 0.01


def _write(folder: Path, data: bytes | bytearray) -> Path:
    (folder / "in").write_bytes(data)
    return folder / "in"
