"""The files of everybody who has the page open: kept apart, and removed when the page is closed."""

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_ROUND = 10  # [s] between the rounds of the sweeper
_STALLED = 300  # [s] after which an upload that gets nothing has broken off
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
        with suppress(FileNotFoundError):
            os.utime(upload.parent)  # another session may have brought the same file long ago

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

    def sweep(self, age: float) -> None:
        """Remove what is older [s], whoever forgot it, such as a program that doesn't say when it leaves; and what an
        upload that broke off has left."""
        now = time.time()
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):
                untouched = now - path.stat().st_mtime
                if path.is_dir() and untouched > age:
                    shutil.rmtree(path, ignore_errors=True)
                elif path.is_file() and untouched > min(age, _STALLED):
                    path.unlink()
        with self._lock:
            for upload in [upload for upload in self._users if not upload.exists()]:
                del self._users[upload]

    def keep_sweeping(self, age: float) -> None:
        """Sweep now and then, as long as the process runs."""

        def run() -> None:
            while True:
                time.sleep(_ROUND)
                self.sweep(age)

        threading.Thread(target=run, name="sweeper", daemon=True).start()

    def _folder(self, session: str | None) -> Path:
        # The name comes from the client: it must neither lead elsewhere nor be guessed.
        return self.root / hashlib.sha256(f"{self.root}{session}".encode()).hexdigest()


def is_stopped(folder: Path) -> bool:
    """Whether the work in a folder that `new_folder` made has been stopped, or its session closed."""
    return not folder.is_dir() or os.path.exists(folder / _STOP)
