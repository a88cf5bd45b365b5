"""A component that plays several versions of a clip at once, of which one is heard, with a blind test between two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

_HERE = Path(__file__).parent

from gradio.events import Dependency

class Player(gr.HTML):
    """
    Args:
        pair (`tuple[str, str]`): the versions that the blind test is about.
        chosen (`str`): the one that is heard first.

    Its value is a mapping from the name of each version to its file, which `write_clip` has made, or `None`.
    """

    def __init__(self, pair: tuple[str, str], chosen: str, **options: Any) -> None:
        self.pair, self.chosen = pair, chosen
        super().__init__(
            html_template=(_HERE / "player.html").read_text(),
            css_template=(_HERE / "player.css").read_text(),
            js_on_load=(_HERE / "player.js").read_text(),
            apply_default_css=False,
            **options,
        )

    def postprocess(self, value: Mapping[str, str] | None) -> dict[str, Any] | None:  # type: ignore[override]
        if value is None:
            return None
        names = list(value)
        return {
            # The files get their URLs when Gradio finds them in here.
            "tracks": [{"name": name, "file": FileData(path=path).model_dump()} for name, path in value.items()],
            "pair": [names.index(name) for name in self.pair],
            "chosen": names.index(self.chosen),
        }

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "the versions as files"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
