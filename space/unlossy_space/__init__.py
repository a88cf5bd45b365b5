"""The web demo: `unlossy demo` on one's own machine, `space/app.py` on Hugging Face Spaces.

    page          what stands where, and how it is served
    restoring     the tab "Restore"
    degrading     the tab "Degrade and restore"
    coding        the tab "Autoencoder"
    player        one player for several versions of a clip, with a blind test (player.html, player.css, player.js)
    clips         uploads: what may come in, and how it is listened to
    engine        the model, on a CPU or on ZeroGPU
    sessions      everybody's files, and their end

As in the command line, no module imports `unlossy` or torch at its top: the page is there before they are loaded.
"""

import os
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
# In an installed package, or in the repository that this is part of.
EXAMPLES = next(path for path in (_HERE / "examples", _HERE.parent / "examples") if path.is_dir())


def launch(model: str | None = None, revision: str | None = None, port: int | None = None) -> None:
    """Serve the page, and return when that is interrupted.

    Args:
        model (`str`, *optional*): Hub id or folder; the checkpoint in the package by default.
        revision (`str`, *optional*): of the model on the Hub; the newest by default.
        port (`int`, *optional*): the first free one from 7860 by default.

    Raises:
        OSError: the port is in use.
    """
    with tempfile.TemporaryDirectory(prefix="unlossy-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(root)  # read when Gradio is imported
        from unlossy_space.page import serve

        serve(root, model, revision, port)


__all__ = ["EXAMPLES", "launch"]
