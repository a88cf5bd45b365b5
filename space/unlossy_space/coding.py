"""The tab "Autoencoder": a clip through the 11:1 bottleneck and back, and what it looked like in between."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from unlossy_space import engine
from unlossy_space.degrading import HEADERS, MAX_SECONDS, MEANING, measure
from unlossy_space.player import make_player, make_value
from unlossy_space.sessions import Sessions

if TYPE_CHECKING:
    from unlossy import Embedding

BITS = {"float": 32, "8 bits": 8, "4 bits": 4}


def code(original: np.ndarray, bits: int, progress: gr.Progress) -> tuple[np.ndarray, "Embedding", float]:
    """
    Args:
        original (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz.
        bits (`int`): of each value of the embedding's file.

    Returns:
        what the file is decoded to, of the same shape; the embedding; and the file's bitrate [kbps].
    """
    from unlossy import decode, encode
    from unlossy.embedding import from_bytes, to_bytes
    from unlossy_space.clips import LISTENING_RATE

    progress(0, desc="encoding")
    model = engine.autoencoder()
    embedding = encode(original, model, sampling_rate=LISTENING_RATE)
    stored = to_bytes(embedding, bits)
    progress(0.5, desc="decoding")
    decoded = np.asarray(decode(from_bytes(stored), model).audio)
    return decoded, embedding, 8 * len(stored) / embedding.seconds / 1000


def build(sessions: Sessions, example: Path) -> None:
    """Lay out the tab, and connect it."""

    def run(
        upload: str | None,
        bits: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - so Gradio wants it
    ) -> tuple[Any, ...]:
        """Encode the first 30 s of audio, store that, and decode it. Returns the files, the figures and a picture."""
        path, folder = engine.accept(upload, sessions, request)
        from unlossy import pictures
        from unlossy_space import clips

        with engine.explained(path):
            original = clips.read_beginning(path, MAX_SECONDS)
            decoded, embedding, kbps = code(original, BITS[bits], progress)
            progress(0.8, desc="measuring")
            table = [[f"{kbps:.0f} kbps", *measure(original, decoded)]]
        audio = {"Decoded": decoded, "Original": original}
        files = {name: clips.write_clip(folder / f"{name}.flac", samples) for name, samples in audio.items()}
        picture = pictures.draw_embedding(embedding, folder / "embedding.png")
        return make_value(files, "Decoded", ("Decoded", "Original")), table, picture, gr.Column(visible=True)

    with gr.Row():
        with gr.Column():
            upload = gr.Audio(type="filepath", label="Audio", sources=["upload"], editable=False, buttons=[])
            try_example = gr.Button("Try the example", size="sm")
        with gr.Column():
            bits = gr.Radio(list(BITS), value="8 bits", label="Each value of the embedding is stored in")
            start = gr.Button("Encode and decode", variant="primary", interactive=False)
            status = gr.HTML(elem_classes="status")
    with gr.Column(visible=False) as results:
        player = make_player()
        table = gr.Dataframe(headers=list(HEADERS), interactive=False, label="Against the original", buttons=["copy"])
        gr.Markdown(MEANING, elem_classes="small")
        picture = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"])

    try_example.click(lambda: str(example), outputs=upload, api_visibility="private")
    upload.change(lambda upload: gr.Button(interactive=upload is not None), upload, start, api_visibility="private")
    start.click(
        run, [upload, bits], [player, table, picture, results],
        api_name="encode_and_decode", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
