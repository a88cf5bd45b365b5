"""The files of everybody who has the page open: kept apart, and removed when the page is closed."""

import hashlib
import os
import secrets
import shutil
import threading
from collections import defaultdict
from pathlib import Path

_STOP = "stop"  # a file, not an Event: on ZeroGPU the work is done in another process


class Sessions:
    """
    Args:
        root (`Path`): Gradio's folder for temporary files, the only one that it serves without copying.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Gradio names an upload's folder after its content: several sessions may have the same file.
        self._users: defaultdict[Path, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def new_folder(self, session: str | None) -> Path:
        """Make an empty folder for the files of one run."""
        folder = self._folder(session) / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder

    def keep(self, session: str | None, upload: Path) -> None:
        """Note whose an uploaded file is."""
        with self._lock:
            self._users[upload].add(str(session))

    def stop(self, session: str | None) -> None:
        """Let everything that runs for a session end soon."""
        for folder in self._folder(session).glob("*"):
            (folder / _STOP).touch()

    def close(self, session: str | None) -> None:
        """Stop what runs for a session, and remove its files."""
        shutil.rmtree(self._folder(session), ignore_errors=True)
        with self._lock:
            uploads = [upload for upload, users in self._users.items() if str(session) in users]
            for upload in uploads:
                self._users[upload].discard(str(session))
                if not self._users[upload]:
                    del self._users[upload]
                    shutil.rmtree(upload.parent, ignore_errors=True)

    def _folder(self, session: str | None) -> Path:
        # The name comes from the client: it must neither lead elsewhere nor be guessed.
        return self.root / hashlib.sha256(f"{self.root}{session}".encode()).hexdigest()


def is_stopped(folder: Path) -> bool:
    """Whether the work in a folder that `new_folder` made has been stopped, or its session closed."""
    return not folder.is_dir() or os.path.exists(folder / _STOP)
