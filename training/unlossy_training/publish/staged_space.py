"""The folder of a Space, as `unlossy-train publish` uploads it: what it shows, and what it is built from.

It is completed once the model's repository has its revision, which everything in it names:

    requirements.txt   the wheel there
    published.json     the model, which app.py loads
"""

import json
import shutil
from pathlib import Path

from huggingface_hub import SpaceCard

HEADER = "README.md"
# The package comes with the wheel, and the page in the browser is a Space of its own; the rest is left over from trying
# the Space in its folder.
LEFT_OUT = ("unlossy_space", "browser", "__pycache__", "*.restored.*")


def stage(source: Path, folder: Path, repo_id: str, endpoint: str) -> None:
    """Copy a Space's folder, and let its header and text name the model's repository.

    Raises:
        ValueError: it has no header.
    """
    if not (source / HEADER).exists():
        raise ValueError(f"{source} is no Space: it has no {HEADER} with the Space's header")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    card = SpaceCard.load(folder / HEADER)
    card.data.models = [repo_id]
    card.text = f"{card.text.rstrip()} The [model card]({endpoint}/{repo_id}) says what to expect.\n"
    card.save(folder / HEADER)


def complete(folder: Path, repo_id: str, revision: str, wheel_url: str) -> None:
    """Write what depends on the revision that the model was published as."""
    requirements = folder / "requirements.txt"
    own = requirements.read_text().splitlines() if requirements.exists() else []
    requirements.write_text("\n".join([*own, f"unlossy[space] @ {wheel_url}", ""]))
    (folder / "published.json").write_text(json.dumps({"model": repo_id, "revision": revision}) + "\n")
