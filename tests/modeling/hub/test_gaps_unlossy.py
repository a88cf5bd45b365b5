"""What is missing within a file becomes silence, but not without end, and what is far too loud counts as missing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from odd_files import encode, find_lag_of_end, frames_of_mp3, make_music, remux
from signals import RATE, read_with_warnings

from unlossy.hub.audio_unlossy import AudioError, AudioReader, TruncatedError
from unlossy.hub.gaps_unlossy import Gaps


def test_a_file_with_more_than_a_tenth_damaged_is_refused_unless_partial(tmp_path: Path) -> None:
    data = bytearray(encode(make_music(3), "mp3", "libmp3lame"))
    frames = frames_of_mp3(bytes(data))
    path = tmp_path / "damaged.mp3"
    for number in range(20, 31):  # 0.29 s
        data[frames[number] : frames[number] + 4] = bytes(4)
    path.write_bytes(data)
    assert "0.29 s are filled with silence" in read_with_warnings(path)[1][0]
    for number in range(50, 60):
        data[frames[number] : frames[number] + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(TruncatedError, match=r"damaged\.mp3 is damaged: 2\.5 s of 3\.0 s can be decoded"):
        read_with_warnings(path)
    result, warnings = read_with_warnings(path, partial=True)
    assert result.shape[1] == 3 * RATE
    assert warnings == [f"{path} has no audio at 0.47, 1.25 s: 0.55 s are filled with silence"]


def test_pauses_of_hours_in_seconds_of_audio_are_refused_unless_partial(tmp_path: Path) -> None:
    rate, path = 16_000, tmp_path / "paused.mkv"
    pause = 2400 * rate  # each alone might be true
    song = encode(make_music(6, rate, 1), "mp4", "aac", rate)
    remux(song, path, "matroska", lambda number: number * 1024 + pause * ((number >= 30) + (number >= 60)))
    with pytest.raises(TruncatedError, match=r"times that can't be right: 4800 s of pauses in 3\.\d s of audio"):
        read_with_warnings(path)
    with AudioReader(path, partial=True) as reader:
        seconds = sum(block.shape[1] for block in reader.blocks(rate)) / rate
    assert seconds == pytest.approx(2406, abs=0.2)
    assert [sentence.removeprefix(f"{path} ") for sentence in reader.warnings[-2:]] == [
        "has no audio at 1.92 s: 2400.00 s are filled with silence",
        "has times that can't be right: 2400 s of pauses are left out",
    ]


def test_a_recording_that_is_mostly_pauses_is_believed() -> None:
    gaps = Gaps(rate=1)
    for _ in range(100):  # an hour of audio
        position = gaps.filled + 36 * (1 + gaps.filled // 300)
        assert not gaps.are_too_long(position, 300)
        gaps.add(position, 300, damaged=False)
    assert gaps.are_too_long(gaps.filled + 3600, 3600)


def loud_in_the_middle(level: float, seconds: float = 2) -> np.ndarray:
    audio = make_music(seconds)
    middle = slice(audio.shape[1] // 2, audio.shape[1] // 2 + RATE // 10)
    audio[:, middle] *= level / np.abs(audio[:, middle]).max()
    return audio


def test_what_no_codec_was_ever_given_counts_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "loud.m4a"
    path.write_bytes(encode(loud_in_the_middle(1e5), "mp4", "aac"))
    with pytest.raises(AudioError, match=r"damaged: decoding failed after (0\.9|1\.0) s"):
        read_with_warnings(path, strict=True)
    result, warnings = read_with_warnings(path)
    assert len(warnings) == 1
    assert "has no audio at " in warnings[0]
    assert np.abs(result).max() <= 100
    assert result.shape[1] == 2 * RATE
    assert find_lag_of_end(result, make_music(2)) == 0


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_20_db_above_full_scale_is_audio(tmp_path: Path, suffix: str) -> None:
    path, audio = tmp_path / f"hot.{suffix}", make_music(2)
    audio *= 10 / np.abs(audio).max()
    if suffix == "wav":
        soundfile.write(path, audio.T, RATE, "FLOAT")
    else:
        path.write_bytes(encode(audio, "mp4", "aac"))
    result, warnings = read_with_warnings(path, strict=True)
    assert warnings == []
    assert np.abs(result).max() > 8


def test_a_float_file_of_integers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "integers.wav"
    soundfile.write(path, 32_768 * loud_in_the_middle(0.5).T, RATE, "FLOAT")
    with pytest.raises(AudioError, match=r"integers\.wav has samples of [\d.e+]+ times full scale after 0\.0 s"):
        read_with_warnings(path, partial=True)
