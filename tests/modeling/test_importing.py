"""`import unlossy` beside libraries that don't fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def unloadable_torchaudio(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds a torchaudio whose library is for another torch."""
    (tmp_path / "torchaudio").mkdir()
    reason = "Could not load this library: torchaudio/lib/_torchaudio.so"
    (tmp_path / "torchaudio" / "__init__.py").write_text(f"raise OSError({reason!r})\n")
    (tmp_path / "torchaudio-1.2.3.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchaudio\nVersion: 1.2.3\n"
    (tmp_path / "torchaudio-1.2.3.dist-info" / "METADATA").write_text(metadata)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import unlossy"],
        ["-m", "unlossy_cli", "info", "song.mp3"],
        ["-m", "unlossy_training", "evaluate", "recordings/"],
    ],
)
def test_torchaudio_that_does_not_load(unloadable_torchaudio: dict[str, str], command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], env=unloadable_torchaudio, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    said = done.stderr.splitlines()[-1]
    assert "torchaudio 1.2.3 does not load beside torch" in said
    assert "pip install torch==" in said  # a pair that fits
    assert "_torchaudio.so" not in done.stderr
    if command[0] == "-m":
        assert done.stderr.splitlines() == [said]
