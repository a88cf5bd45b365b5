"""A restoration of an upload: what it reads, what it leaves, and what it says."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import odd_files
import pytest
import soundfile

pytest.importorskip("gradio")
import gradio as gr

from unlossy.hub.audio_unlossy import AudioReader
from unlossy_space import clips, engine, limits

RATE = 44_100


@pytest.fixture(autouse=True)
def _loaded(tiny_model: Path) -> None:
    engine.load(str(tiny_model))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many blocks of which files have been decoded, of a second each."""
    counter: Counter[str] = Counter()
    blocks = AudioReader.blocks

    def count(reader: AudioReader, frames: int) -> Iterator[np.ndarray]:
        for block in blocks(reader, frames):
            counter[reader.path.name] += 1
            yield block

    monkeypatch.setattr(AudioReader, "blocks", count)
    return counter


def test_an_upload_is_decoded_once(tmp_path: Path, decoded: Counter[str]) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (3 * RATE, 2)), RATE)
    clips.inspect_upload(path)
    assert decoded.pop("song.wav") <= 3
    folder = tmp_path / "results"
    folder.mkdir()
    output, before, warnings = engine.restore_upload(path, folder, 1.0, gr.Progress())
    clips.copy(output, folder / "After.flac")
    assert decoded == {"song.wav": 3, "song.restored.flac": 3}
    assert warnings == ()
    for copy in (before, folder / "After.flac"):
        assert soundfile.info(copy).frames == 3 * RATE
        assert clips.read_power(copy)[1] == 3


@pytest.mark.parametrize("make", [odd_files.damaged_mp3, odd_files.two_tracks])
def test_what_is_odd_is_said(tmp_path: Path, make: Any) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    path = make(tmp_path)
    _, _, warnings = engine.restore_upload(path, folder, 1.0, gr.Progress())
    (sentence,) = [engine.name_files(warning, path) for warning in warnings]
    expected = {"song.mp3": "song.mp3 has no audio at ", "film.mkv": "film.mkv has 2 audio tracks, "}[path.name]
    assert sentence.startswith(expected)


def test_what_is_too_long_is_refused_before_the_work(
    tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 2)
    monkeypatch.setattr(engine, "_restore", None)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((3 * RATE, 2)), RATE)
    with pytest.raises(ValueError, match="longer than 2 s"):
        engine.restore_upload(path, tmp_path, 1.0, gr.Progress())
    assert [each.name for each in tmp_path.iterdir()] == ["long.wav"]


def test_nothing_is_left_of_what_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (3 * RATE, 2)), RATE)
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "stop").touch()
    with pytest.raises(engine.StoppedError):
        engine.restore_upload(path, folder, 1.0, gr.Progress())
    assert [each.name for each in folder.iterdir()] == ["stop"]


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat"])
def test_a_playlist_opens_nobody_s_files(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret" / "song.mp3"
    secret.parent.mkdir()
    secret.write_bytes(odd_files.encode(odd_files.make_music(1), "mp3", "libmp3lame"))
    mine = tmp_path / "mine" / name
    mine.parent.mkdir()
    for listed in (secret, Path("..", "secret", "song.mp3"), Path("song.mp3")):
        (mine.parent / "song.mp3").write_bytes(secret.read_bytes())
        texts = {
            ".m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{listed}\n#EXT-X-ENDLIST\n",
            ".ffconcat": f"ffconcat version 1.0\nfile '{listed}'\n",
        }
        mine.write_text(texts[mine.suffix])
        with pytest.raises(ValueError, match=f"^{name} (is a playlist|cannot be read|is not an audio file)"):
            clips.inspect_upload(mine)
