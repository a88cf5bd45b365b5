"""Folders to the Hub: one commit for each repository, so that nobody ever loads half of one, and a tag for it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)

from ..hub_files import find_file

# What a repository of ours has in it: a word in a file. Anything else that has the name isn't overwritten.
MARKS = {"model": ("config.json", '"unlossy"'), "dataset": ("README.md", "unlossy"), "space": ("README.md", "unlossy")}


@dataclass(frozen=True)
class Upload:
    """A folder and the repository that it goes to.

    Attributes:
        repo_type (`str`): "model", "dataset" or "space".
        complete (`Callable[[str], None]`, *optional*): writes what names the revision of the model before it.
    """

    repo_type: str
    repo_id: str
    folder: Path
    complete: Callable[[str], None] | None = None

    def sizes(self) -> dict[str, int]:
        """Names and sizes [bytes] of the files to upload."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files}


def prepare(uploads: Sequence[Upload], tag: str | None) -> None:
    """Find out what stands against uploading, before anything is.

    Raises:
        ValueError: no valid token, a foreign namespace, a repository of that name that holds something else, or a tag
            that is taken.
    """
    api = HfApi()
    try:
        user = api.whoami()
    except LocalTokenNotFoundError as error:
        raise ValueError("there is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        raise ValueError(f"the Hub doesn't accept the token ({reason(error)}): log in with `hf auth login`") from error
    except HTTPError as error:
        raise ValueError(f"the Hub can't be reached at {api.endpoint}: {error}") from error
    namespaces = [user["name"], *(organization["name"] for organization in user.get("orgs", []))]
    for upload in uploads:
        name = f"the {upload.repo_type} {upload.repo_id}"
        if upload.repo_id.split("/")[0] not in namespaces:
            raise ValueError(f"{name} can't be written with this token, which is for {', '.join(namespaces)}")
        try:
            refs = api.list_repo_refs(upload.repo_id, repo_type=upload.repo_type)
        except RepositoryNotFoundError:
            continue
        except HFValidationError as error:
            raise ValueError(f"{upload.repo_id!r} is no id of a repository: write user/name") from error
        files = set(api.list_repo_files(upload.repo_id, repo_type=upload.repo_type)) - {".gitattributes"}
        file, word = MARKS[upload.repo_type]
        path = find_file(upload.repo_id, file, repo_type=upload.repo_type) if file in files else None
        if files and (path is None or word not in path.read_text()):
            raise ValueError(f"{name} is there, and holds something else: choose another id")
        if tag in [known.name for known in refs.tags]:
            raise ValueError(f"{name} already has the tag {tag}: choose another --tag")


def upload_all(
    uploads: Sequence[Upload],
    tag: str | None,
    step: Callable[[str], AbstractContextManager[None]],
    *,
    private: bool = False,
) -> list[str]:
    """Upload, one repository after another.

    Args:
        step: a context for each, by its name, to show what runs.

    Returns:
        the address of each, with its revision.

    Raises:
        ValueError: the Hub refuses one; the message says which are done.
    """
    api = HfApi()
    done: list[str] = []
    revision = ""  # of the model, once it is there
    for upload in uploads:
        if upload.complete:
            upload.complete(revision)
        where: dict[str, Any] = {"repo_id": upload.repo_id, "repo_type": upload.repo_type}
        name = f"the {upload.repo_type} {upload.repo_id}"
        sizes = upload.sizes()
        try:
            with step(f"uploading {name} ({len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB)"):
                space_sdk = "gradio" if upload.repo_type == "space" else None
                url = api.create_repo(**where, space_sdk=space_sdk, private=private, exist_ok=True)
                # What the folder doesn't have any more goes with the same commit.
                commit = api.upload_folder(
                    **where, folder_path=upload.folder, commit_message=f"Publish {tag or 'with unlossy-train'}",
                    delete_patterns="*",
                )  # fmt: skip
                if tag:
                    api.create_tag(**where, tag=tag, revision=commit.oid)
        except HTTPError as error:
            finished = f"; done before it: {', '.join(done)}" if done else ""
            raise ValueError(f"the Hub refuses {name}: {reason(error)}{finished}") from error
        if upload.repo_type == "model":
            revision = tag or commit.oid
        done.append(f"{url} at revision {commit.oid}" + (f", tag {tag}" if tag else ""))
    return done


def reason(error: HTTPError) -> str:
    """The Hub's own words, without what huggingface_hub puts around them; or why it can't be reached."""
    return getattr(error, "server_message", None) or " ".join(str(error).split())
