"""The web demo: `unlossy demo` on one's own machine, `space/app.py` on Hugging Face Spaces.

    page          what stands where, and how it is served
    restoring     the tab "Restore"
    degrading     the tab "Degrade and restore"
    coding        the tab "Autoencoder"
    player        one player for several versions of a clip, with a blind test (player.html, player.css, player.js)
    limits        what may come in
    clips         uploads: how they are read, described and listened to
    engine        the model, on a CPU or on ZeroGPU
    sessions      everybody's files, and their end

As in the command line, no module but `clips` imports `unlossy` or torch at its top, and none imports `clips` there: the
page is there before they are loaded.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

_HERE = Path(__file__).parent
# In an installed package, or in the repository that this is part of.
EXAMPLES = next(path for path in (_HERE / "examples", _HERE.parent / "examples") if path.is_dir())


_PREFIX = "unlossy-demo-"  # of the temporary folder of each demo
_LOCK = "running"  # a file in it, locked by the system for as long as the demo lives
_SETTLED = 60  # [s] after which a demo that has just made its folder has locked it


def launch(model: str | None = None, revision: str | None = None, port: int | None = None) -> None:
    """Serve the page, and return when that is interrupted. Nothing of it is left then; what a demo that was killed has
    left is removed at the next start.

    Args:
        model (`str`, *optional*): Hub id or folder; the checkpoint in the package by default.
        revision (`str`, *optional*): of the model on the Hub; the newest by default.
        port (`int`, *optional*): the first free one from 7860 by default.

    Raises:
        OSError: the port is in use.
    """
    remove_leftovers(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder,
        FileLock(Path(folder, _LOCK)),
    ):
        root = Path(folder, "files").resolve()
        root.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(root)  # read when Gradio is imported, and at any time
        from unlossy_space.page import serve

        serve(root, model, revision, port)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of demos that don't run any more.

    Args:
        folder (`Path`): where they are; other users' stay.
    """
    for path in folder.glob(f"{_PREFIX}*"):
        lock = path / _LOCK
        try:
            if path.is_symlink() or lock.is_symlink() or time.time() - path.stat().st_mtime < _SETTLED:
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        except (Timeout, OSError):  # it runs, or is somebody else's
            continue


__all__ = ["EXAMPLES", "launch"]
