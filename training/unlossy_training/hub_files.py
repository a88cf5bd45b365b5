"""Checkpoints and files of a checkpoint or dataset, wherever they lie."""

from pathlib import Path
from typing import cast

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from unlossy import SHIPPED_AUTOENCODER, SHIPPED_MODEL, UnlossyAutoencoder, UnlossyModel
from unlossy.hub.loading_unlossy import load_checkpoint

SHIPPED = {Path(folder).name: Path(folder) for folder in (SHIPPED_MODEL, SHIPPED_AUTOENCODER)}


Network = UnlossyModel | UnlossyAutoencoder


def load_network(name: str | Path) -> Network:
    """The restorer or autoencoder of a folder or Hub id, on the CPU.

    Raises:
        ModelNotFoundError: neither is there.
    """
    return cast(Network, load_checkpoint(name, "cpu", UnlossyModel, UnlossyAutoencoder))


def find_checkpoint(name: str) -> Path:
    """The folder of a checkpoint: the one that is named, or that of the checkpoint of this name in the package.

    Raises:
        ValueError: neither is there.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if name not in SHIPPED:
        raise ValueError(f"there is no folder {name}, and the package has only the checkpoints {', '.join(SHIPPED)}")
    return SHIPPED[name]


def find_file(name: str, file: str, *, repo_type: str = "model") -> Path | None:
    """A file of a folder, or of a Hub repository by id, in the local cache; `None` if it has none of that name.

    Raises:
        OSError: there is no such repository, or the token doesn't open it.
    """
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file, repo_type=repo_type))
    except (EntryNotFoundError, HFValidationError):  # the latter for a path, which is no id
        return None
