"""Audio that lies in no file: bytes, file objects, lists of numbers."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_files import encode, make_music
from signals import RATE

from unlossy.hub.audio_unlossy import AudioError, AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.modeling_unlossy import UnlossyModel
from unlossy.hub.restoration_unlossy import restore


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_bytes_and_file_objects_are_read_like_files(temporary: Path, lively_model: UnlossyModel) -> None:
    data = encode(make_music(1), "mp3", "libmp3lame")
    path = temporary / "song.mp3"
    path.write_bytes(data)
    wanted = restore(path, lively_model)
    behind = io.BytesIO(b"header" + data)
    behind.seek(6)
    with path.open("rb") as file, AudioReader(path) as reader:
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), behind, file, reader, str(path)):
            result = restore(source, lively_model)
            np.testing.assert_array_equal(result.audio, wanted.audio)
            assert result.sampling_rate == RATE
    assert os.listdir(temporary) == ["song.mp3"]


def test_pipes_are_read_and_written_like_files(temporary: Path, lively_model: UnlossyModel) -> None:
    data = encode(make_music(1), "mp3", "libmp3lame")
    (temporary / "song.mp3").write_bytes(data)
    pipes = [temporary / "in.mp3", temporary / "out.wav"]
    for pipe in pipes:
        os.mkfifo(pipe)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(pipes[0].write_bytes, data)
        written = pool.submit(pipes[1].read_bytes)
        restored = restore(pipes[0], lively_model, output=pipes[1])
    assert (restored.output, restored.warnings) == (pipes[1], ())
    assert restored.num_frames == RATE
    restore(temporary / "song.mp3", lively_model, output=temporary / "file.wav")
    assert written.result() == (temporary / "file.wav").read_bytes()
    assert sorted(os.listdir(temporary)) == ["file.wav", "in.mp3", "out.wav", "song.mp3"]
    assert all(pipe.is_fifo() for pipe in pipes)


def test_a_pipe_that_nobody_reads_to_the_end_is_named(temporary: Path) -> None:
    pipe = temporary / "out.wav"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: pipe.open("rb").close())
        with (
            pytest.raises(AudioError, match=r"cannot write .*out\.wav: Broken pipe"),
            AudioWriter(pipe, RATE, 2) as writer,
        ):
            writer.write(make_music(5))
    assert os.listdir(temporary) == ["out.wav"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"", "the byte string is empty"),
        (b"no audio", "the byte string is not an audio file"),
        (io.BytesIO(b""), "the file object is empty"),
        (io.StringIO("text"), r"the file object gives text: open it in binary mode"),
        (5, "expected a file's name, its bytes, a file object or an array, not int"),
        (None, "or an array, not NoneType"),
        ("https://example.org/a.mp3", "https://example.org/a.mp3 is a URL: download the file first"),
        (Path("https://example.org/a.mp3"), "https://example.org/a.mp3 is a URL"),
    ],
)
def test_what_is_no_audio_is_named_in_one_sentence(temporary: Path, source: Any, sentence: str) -> None:
    with pytest.raises(AudioError, match=sentence):
        AudioReader(source)
    assert os.listdir(temporary) == []


def test_a_closed_file_is_named(temporary: Path) -> None:
    path = temporary / "song.mp3"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        pass
    with pytest.raises(AudioError, match=r"song\.mp3 cannot be read: .*closed"):
        AudioReader(file)
    assert os.listdir(temporary) == ["song.mp3"]


@pytest.mark.parametrize("rate", [44_100.0, np.float32(44_100), np.int64(44_100)])
def test_rates_may_have_any_type(lively_model: UnlossyModel, rate: Any) -> None:
    audio = make_music(0.3)
    wanted = restore(audio, lively_model, sampling_rate=RATE)
    result = restore(audio, lively_model, sampling_rate=rate, output_sampling_rate=rate)
    np.testing.assert_array_equal(result.audio, wanted.audio)
    assert type(result.sampling_rate) is int


def test_lists_of_numbers_are_arrays(lively_model: UnlossyModel) -> None:
    audio = make_music(0.2)
    for given in (audio, audio[0]):
        wanted = restore(given, lively_model, sampling_rate=RATE).audio
        np.testing.assert_array_equal(restore(given.tolist(), lively_model, sampling_rate=RATE).audio, wanted)
