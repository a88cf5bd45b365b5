"""MP3 files with damage, and with tags in the middle."""

from pathlib import Path

import numpy as np
import pytest
from odd_files import encode, find_lag_of_end, frames_of_mp3, id3_tag, make_music
from signals import RATE, read_with_warnings

from unlossy.hub.audio_unlossy import AudioError, AudioReader, TruncatedError
from unlossy.hub.mpeg_unlossy import frame_size, tag_size

SONG = encode(make_music(3), "mp3", "libmp3lame")
FRAMES = frames_of_mp3(SONG)
NOISE = np.random.default_rng(3).bytes(10_000)


def change(*parts: tuple[int, int, bytes]) -> bytes:
    """The song with bytes from one place to another replaced."""
    changed = SONG
    for start, stop, data in reversed(parts):
        changed = changed[:start] + data + changed[stop:]
    return changed


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (change((FRAMES[50], FRAMES[50] + 4, bytes(4))), 1),
        (change((FRAMES[50] + 4, FRAMES[51], NOISE[: FRAMES[51] - FRAMES[50] - 4])), 1),
        (change((FRAMES[40] + 100, FRAMES[42] + 60, b"")), 1),  # a sector is lost
        (change((FRAMES[50], FRAMES[53], bytes(FRAMES[53] - FRAMES[50]))), 1),
        (change((FRAMES[50], FRAMES[58], NOISE[: FRAMES[58] - FRAMES[50]])), 1),
        (change(*((FRAMES[n], FRAMES[n] + 4, bytes(4)) for n in (30, 50, 80))), 3),
    ],
)
def test_damaged_frames_are_silent_and_the_rest_is_in_time(tmp_path: Path, data: bytes, places: int) -> None:
    path = tmp_path / "damaged.mp3"
    path.write_bytes(SONG)
    whole, nothing = read_with_warnings(path, strict=True)
    path.write_bytes(data)
    result, warnings = read_with_warnings(path)
    assert nothing == []
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{path} has no audio at ")
    assert warnings[0].split(" s:")[0].count(",") == places - 1
    assert result.shape == whole.shape == (2, 3 * RATE)
    np.testing.assert_allclose(result[:, -RATE // 2 :], whole[:, -RATE // 2 :], atol=1e-3)
    with pytest.raises(AudioError, match=r"damaged: decoding failed after [01]\.\d s"):
        read_with_warnings(path, strict=True)


@pytest.mark.parametrize(
    "tag",
    [b"", id3_tag(10), id3_tag(60_000), b"TAG" + bytes(125), b"TAG" + bytes(125) + id3_tag(60_000)],
    ids=["none", "ID3v2", "picture", "ID3v1", "both"],
)
def test_joined_files_are_read_whole(tmp_path: Path, tag: bytes) -> None:
    other = encode(make_music(3, seed=5), "mp3", "libmp3lame")
    (tmp_path / "one.mp3").write_bytes(SONG)
    (tmp_path / "two.mp3").write_bytes(other)
    (tmp_path / "joined.mp3").write_bytes(id3_tag(20) + SONG + tag + other)
    (one, _), (two, _) = read_with_warnings(tmp_path / "one.mp3"), read_with_warnings(tmp_path / "two.mp3")
    joined, warnings = read_with_warnings(tmp_path / "joined.mp3", strict=True)
    assert warnings == []
    np.testing.assert_allclose(joined[:, : RATE * 2], one[:, : RATE * 2], atol=1e-4)
    assert joined.shape[1] >= 6 * RATE
    # Delay and padding of the second file, which its own tag names, stay.
    assert abs(find_lag_of_end(joined[:, 3 * RATE :], two)) < 2 * 1152 + 1105


def test_a_lost_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp3"
    path.write_bytes(SONG[: FRAMES[110]])  # of 116
    assert "2.8 s of 3.0 s" in read_with_warnings(path)[1][0]
    path.write_bytes(SONG[: FRAMES[60]])
    with pytest.raises(TruncatedError, match=r"1\.5 s of 3\.0 s"):
        read_with_warnings(path)
    result, warnings = read_with_warnings(path, partial=True)
    assert "1.5 s of 3.0 s" in warnings[0]
    assert result.shape[1] > 1.5 * RATE


@pytest.mark.parametrize("size", [None, 0xFFFFFFFF])
def test_a_damaged_count_of_frames_makes_no_silence(tmp_path: Path, size: int | None) -> None:
    data = bytearray(encode(make_music(2), "mp3", "libmp3lame"))
    tag = data.index(b"Info")
    data[tag + 8] = 0x08
    if size is not None:
        data[tag + 12 : tag + 16] = size.to_bytes(4, "big")
    place = frames_of_mp3(bytes(data))[30]
    data[place : place + 4] = bytes(4)
    path = tmp_path / "in.mp3"
    path.write_bytes(data)
    with AudioReader(path, partial=True) as reader:
        assert sum(block.shape[1] for block in reader.blocks(5000)) / RATE == pytest.approx(2, abs=0.1)


def test_frames_and_tags_are_told_by_their_first_bytes() -> None:
    assert frame_size(bytes.fromhex("fffb9044")) == 417
    assert frame_size(bytes.fromhex("fffb9244")) == 418
    assert frame_size(bytes.fromhex("fff38044")) == 208  # MPEG-2
    assert frame_size(bytes.fromhex("fffdc400")) == 768  # layer II, 48 kHz
    assert frame_size(bytes.fromhex("fffff044")) == frame_size(b"\xff\xfb") == frame_size(bytes(4)) == 0
    assert tag_size(id3_tag(1000)) == 1020
    assert tag_size(b"APETAGEX" + (2000).to_bytes(4, "little") * 2 + bytes(3) + b"\x80" + bytes(8)) == 32
    assert tag_size(b"TAG") == 128
    assert tag_size(b"\xff\xfb\x90\x44") == 0
