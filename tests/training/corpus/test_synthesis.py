"""FluidSynth and its soundfonts."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import mido
import pytest

from unlossy_training.corpus import synthesis
from unlossy_training.corpus.arranging import midi_file

PIECE = midi_file([(0.0, mido.Message("note_on", note=60)), (1.0, mido.Message("note_off", note=60))])


def test_missing_fluidsynth_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"FluidSynth is missing.*fluid-soundfont-gm"):
        synthesis.find_soundfonts()


def test_missing_soundfonts_name_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(synthesis, "SOUNDFONTS", ())
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(ValueError, match=r"soundfont is missing.*fluid-soundfont-gm"):
        synthesis.find_soundfonts()
    with pytest.raises(ValueError, match="no soundfonts"):
        synthesis.find_soundfonts([(tmp_path, "MIT", 1.0)])
    (tmp_path / "mine.sf2").touch()
    [mine] = synthesis.find_soundfonts([(tmp_path, "CC0-1.0", 2.0)])
    assert (mine.share, mine.license) == (1.0, "CC0-1.0")


def test_broken_off_render(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis.subprocess, "run", lambda *a, **k: SimpleNamespace(stderr="no such soundfont"))
    with pytest.raises(ValueError, match=r"wrote 0 samples with none\.sf2.*no such soundfont"):
        synthesis.synthesize(PIECE, Path("none.sf2"), 2.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left") as caught:
        synthesis.synthesize(PIECE, Path("none.sf2"), 2.0)
    assert caught.value.errno == errno.ENOSPC
