"""The wheel of this package, weights and all: what a published model and its Space are installed from.

No registry has the package, so that its own model repository is where it comes from.
"""

import importlib.metadata
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from hatchling.builders.wheel import WheelBuilder

SOURCE = Path(__file__).parents[3]  # the repository, unless this is an installed wheel
_NOT_IN_THE_WHEEL = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"}  # written by installers


def build(folder: Path) -> Path:
    """Build the wheel of the running code in `folder`, from its source or, where that isn't there, from what was
    installed.

    Returns:
        its path.
    """
    if (SOURCE / "pyproject.toml").exists():
        return Path(next(iter(WheelBuilder(str(SOURCE)).build(directory=str(folder), versions=["standard"]))))
    return repack(importlib.metadata.distribution("unlossy"), folder)


def repack(installed: importlib.metadata.Distribution, folder: Path) -> Path:
    """The wheel that a pure-Python distribution was installed from.

    Raises:
        ValueError: it has no list of its files.
    """
    if not installed.files:
        raise ValueError(f"what is installed of {installed.name} has no list of its files: install it again with pip")
    # What lies outside of the folder are commands, and what has no hash is bytecode: installers make both anew.
    files = [
        file
        for file in installed.files
        if file.parts[0] != ".." and file.name not in _NOT_IN_THE_WHEEL and file.hash is not None
    ]
    information = next(file.parent for file in files if file.name == "WHEEL")
    record = [f"{file},{file.hash.mode}={file.hash.value},{file.size}" for file in files if file.hash]
    path = folder / f"{installed.name}-{installed.version}-py3-none-any.whl"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file.locate(), str(file))
        archive.writestr(f"{information}/RECORD", "\n".join([*record, f"{information}/RECORD,,", ""]))
    return path
