"""Audio files in and out: every format comes back whole and aligned, and what cannot be read or written says why."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE, find_lag, notes, read

from unlossy.hub.audio_unlossy import AudioError, AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter


def write(path: Path, audio: np.ndarray, rate: int = RATE, block: int = 10_007, **options: object) -> None:
    with AudioWriter(path, rate, audio.shape[0], **options) as writer:  # type: ignore[arg-type]
        for start in range(0, audio.shape[1], block):
            writer.write(audio[:, start : start + block])


def make_picture() -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 40, 30, "rgb24"
        pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *stream.encode(None)):
            container.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("frames", [40_001, 16_160, 300])  # at 16,160 LAME ends with a frame of padding
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "opus", "m4a"])
def test_written_samples_come_back_aligned_and_whole(tmp_path: Path, suffix: str, channels: int, frames: int) -> None:
    audio = notes(frames, channels)
    path = tmp_path / f"out.{suffix}"
    write(path, audio, 48_000)
    result = read(path)
    assert result.shape == audio.shape
    assert find_lag(result, audio) == 0
    assert np.square(result - audio).sum() < 0.05 * np.square(audio).sum()


@pytest.mark.parametrize(
    ("suffix", "bit_depth", "step"),
    [("wav", "16", 2**-15), ("wav", "24", 2**-23), ("wav", "32f", 0), ("flac", "16", 2**-15), ("flac", "24", 2**-23)],
)
def test_lossless_formats_round_to_their_bit_depth(tmp_path: Path, suffix: str, bit_depth: str, step: float) -> None:
    audio = notes(5_000)
    audio[:, :2] = [[1.5, -1.5], [1.0, -1.0]]
    path = tmp_path / f"out.{suffix}"
    write(path, audio, bit_depth=bit_depth)
    expected = audio if bit_depth == "32f" else audio.clip(-1, 1 - step)
    assert np.abs(read(path) - expected).max() <= step / 2
    with AudioReader(path) as reader:
        assert (reader.sampling_rate, reader.channels, reader.num_frames) == (RATE, 2, 5_000)
        assert reader.bits_per_sample == int(bit_depth[:2])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats_read_like_libsndfile(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "in.wav", notes(3_000).T, RATE, subtype)
    expected, _ = soundfile.read(tmp_path / "in.wav", dtype="float32")
    np.testing.assert_array_equal(read(tmp_path / "in.wav"), expected.T)


@pytest.mark.parametrize("suffix", ["flac", "mp3", "opus", "m4a"])
def test_block_size_makes_no_difference(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write(path, notes(20_011))
    whole = read(path)
    for frames in (1_000, 4_096):
        with AudioReader(path) as reader:
            blocks = list(reader.blocks(frames))
        assert {block.shape[1] for block in blocks[:-1]} == {frames}
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


@pytest.mark.parametrize(
    ("suffix", "channels"), [("wav", 3), ("flac", 7), ("opus", 6), ("m4a", 6), ("wav", 8), ("opus", 8), ("m4a", 8)]
)
def test_surround(tmp_path: Path, suffix: str, channels: int) -> None:
    audio = notes(20_000, channels)
    audio *= np.arange(1, channels + 1, dtype=np.float32)[:, None] / channels  # a swap of channels would show
    audio[-1] = 0
    path = tmp_path / f"out.{suffix}"
    write(path, audio, 48_000)
    result = read(path)
    levels = np.sqrt(np.square(result).mean(axis=1))
    assert result.shape == audio.shape
    if channels != 6 and suffix != "m4a":  # the subwoofer is filtered by lossy codecs
        np.testing.assert_allclose(levels, np.sqrt(np.square(audio).mean(axis=1)), rtol=0.1, atol=1e-3)


@pytest.mark.parametrize(
    ("suffix", "rate", "written"), [("mp3", 96_000, 48_000), ("opus", 44_100, 48_000), ("m4a", 37_800, 44_100)]
)
def test_rates_that_a_format_does_not_take_are_converted(tmp_path: Path, suffix: str, rate: int, written: int) -> None:
    path = tmp_path / f"out.{suffix}"
    write(path, notes(30_001), rate)
    with AudioReader(path) as reader:
        assert reader.sampling_rate == written
        assert sum(block.shape[1] for block in reader.blocks(1_000)) == -(-30_001 * written // rate)


@pytest.mark.parametrize("stem", ["track 1: one", "http:song", "日" * 80, "%d [1] *?"])
def test_unusual_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in ("wav", "mp3"):
        path = Path(f"{stem}.{suffix}")
        write(path, notes(2_000))
        assert read(path).shape == (2, 2_000)


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="File name too long"):
        AudioWriter(tmp_path / f"{'a' * 300}.wav", RATE, 2)
    assert list(tmp_path.iterdir()) == []


def test_properties_of_a_lossy_file(tmp_path: Path) -> None:
    write(tmp_path / "out.mp3", notes(RATE))
    with AudioReader(tmp_path / "out.mp3") as reader:
        assert (reader.codec, reader.bit_rate, reader.num_frames) == ("mp3", 320_000, RATE)
        assert reader.bits_per_sample is None
        assert not reader.tags
        list(reader.blocks(1_000))
        with pytest.raises(RuntimeError, match="already"):
            next(reader.blocks(1_000))


def test_foreign_data_behind_an_mp3_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "in.mp3"
    write(path, notes(2 * RATE))
    path.write_bytes(path.read_bytes() + b"\0" * 3000)
    assert read(path).shape[1] >= 2 * RATE


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("not audio, but long enough to look at\n" * 100)
    (tmp_path / "picture.png").write_bytes(make_picture())
    soundfile.write(tmp_path / "silent.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "nine.wav", np.zeros((100, 9)), RATE)
    soundfile.write(tmp_path / "slow.wav", np.zeros((100, 1)), 4_000)
    for name, reason in {
        "nowhere.mp3": "no such file",
        "": "is a folder",
        "empty.mp3": "is empty",
        "text.mp3": "is not an audio file",
        "picture.png": "has no audio",
        "silent.wav": "has no samples",
        "nine.wav": "has 9 channels: at most 8",
        "slow.wav": "4000 Hz",
        os.devnull: "is a device",
    }.items():
        with pytest.raises(AudioError, match=reason) as caught:
            AudioReader(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    audio = notes(RATE)
    audio[1, 30_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", audio.T, RATE, "FLOAT")
    with pytest.raises(AudioError, match=r"not finite .* after 0\.[67] s"):
        read(tmp_path / "nan.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "opus"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    write(path, notes(2 * RATE))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"truncated( or damaged)?: .*[01]\.\d s"):
        read(path)


def split_pages(data: bytes) -> list[bytes]:
    """Pages of an Ogg file."""
    pages = []
    while data:
        size = 27 + data[26] + sum(data[27 : 27 + data[26]])
        pages.append(data[:size])
        data = data[size:]
    return pages


def test_pages_of_ogg(tmp_path: Path) -> None:
    path = tmp_path / "in.opus"
    write(path, notes(3 * 48_000), 48_000)
    head, comment, *audio = split_pages(path.read_bytes())
    assert len(audio) >= 3
    # A recording of a stream starts somewhere in it, and nothing marks its end.
    path.write_bytes(b"".join([head, comment, *audio[1:-1]]))
    assert 0 < read(path).shape[1] < 2.5 * 48_000
    path.write_bytes(b"".join([head, comment, *audio]) + b"TAG" + bytes(125))
    assert read(path).shape[1] == 3 * 48_000
    path.write_bytes(b"".join([head, comment, audio[0], audio[1][:-100] + bytes(100), *audio[2:]]))
    assert read(path).shape[1] == 3 * 48_000
    with pytest.raises(AudioError, match=r"gap after \d\.\d s"):
        read(path, strict=True)


def test_a_wav_of_undeclared_length_or_with_data_behind_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, notes(RATE).T, RATE)
    data = path.read_bytes()
    for changed in (data[:4] + b"\xff" * 4 + data[8:], data[:4] + b"\0" * 4 + data[8:], data + b"\0" * 50_000):
        path.write_bytes(changed)
        assert read(path).shape[1] == RATE


def test_a_cut_m4a_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "cut.m4a"
    write(path, notes(RATE))
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(AudioError, match="damaged at its beginning"):
        AudioReader(path)


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"precious")
    with pytest.raises(AudioError, match="exists already"):
        AudioWriter(path, RATE, 2)
    assert path.read_bytes() == b"precious"
    write(path, notes(100), overwrite=True)
    assert read(path).shape == (2, 100)
    link = tmp_path / "link.wav"
    link.symlink_to("nowhere.wav")
    with pytest.raises(AudioError, match="exists already"):
        AudioWriter(link, RATE, 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.m4a"
    path.write_bytes(b"precious")

    def fail() -> None:
        with AudioWriter(path, RATE, 2, overwrite=True) as writer:
            writer.write(notes(5_000))
            raise error

    with pytest.raises(error):
        fail()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.m4a"]
    assert path.read_bytes() == b"precious"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    cases: list[tuple[str, int, dict[str, str], str]] = [
        ("nowhere/out.wav", 2, {}, "there is no folder"),
        ("out.xyz", 2, {}, "cannot tell a format"),
        ("out", 2, {"format": "ogg"}, "unknown format 'ogg'"),
        ("out.wav", 2, {"bit_depth": "12"}, "unknown bit depth '12'"),
        ("out.flac", 2, {"bit_depth": "32f"}, "write wav"),
        ("out.mp3", 2, {"bit_depth": "32f"}, "write wav"),
        ("out.mp3", 3, {}, "mp3 cannot hold 3 channels: write wav or flac or opus or m4a"),
        ("out.wav", 9, {}, "cannot hold 9 channels"),
        (".", 2, {"format": "wav"}, "it is a folder"),
    ]
    for name, channels, options, reason in cases:
        with pytest.raises(AudioError, match=reason):
            AudioWriter(tmp_path / name, RATE, channels, **options)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="no samples"), AudioWriter(tmp_path / "out.wav", RATE, 2):
        pass
    with pytest.raises(ValueError, match="shape"), AudioWriter(tmp_path / "out.wav", RATE, 2) as writer:
        writer.write(np.zeros((1, 10), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # mode bits don't stop a superuser
    with pytest.raises(AudioError, match="Permission denied"):
        AudioWriter(tmp_path / "out.wav", RATE, 2)


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    """The killed process is a real one, which writes the same file."""
    path, audio = tmp_path / "out.wav", notes(1000)
    code = f"""
