"""`/restore` as a program calls it: the result is that of `unlossy.restore`, and mistakes get their sentence."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import odd_files
import pytest
import soundfile
from signals import RATE

from unlossy import restore
from unlossy.hub.audio_unlossy import AudioReader

gradio_client = pytest.importorskip("gradio_client")

pytestmark = pytest.mark.slow


def connect(space: Any, folder: Path) -> Any:
    return gradio_client.Client(space.url, verbose=False, download_files=str(folder))


def call(client: Any, path: Path, detail: float = 1.0, format: str = "flac") -> Path:
    result, _ = client.predict(gradio_client.handle_file(str(path)), detail, format, api_name="/restore")
    return Path(result)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "my song.wav"
    random = np.random.default_rng(0)
    soundfile.write(path, np.clip(random.normal(0, 0.1, (RATE, 2)), -1, 1), RATE)
    return path


@pytest.mark.parametrize("format", ["flac", "wav", "mp3"])
def test_result_is_that_of_the_package(space: Any, song: Path, tmp_path: Path, format: str) -> None:
    result = call(connect(space, tmp_path / "results"), song, 0.5, format)
    assert result.name == f"my song.restored.{format}"
    with AudioReader(result) as reader:
        given = np.concatenate(list(reader.blocks(RATE)), axis=1)
    expected = restore(song, detail=0.5).audio
    assert isinstance(expected, np.ndarray)
    assert given.shape == expected.shape
    if format != "mp3":
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_eight_channels_at_192_khz(space: Any, tmp_path: Path) -> None:
    path = tmp_path / "wide.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (96_000, 8)), 192_000)
    result = call(connect(space, tmp_path / "results"), path)
    information = soundfile.info(result)
    assert (information.channels, information.samplerate, information.frames) == (8, 192_000, 96_000)
    with pytest.raises(Exception, match="mp3 cannot hold 8 channels"):
        call(connect(space, tmp_path / "results"), path, format="mp3")


def test_what_is_odd_is_said(space: Any, tmp_path: Path) -> None:
    client = connect(space, tmp_path / "results")
    path = gradio_client.handle_file(str(odd_files.damaged_mp3(tmp_path)))
    _, remarks = client.predict(path, 1.0, "flac", api_name="/restore")
    assert re.fullmatch(r"⚠️ song\.mp3 has no audio at \d\.\d\d s: 0\.\d\d s are filled with silence\.", remarks)


def test_silence_stays_silent(space: Any, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    assert not soundfile.read(call(connect(space, tmp_path / "results"), path))[0].any()


def test_bad_files_get_their_sentence(space: Any, tmp_path: Path) -> None:
    client = connect(space, tmp_path / "results")
    text = tmp_path / "text.mp3"
    text.write_text("This is no audio. " * 100)
    with pytest.raises(Exception, match=r"text\.mp3 is not an audio file, or is damaged"):
        call(client, text)
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, np.random.default_rng(0).uniform(-0.5, 0.5, (4 * RATE, 2)), RATE)
    cut.write_bytes(cut.read_bytes()[:200_000])
    with pytest.raises(Exception, match=r"cut\.flac is truncated or damaged"):
        call(client, cut)
    long = tmp_path / "long.flac"
    soundfile.write(long, np.zeros(8000 * 361), 8000)
    with pytest.raises(Exception, match=r"long\.flac is longer than 6:00 min, .*unlossy restore FILE"):
        call(client, long)


def test_files_go_when_the_session_ends(space: Any, song: Path, tmp_path: Path) -> None:
    folder = space.folder
    client = connect(space, tmp_path / "results")
    call(client, song)
    assert list(folder.rglob("my song.wav"))
    assert list(folder.rglob("my song.restored.flac"))
    client.close()
    for _ in range(100):
        if not list(folder.rglob("my song*")):
            return
        time.sleep(0.3)
    pytest.fail(f"left: {list(folder.rglob('*'))}")


def test_two_at_once_get_their_own_results(space: Any, tmp_path: Path) -> None:
    paths, results = [], {}
    for number in range(2):
        path = tmp_path / str(number) / "song.wav"  # of the same name, to be taken for one another
        path.parent.mkdir()
        soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, (RATE, 2)), RATE)
        paths.append(path)

    def run(path: Path) -> None:
        results[path] = call(connect(space, path.parent / "results"), path)

    threads = [threading.Thread(target=run, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in paths:
        expected = restore(path).audio
        assert isinstance(expected, np.ndarray)
        np.testing.assert_allclose(soundfile.read(results[path])[0].T, expected, atol=1e-5)
