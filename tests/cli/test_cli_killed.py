"""A run that is killed leaves no file that only looks whole, and the next run completes it and clears up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from odd_files import encode, make_music
from signals import RATE

from unlossy.hub.audio_unlossy import AudioReader

FILES, SECONDS = 4, 8


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    data = encode(make_music(SECONDS), "mp3", "libmp3lame", tags={"title": "Nimrod"})
    for number in range(FILES):
        (folder / f"song{number}.mp3").write_bytes(data)
    return folder


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False], ids=["all processes", "the first process"])
@pytest.mark.parametrize(("seed", "suffix"), [(0, "flac"), (1, "m4a"), (2, "flac")])
def test_what_is_there_after_a_kill_is_whole(
    songs: Path, tiny_model: Path, tmp_path: Path, suffix: str, seed: int, whole_group: bool
) -> None:
    """The moment is drawn between the first sign of a file and the time that all take; workers whose parent is killed
    end by themselves."""
    output = tmp_path / "out"
    command = [sys.executable, "-m", "unlossy_cli", "restore", str(songs), "-o", str(output), "--format", suffix]
    command += ["--model", str(tiny_model), "--device", "cpu"]
    moment = np.random.default_rng([seed, whole_group]).uniform(0, 2.5)
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and not (output.is_dir() and any(output.iterdir())):
            time.sleep(0.01)
        time.sleep(moment)
        if run.poll() is None:
            (os.killpg if whole_group else os.kill)(run.pid, signal.SIGKILL)
    if not whole_group:
        deadline = time.monotonic() + 30
        while hidden(output) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert hidden(output) == []
    there = sorted(output.glob("song*"))
    for path in there:
        with AudioReader(path, strict=True) as reader:
            assert sum(block.shape[1] for block in reader.blocks(RATE)) == SECONDS * RATE
            assert reader.tags.fields["title"] == ["Nimrod"]
    kept = {path: path.stat().st_mtime_ns for path in there}
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    sentence = f"{len(there)} of {FILES} results exist already and stay as they are; add --overwrite to replace them"
    assert again.stderr == (f"unlossy: warning: {sentence}\n" if there else "")
    assert sorted(path.name for path in output.iterdir()) == [f"song{number}.{suffix}" for number in range(FILES)]
    assert kept == {path: path.stat().st_mtime_ns for path in there}
    for path in output.iterdir():
        if suffix == "flac":
            assert soundfile.info(path).frames == SECONDS * RATE