import os, signal, sys
import numpy as np
from unlossy.hub.audio_writing_unlossy import AudioWriter
with AudioWriter({str(path)!r}, {RATE}, 2) as writer:
    writer.write(np.zeros((2, 500_000), np.float32))
    print("writing", flush=True)
    if sys.stdin.readline() == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        (its_own,) = tmp_path.iterdir()
        with AudioWriter(path, RATE, 2) as writer:  # both at the same time
            writer.write(audio)
        assert set(tmp_path.iterdir()) == {path, its_own}
        path.unlink()
        other.communicate("die")
    assert other.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [its_own]
    with AudioWriter(path, RATE, 2) as writer:
        assert list(tmp_path.iterdir()) == [its_own]
        writer.write(audio)
    assert list(tmp_path.iterdir()) == [path]
    assert soundfile.info(path).frames == 1000


@pytest.mark.parametrize("channels", [4, 6, 8])
def test_flac_of_many_channels_at_the_highest_rate_is_read_back(tmp_path: Path, channels: int) -> None:
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, (channels, 50_000)).astype(np.float32)
    with AudioWriter(tmp_path / "out.flac", 192_000, channels) as writer:
        writer.write(audio)
    with AudioReader(tmp_path / "out.flac") as reader:
        np.testing.assert_allclose(np.concatenate(list(reader.blocks(10_000)), axis=1), audio, atol=1e-6)
