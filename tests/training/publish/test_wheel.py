"""The wheel that is published with a model."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from unlossy_training.hub_files import SHIPPED
from unlossy_training.publish import wheel


def contents(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_what_is_built_from_the_source_and_from_an_installation_is_the_same(tmp_path: Path) -> None:
    built = wheel.build(tmp_path)
    files = contents(built)
    for name, folder in SHIPPED.items():
        weights = (folder / "model.safetensors").read_bytes()
        assert files[f"unlossy/checkpoints/{name}/model.safetensors"] == weights
        assert f"unlossy/checkpoints/{name}/evaluation.json" in files
    assert "unlossy_space/examples/canon_64kbps.mp3" in files
    assert "unlossy_training/publish/cards/restorer.md" in files

    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(built)], check=True)
    installed = next(iter(importlib.metadata.distributions(name="unlossy", path=[str(site)])))
    (tmp_path / "again").mkdir()
    again = wheel.repack(installed, tmp_path / "again")
    assert again.name == built.name
    assert contents(again) == files
    subprocess.run([*pip, "--target", str(tmp_path / "other"), str(again)], check=True)
