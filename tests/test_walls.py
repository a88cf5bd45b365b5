"""Walls: which part may import which, and what may be imported where every millisecond counts."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
ROOTS = {
    "unlossy": TOP / "modeling" / "unlossy",
    "unlossy_cli": TOP / "modeling" / "unlossy_cli",
    "unlossy_space": TOP / "space" / "unlossy_space",
    "unlossy_training": TOP / "training" / "unlossy_training",
}
# What each package may import beside itself. `unlossy demo` starts the web demo, which shares the command line's lists.
PACKAGES = {
    "unlossy": set(),
    "unlossy_cli": {"unlossy", "unlossy_space"},
    "unlossy_space": {"unlossy", "unlossy_cli"},
    "unlossy_training": {"unlossy", "unlossy_cli", "unlossy_space"},
}
# Each part of the training package may import those before it.
LAYERS = (
    "files",
    "pool",
    "hub_files",
    "conditions",
    "corpus",
    "pairs",
    "evaluation",
    "fit",
    "benchmarks",
    "publish",
    "finetune",
)
# What a file on the Hub may import at its top: everybody who loads a model has these.
ON_THE_HUB = {"torch", "transformers", "huggingface_hub", "safetensors", "numpy", *sys.stdlib_module_names}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOTS[package].rglob("*.py")):
        parts = path.relative_to(ROOTS[package]).with_suffix("").parts
        yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def imports(name: str, path: Path, nodes: Iterator[ast.AST] | None = None) -> set[str]:
    """Full names of the modules that a file imports, within functions too."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in nodes or ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", ROOTS)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    for name, path in modules(package):
        others = {module.split(".")[0] for module in imports(name, path)} & (set(ROOTS) - {package})
        assert others <= PACKAGES[package], f"{path} imports {others}"


def test_what_travels_to_the_hub_stands_alone() -> None:
    files = {path.stem: path for path in (ROOTS["unlossy"] / "hub").glob("*.py") if path.stem != "__init__"}
    assert len(files) > 10
    for stem, path in files.items():
        for module in imports(f"unlossy.hub.{stem}", path):
            if module.split(".")[0] in ROOTS:
                assert module.split(".")[2] in files, f"{path} imports {module}"
        top = imports(f"unlossy.hub.{stem}", path, iter(ast.parse(path.read_text()).body))
        foreign = {module.split(".")[0] for module in top} - ON_THE_HUB - {"unlossy"}
        assert not foreign, f"{path} imports {foreign} at its top, outside `try:`"


def test_no_part_of_training_imports_one_above_it() -> None:
    for name, path in modules("unlossy_training"):
        parts = name.split(".")
        if len(parts) < 2 or parts[1] not in LAYERS:
            continue  # the command line, which imports a command when it is asked for
        for module in imports(name, path):
            other = module.split(".")
            if other[0] == "unlossy_training" and other[1] in LAYERS:
                assert LAYERS.index(other[1]) <= LAYERS.index(parts[1]), f"{path} imports {module}"


@pytest.mark.parametrize("module", ["unlossy_cli", "unlossy_training"])
def test_help_needs_no_torch(module: str) -> None:
    code = f"""
import sys
sys.argv = ["{module}", "--help"]
import runpy
try:
    runpy.run_module("{module}", run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "restore" in done.stdout or "finetune" in done.stdout
