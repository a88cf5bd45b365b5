"""A player of several versions of a clip, all at once, of which one is heard, with a blind test between two of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

_HERE = Path(__file__).parent


def make_player() -> gr.HTML:
    """The component. (A subclass of Gradio's would have Gradio write a stub file into this folder.)"""
    return gr.HTML(
        html_template=(_HERE / "player.html").read_text(),
        css_template=(_HERE / "player.css").read_text(),
        js_on_load=(_HERE / "player.js").read_text(),
        apply_default_css=False,
    )


def make_value(files: Mapping[str, str], chosen: str, pair: tuple[str, str]) -> dict[str, Any]:
    """What the player plays.

    Args:
        files (`Mapping[str, str]`): from the name of each version to its file, which `write_clip` has made.
        chosen (`str`): the version that is heard first.
        pair (`tuple[str, str]`): those that the blind test is about.
    """
    names = list(files)
    return {
        # Gradio finds the files in here, and gives them their URLs.
        "tracks": [{"name": name, "file": FileData(path=path).model_dump()} for name, path in files.items()],
        "chosen": names.index(chosen),
        "pair": [names.index(name) for name in pair],
    }
