"""What is uploaded: its limits, its description, and the copies that are listened to."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE

from unlossy.codecs import degrade
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.layout_unlossy import DEFAULT_SPEAKERS
from unlossy.hub.tags_unlossy import Tags
from unlossy.pictures import measure_power
from unlossy_space import clips, limits


def test_description_names_codec_bitrate_and_cutoff(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(2 * RATE, 2)) * 0.1
    soundfile.write(tmp_path / "song.wav", noise, RATE)
    degrade(tmp_path / "song.wav", tmp_path / "song.mp3", "mp3", 64)
    text = clips.describe(clips.inspect_upload(tmp_path / "song.mp3"))
    assert "MP3 · 64 kbps · 44.1 kHz · stereo · 2 s · cutoff at 1" in text
    assert "would be regenerated" in text


UPLOADED_WHILE_THE_MODEL_IS_LOADED = """
import sys, threading, time
from pathlib import Path
from unlossy_space import clips

failures = []

def load():
    try:
        import unlossy
    except BaseException as error:
        failures.append(error)

loading = threading.Thread(target=load)
loading.start()
while "unlossy" not in sys.modules:
    time.sleep(0.001)
print(clips.inspect_upload(Path(sys.argv[1])).codec)
loading.join()
assert not failures, failures
"""


@pytest.mark.slow
def test_an_upload_while_the_model_is_loaded_disturbs_neither(write_chord: Callable[..., Path]) -> None:
    command = [sys.executable, "-c", UPLOADED_WHILE_THE_MODEL_IS_LOADED, str(write_chord())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pcm")


def test_silence_is_described(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert "silent" in clips.describe(clips.inspect_upload(tmp_path / "silence.wav"))


@pytest.mark.parametrize("content", [b"", b"This is no audio. " * 100])
def test_what_is_no_audio_is_refused_without_its_folder(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^song\.mp3 is "):
        clips.inspect_upload(path)


def test_what_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^song\.mp3 has been removed"):
        clips.inspect_upload(tmp_path / "song.mp3")


def test_too_long_or_too_large_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros((round(limits.MAX_SECONDS) + 1) * 8000), 8000)
    for read in (clips.inspect_upload, clips.count):
        with pytest.raises(ValueError, match=r"^long\.flac is longer than 6:00 min, .*`unlossy restore FILE`"):
            read(path)
    soundfile.write(path, np.zeros((2 * round(limits.MAX_SECONDS) + 1) * 8000), 8000)
    with pytest.raises(ValueError, match=r"^long\.flac is longer than 6:00 min, .*`unlossy restore FILE`"):
        clips.read_beginning(path, 1)
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"^long\.flac has 0 MB; here at most 0 MB.*`unlossy restore FILE`"):
        clips.inspect_upload(path)


def test_a_header_that_says_too_much_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 8000, subtype="PCM_16")
    with clips.UploadReader(path) as reader:
        reader.num_frames = 8000 * 400
        assert sum(block.shape[1] for block in reader.blocks(1000)) == 8000


@pytest.mark.parametrize(
    ("channels", "rate", "expected"), [(1, 8_000, 1), (2, 48_000, 2), (6, 44_100, 2), (8, 192_000, 2)]
)
def test_every_clip_becomes_mono_or_stereo_at_one_rate(tmp_path: Path, channels: int, rate: int, expected: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "in.wav", np.repeat(tone[:, None], channels, axis=1), rate)
    audio = clips.read_beginning(tmp_path / "in.wav", 30)
    assert audio.shape == (expected, RATE)
    reference = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(audio[:, 2000:-2000], np.tile(reference, (expected, 1))[:, 2000:-2000], atol=1e-3)


def test_only_the_beginning_is_read(tmp_path: Path, write_chord: Callable[..., Path]) -> None:
    path = write_chord(seconds=3)
    np.testing.assert_array_equal(clips.read_beginning(path, 0.5), clips.read_beginning(path, 5)[:, : RATE // 2])


def test_mixing_down_keeps_the_sides_apart() -> None:
    block = np.zeros((8, 4), np.float32)
    block[0] = 1  # front left
    left, right = clips.mix_down(block, DEFAULT_SPEAKERS[8])
    assert left[0] > 0
    assert right[0] == 0
    assert np.abs(clips.mix_down(np.ones((8, 4), np.float32), DEFAULT_SPEAKERS[8])).max() <= 1 + 1e-6
    left, right = clips.mix_down(block[:4], ("FL", "FR", "FC", "BC"))
    assert left[0] > 0
    assert right[0] == 0


def test_a_copy_is_read_as_it_was_written(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 70_001)).astype(np.float32)
    assert clips.write_clip(tmp_path / "copy.flac", audio) == str(tmp_path / "copy.flac")
    np.testing.assert_allclose(clips.read_beginning(tmp_path / "copy.flac", 30), audio, atol=1e-4)


@pytest.mark.parametrize(("channels", "rate"), [(1, 44_100), (2, 48_000), (6, 44_100)])
def test_who_reads_a_file_lets_it_be_copied_and_measured(tmp_path: Path, channels: int, rate: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2 * rate, channels))
    soundfile.write(tmp_path / "in.wav", noise, rate)
    with (
        clips.UploadReader(tmp_path / "in.wav") as upload,
        clips.copying(upload, tmp_path / "copy.flac") as upload.listener,
    ):
        read = np.concatenate(list(upload.blocks(10_007)), axis=1)
    assert read.shape == (channels, 2 * rate)
    expected = clips.read_beginning(tmp_path / "in.wav", 30)
    assert clips.copy(tmp_path / "in.wav", tmp_path / "another.flac") == str(tmp_path / "another.flac")
    for name in ("copy.flac", "another.flac"):
        np.testing.assert_allclose(soundfile.read(tmp_path / name, always_2d=True)[0].T, expected, atol=1e-4)
        power, seconds = clips.read_power(tmp_path / name)
        assert seconds == 2
        np.testing.assert_allclose(power, measure_power(expected), rtol=1e-3)


def test_nothing_is_left_of_a_copy_of_what_breaks_off(tmp_path: Path, write_chord: Callable[..., Path]) -> None:
    def break_off(block: np.ndarray) -> None:
        write(block)
        raise RuntimeError

    with (
        contextlib.suppress(RuntimeError),
        clips.UploadReader(write_chord(), break_off) as upload,
        clips.copying(upload, tmp_path / "copy.flac") as write,
    ):
        list(upload.blocks(1000))
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


@pytest.mark.parametrize("format", ["wav", "mp3"])
def test_conversion_keeps_length_and_tags(tmp_path: Path, format: str) -> None:
    source = tmp_path / "song.flac"
    with AudioWriter(source, RATE, 2, tags=Tags({"title": ["Canon"]})) as writer:
        writer.write(np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE // 2)).astype(np.float32))
    target = tmp_path / f"song.{format}"
    clips.convert(source, target)
    clips.convert(source, target)  # another time, when the user goes back and forth
    with AudioReader(target) as reader:
        assert reader.tags.fields["title"] == ["Canon"]
        assert sum(block.shape[1] for block in reader.blocks(1000)) == RATE // 2
