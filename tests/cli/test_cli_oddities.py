"""What the command line says about odd files, and with which exit code."""

import io
import multiprocessing
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile
from odd_files import encode, frames_of_mp3, make_music, two_tracks
from signals import RATE

from unlossy_cli import main, restore, workers
from unlossy_cli.work import Settings


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "count_workers", lambda files, processes_here: (1, 1))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    data = bytearray(encode(make_music(2), "mp3", "libmp3lame"))
    place = frames_of_mp3(bytes(data))[50]
    data[place : place + 4] = bytes(4)
    path = tmp_path / "in" / "song.mp3"
    path.parent.mkdir()
    path.write_bytes(data)
    return path


def test_damaged_file(damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is restored with a warning."""
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert main(["restore", str(damaged), *options]) == 0
    warning = f"{damaged} has no audio at 1.25 s: 0.03 s are filled with silence\n"
    assert capsys.readouterr().err == f"unlossy: warning: {warning}"
    assert soundfile.info(tmp_path / "out" / "song.flac").frames == 2 * RATE
    assert main(["restore", str(damaged), "--overwrite", "--strict", *options]) == 2
    assert capsys.readouterr().err == f"unlossy: {damaged} is damaged: decoding failed after 1.3 s\n"
    assert main(["info", str(damaged)]) == 0
    output = capsys.readouterr()
    assert output.err == f"unlossy: warning: {warning}"
    assert "0:02.0" in output.out
    coded = str(tmp_path / "coded.mp3")
    assert main(["degrade", str(damaged), "-o", coded, "--codec", "mp3", "--bitrate", "64"]) == 0
    assert capsys.readouterr().err == f"unlossy: warning: {warning}"


def test_file_without_its_end(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is restored only if asked for."""
    damaged.write_bytes(damaged.read_bytes()[:15_000])
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert main(["restore", str(damaged), *options]) == 2
    sentence = f"{damaged} is truncated or damaged: 0.9 s of 2.0 s can be decoded"
    assert capsys.readouterr().err == f"unlossy: {sentence}; add --partial to take what is there\n"
    assert main(["restore", str(damaged), "--partial", *options]) == 0
    assert capsys.readouterr().err == f"unlossy: warning: {sentence}\n"


def test_failures_are_listed_in_the_order_of_the_files(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = damaged.parent
    damaged.rename(folder / "b.mp3")
    (folder / "a.mp3").touch()
    (folder / "c.mp3").symlink_to("nowhere.mp3")
    (folder / "d.mp3").write_text("<html>404 Not Found</html>\n" * 100)
    assert main(["restore", str(folder), "-o", str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        "unlossy: 3 of 4 files failed:",
        f"  {folder / 'a.mp3'} is empty",
        f"  {folder / 'c.mp3'} is a link to a file that is not there: nowhere.mp3",
        f"  {folder / 'd.mp3'} is not an audio file, or is damaged at its beginning",
    ]


def test_folder_without_audio(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not stop the others."""
    (tmp_path / "scans").mkdir()
    folders = [str(tmp_path / "scans"), str(damaged.parent)]
    assert main(["restore", *folders, "-o", str(tmp_path / "out"), "--model", str(tiny_model)]) == 0
    assert f"unlossy: warning: {tmp_path / 'scans'}: no audio files in this folder\n" in capsys.readouterr().err
    assert (tmp_path / "out" / "song.flac").exists()


def test_a_worker_that_ends_is_not_ended_again() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    names = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM")]
    before = {name: signal.getsignal(name) for name in names}
    try:
        workers._work(theirs, Settings(None, "cpu", 1.0, "flac", "24", overwrite=False))
        os.kill(os.getpid(), signal.SIGTERM)  # from the parent, while exit handlers run
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def test_the_track_can_be_chosen(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = two_tracks(tmp_path), tmp_path / "out.wav"
    command = ["restore", str(path), "-o", str(output), "--model", str(tiny_model), "--overwrite"]
    assert main(command) == 0
    tracks = f"{path} has 2 audio tracks, 1 (Commentary), 2 (Main, eng), of which number 2 is read"
    assert capsys.readouterr().err == f"unlossy: warning: {tracks}; the option track chooses another\n"
    assert abs(soundfile.read(output)[0]).max() > 0.1
    assert main([*command, "--track", "1"]) == 0
    assert capsys.readouterr().err == ""
    assert abs(soundfile.read(output)[0]).max() < 0.05
    assert main([*command, "--track", "3"]) == 2
    expected = f"unlossy: {path} has no audio track 3, only 1 (Commentary), 2 (Main, eng)\n"
    assert capsys.readouterr().err == expected
    assert main(["info", str(path), "--track", "1"]) == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit):
        main([*command, "--track", "0"])
    assert "'0' is not a whole number from 1 up" in capsys.readouterr().err


def test_pipes_by_name(damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell has them for `<(…)` and `>(…)`, whose names have no suffix."""
    pipes = [tmp_path / "from", tmp_path / "to"]
    for pipe in pipes:
        os.mkfifo(pipe)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(pipes[0].write_bytes, damaged.read_bytes())
        written = pool.submit(pipes[1].read_bytes)
        assert main(["restore", *map(str, pipes[:1]), "-o", str(pipes[1]), "--model", str(tiny_model)]) == 0
    assert soundfile.info(io.BytesIO(written.result())).frames == 2 * RATE
    output = capsys.readouterr()
    assert output.err == f"unlossy: warning: {pipes[0]} has no audio at 1.25 s: 0.03 s are filled with silence\n"
    assert output.out == f"{pipes[0]} -> {pipes[1]}\n"
    os.mkfifo(damaged.with_name("never.mp3"))
    assert main(["restore", str(damaged.parent), "-o", str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    assert "never.mp3: is a pipe, which is read only if you name it" in capsys.readouterr().err


def give(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put data into standard input."""
    stream: Any = io.BytesIO(data)
    stream.name = "<stdin>"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))


def test_standard_input_and_output(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    data = encode(make_music(1), "mp4", "aac")
    options = ["--model", str(tiny_model)]
    give(data, monkeypatch)
    assert main(["restore", "-", "-o", "-", *options]) == 0
    output = capsysbinary.readouterr()
    assert output.err == b""
    assert output.out.startswith(b"RIFF")
    assert soundfile.info(io.BytesIO(output.out)).frames == RATE

    give(data, monkeypatch)
    assert main(["restore", "-", "-o", "x.flac", *options]) == 0
    assert capsysbinary.readouterr().out == b"standard input -> x.flac\n"
    assert soundfile.info("x.flac").frames == RATE
    assert main(["restore", "x.flac", "-o", "-", "--format", "flac", *options]) == 0
    assert soundfile.info(io.BytesIO(capsysbinary.readouterr().out)).format == "FLAC"

    give(b"no audio", monkeypatch)
    assert main(["restore", "-", "-o", "-", *options]) == 2
    output = capsysbinary.readouterr()
    assert output.out == b""
    assert output.err == b"unlossy: standard input is not an audio file, or is damaged at its beginning\n"
    give(b"", monkeypatch)
    assert main(["restore", "-", "-o", "y.flac", *options]) == 2
    assert capsysbinary.readouterr().err == b"unlossy: standard input is empty\n"
    assert sorted(os.listdir()) == ["temporary", "x.flac"]
    assert not os.listdir(temporary)

    Path("-").write_bytes(data)
    assert main(["restore", "./-", "-o", "z.flac", *options]) == 0
    assert soundfile.info("z.flac").frames == RATE


def test_a_url_is_named_as_one(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    sentence = "https://example.org/a.mp3 is a URL: download the file first"
    assert main(["restore", "https://example.org/a.mp3", *options]) == 2
    assert capsys.readouterr().err == f"unlossy: {sentence}\n"
    assert main(["restore", "https://example.org/a.mp3", str(damaged), *options]) == 1
    assert f"unlossy: 1 of 2 files failed:\n  {sentence}\n" in capsys.readouterr().err
    assert main(["info", "https://example.org/a.mp3"]) == 2
    assert capsys.readouterr().err == f"unlossy: {sentence}\n"
