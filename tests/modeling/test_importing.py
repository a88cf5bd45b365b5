"""`import unlossy` beside libraries that don't fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from signals import CANON


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
        ["-c", "import unlossy; unlossy.UnlossyModel"],
        ["-m", "unlossy_cli", "similar", "song.mp3", str(CANON.parent), "--backend", "torch"],
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


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("imports", ["import unlossy, transformers", "import transformers, unlossy"])
def test_the_models_are_known_to_transformers_in_whatever_order(imports: str) -> None:
    code = f"""
{imports}
config = transformers.AutoConfig.for_model("unlossy")
assert type(transformers.AutoModel.from_config(config)) is unlossy.UnlossyModel
"""
    run(code)


def test_importing_unlossy_alone_imports_neither_torch_nor_transformers() -> None:
    assert run("import sys, unlossy; print({'torch', 'transformers'} & set(sys.modules))").strip() == "set()"


HIDE_TORCH = """
import sys
from importlib.abc import MetaPathFinder


class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in ("torch", "transformers") else find(name, package)
"""


def test_without_torch_a_class_says_what_to_install() -> None:
    code = (
        HIDE_TORCH
        + """
import unlossy
try:
    unlossy.UnlossyModel
except ImportError as error:
    print(error)
"""
    )
    assert run(code).strip() == 'unlossy.UnlossyModel needs torch: pip install "unlossy[torch]"'
