"""Times of a container: they trim the ends of a stream, never its middle, and what is missing becomes silence."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from odd_files import encode, find_lag_of_end, make_music, remux, with_edits
from signals import RATE, read_with_warnings

from unlossy.hub.audio_unlossy import AudioError, AudioReader

JITTER = np.random.default_rng(0).integers(-200, 201, 1000)
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov"])
@pytest.mark.parametrize(
    "time",
    [
        lambda number: round(round(number * 1024 / 44.1) * 44.1),  # in ms, as from FLV or Matroska
        lambda number: number * 1024 + int(JITTER[number]) // 200,
        lambda number: number * 1024 + (int(JITTER[number]) if number else 0),  # as of a recorder with a clock
    ],
)
def test_uneven_times_change_nothing(tmp_path: Path, container: str, time: object) -> None:
    song = encode(make_music(2), "mp4", "aac")
    remux(song, tmp_path / "even", container, lambda number: number * 1024)
    remux(song, tmp_path / "uneven", container, time)  # type: ignore[arg-type]
    expected, _ = read_with_warnings(tmp_path / "even")
    result, warnings = read_with_warnings(tmp_path / "uneven", strict=True)
    assert warnings == []
    np.testing.assert_array_equal(result, expected)


def test_uneven_times_in_fragments_change_nothing(tmp_path: Path) -> None:
    song = encode(make_music(2), "mp4", "aac")
    remux(song, tmp_path / "even", "mp4", lambda number: number * 1024)
    remux(song, tmp_path / "uneven", "mp4", lambda n: n * 1024 + (int(JITTER[n]) if n else 0), **FRAGMENTED)
    np.testing.assert_array_equal(read_with_warnings(tmp_path / "uneven")[0], read_with_warnings(tmp_path / "even")[0])


@pytest.mark.parametrize("uneven", [0, 1])
@pytest.mark.parametrize("container", ["mp4", "matroska", "mov"])
def test_a_pause_stays(tmp_path: Path, container: str, uneven: int) -> None:
    song = encode(make_music(4), "mp4", "aac")

    def time(number: int) -> int:
        return number * 1024 + (44_100 if number >= 80 else 0) + uneven * (int(JITTER[number]) if number else 0)

    remux(song, tmp_path / "whole", container, lambda number: number * 1024)
    remux(song, tmp_path / "paused", container, time)
    whole, _ = read_with_warnings(tmp_path / "whole")
    paused, warnings = read_with_warnings(tmp_path / "paused")
    start = 80 * 1024
    length = paused.shape[1] - whole.shape[1]
    assert abs(length - 44_100) <= (800 if uneven else 45)
    np.testing.assert_array_equal(paused[:, :start], whole[:, :start])
    np.testing.assert_array_equal(paused[:, start : start + length], 0)
    np.testing.assert_array_equal(paused[:, start + length :], whole[:, start:])
    assert len(warnings) == 1
    assert "has no audio at 1.86 s: " in warnings[0]
    with pytest.raises(AudioError, match=r"has a gap after 1\.9 s"):
        read_with_warnings(tmp_path / "paused", strict=True)


@pytest.mark.parametrize(
    ("container", "codec", "rate", "kind"),
    [("mp4", "aac", RATE, "fltp"), ("mp4", "libopus", 48_000, "flt"), ("mp4", "libmp3lame", RATE, "fltp")],
)
def test_what_an_encoder_adds_is_taken_off(tmp_path: Path, container: str, codec: str, rate: int, kind: str) -> None:
    audio = make_music(0.7, rate)
    (tmp_path / "in").write_bytes(encode(audio, container, codec, rate, kind))
    assert read_with_warnings(tmp_path / "in")[0].shape == audio.shape


def test_the_end_of_an_edit_list_is_the_end(tmp_path: Path) -> None:
    song = encode(make_music(4), "mp4", "aac", movie_timescale=str(RATE))
    (tmp_path / "whole.m4a").write_bytes(with_edits(song, [(4 * RATE, 2112)]))
    (tmp_path / "cut.m4a").write_bytes(with_edits(song, [(66_150, 2112)]))
    whole, _ = read_with_warnings(tmp_path / "whole.m4a")
    np.testing.assert_array_equal(read_with_warnings(tmp_path / "cut.m4a")[0], whole[:, :66_150])
    (tmp_path / "middle.m4a").write_bytes(with_edits(song, [(44_100, 1024), (44_100, 1024 + 88_200)]))
    # FFmpeg begins the second part with a whole packet, and ends it accordingly early.
    assert 0 <= 88_200 - read_with_warnings(tmp_path / "middle.m4a")[0].shape[1] < 1024


@pytest.mark.parametrize(
    ("container", "codec", "rate", "kind", "length"),
    [
        ("mp4", "aac", RATE, "fltp", 600),
        ("mp4", "libmp3lame", RATE, "fltp", 600),
        ("mpegts", "aac", RATE, "fltp", 600),
        ("ogg", "libopus", 48_000, "flt", 600),
        ("ogg", "flac", RATE, "s16", 600),
        ("flac", "flac", RATE, "s16", 600),
    ],
)
@pytest.mark.parametrize("damage", ["zeros", "noise"])
def test_damage_keeps_length_and_time(
    tmp_path: Path, container: str, codec: str, rate: int, kind: str, length: int, damage: str
) -> None:
    audio = make_music(3.3, rate)
    data = bytearray(encode(audio, container, codec, rate, kind))
    (tmp_path / "whole").write_bytes(data)
    place = int(0.55 * len(data))
    data[place : place + length] = bytes(length) if damage == "zeros" else np.random.default_rng(7).bytes(length)
    (tmp_path / "damaged").write_bytes(data)
    whole, nothing = read_with_warnings(tmp_path / "whole", strict=True)
    result, warnings = read_with_warnings(tmp_path / "damaged")
    assert nothing == []
    assert len(warnings) == 1
    assert "has no audio at" in warnings[0]
    assert result.shape == whole.shape
    assert find_lag_of_end(result, whole) == 0
    with pytest.raises(AudioError, match=r"damaged|gap"):
        read_with_warnings(tmp_path / "damaged", strict=True)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_sound_that_begins_after_the_picture_stays_late(tmp_path: Path, suffix: str) -> None:
    audio, path = make_music(1), tmp_path / f"late.{suffix}"
    with av.open(str(path), "w") as output:
        video, sound = output.add_stream("mpeg4", rate=10), output.add_stream("aac", rate=RATE, layout="stereo")
        video.width = video.height = 32
        frames = [
            av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)) for _ in range(30)
        ]  # and the picture goes on
        for number, picture in enumerate(frames):
            picture.pts, picture.time_base = number, Fraction(1, 10)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(audio.T.reshape(1, -1).copy(), format="flt", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, RATE // 2, Fraction(1, RATE)
        output.mux([*sound.encode(frame), *sound.encode(None)])
    result, warnings = read_with_warnings(path, strict=True)
    assert warnings == []
    assert 0 <= result.shape[1] - 1.5 * RATE + 50 < 1100  # the times of the files are in ms
    assert not result[:, : RATE // 2 - 1100].any()
    assert abs(find_lag_of_end(result[:, RATE // 2 :], audio)) < 50


def test_a_stream_that_begins_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    """A recording of television, in which a second language comes in after some time."""
    path = tmp_path / "in.ts"
    audio, late = make_music(12), make_music(1)
    first = encode(audio, "mpegts", "aac")
    second = encode(late, "mpegts", "mp2", RATE, "s16", None, mpegts_start_pid="300")
    path.write_bytes(first + second + first)
    with AudioReader(path) as reader:
        result = np.concatenate(list(reader.blocks(5000)), axis=1)
    assert result.shape[1] >= 24 * RATE
    priming = 1024
    assert find_lag_of_end(result[:, priming : 12 * RATE + priming], audio) == 0


def test_a_damaged_unit_of_time_makes_no_pauses(tmp_path: Path) -> None:
    """An MP4 in fragments whose times count in seconds instead of samples."""
    path = tmp_path / "in.mp4"
    audio = make_music(1)
    data = bytearray(encode(audio, "mp4", "aac", RATE, "fltp", None, None, **FRAGMENTED))
    place = data.index(b"mdhd") + 16
    assert int.from_bytes(data[place : place + 4], "big") == RATE
    data[place : place + 4] = (1).to_bytes(4, "big")
    path.write_bytes(data)
    with AudioReader(path, partial=True) as reader:  # block by block: it would be hours of silence
        assert sum(block.shape[1] for block in reader.blocks(RATE)) == pytest.approx(RATE, abs=3000)
