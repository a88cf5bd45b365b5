"""What the command line says about odd files, and with which exit code."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import soundfile
from odd_files import RATE, encode, frames_of_mp3, make_music

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


def test_a_damaged_file_is_restored_with_a_warning(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_a_file_without_its_end_is_restored_when_asked(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged.write_bytes(damaged.read_bytes()[:15_000])
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert main(["restore", str(damaged), *options]) == 2
    sentence = f"{damaged} is truncated or damaged: 0.9 s of 2.0 s can be decoded"
    assert capsys.readouterr().err == f"unlossy: {sentence}; add --partial to restore what is there\n"
    assert main(["restore", str(damaged), "--partial", *options]) == 0
    assert capsys.readouterr().err == f"unlossy: warning: {sentence}\n"


def test_one_folder_without_audio_does_not_stop_the_others(
    damaged: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
