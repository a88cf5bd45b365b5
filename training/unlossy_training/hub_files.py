"""Finds checkpoints, and files of checkpoints and datasets, in folders, in the package or on the Hub."""

from pathlib import Path
from typing import cast

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from unlossy import SHIPPED_AUTOENCODER, SHIPPED_MODEL, UnlossyAutoencoder, UnlossyModel
from unlossy.hub.loading_unlossy import load_checkpoint

SHIPPED = {Path(folder).name: Path(folder) for folder in (SHIPPED_MODEL, SHIPPED_AUTOENCODER)}
Network = UnlossyModel | UnlossyAutoencoder


def load_network(name: str | Path) -> Network:
    """Load the restorer or autoencoder of a folder or Hub id to the CPU.

    Raises:
        ModelNotFoundError: there is neither.
    """
    return cast(Network, load_checkpoint(name, "cpu", UnlossyModel, UnlossyAutoencoder))


def find_checkpoint(name: str) -> Path:
    """Find the folder of a checkpoint: a folder of this name, or the checkpoint of this name in the package.

    Raises:
        ValueError: there is neither.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if name not in SHIPPED:
        raise ValueError(f"there is no folder {name}, and the package has only the checkpoints {', '.join(SHIPPED)}")
    return SHIPPED[name]


def find_file(name: str, file: str, *, repo_type: str = "model") -> Path | None:
    """Find a file in a folder, or download it from a Hub repository into the local cache.

    Args:
        name (`str`): folder or Hub id.
        file (`str`): name of the file.
        repo_type (`str`, defaults to "model"): kind of repository, as the Hub calls it.

    Returns:
        `Path` or `None`: nothing if there is no file of that name.

    Raises:
        OSError: there is no such repository, or the token gives no access to it.
    """
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file, repo_type=repo_type))
    except (EntryNotFoundError, HFValidationError):  # the latter if the name is that of a missing folder
        return None
