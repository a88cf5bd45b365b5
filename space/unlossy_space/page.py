"""The page: what stands where, and how it is served."""

import importlib.metadata
from pathlib import Path

import gradio as gr
from huggingface_hub import constants

from unlossy_space import EXAMPLES, clips, coding, degrading, engine, restoring
from unlossy_space.sessions import Sessions

LIMITS = "limits-and-failure-cases"  # a heading of the model's card
_MAX_AGE = 3600  # [s] of files whose page was never closed
_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")  # from the reader's own machine


def build(sessions: Sessions, model: str | None) -> gr.Blocks:
    """Make the page.

    Args:
        sessions (`Sessions`): the files of everybody.
        model (`str`, *optional*): name of the checkpoint, to be shown.
    """
    facts = ["Apache-2.0", f"unlossy {importlib.metadata.version('unlossy')}, {model or engine.shipped_revision()}"]
    if model and not Path(model).is_dir():  # it is on the Hub, and has a card there
        card = f"{constants.ENDPOINT}/{model}"
        facts = [f"[Model card]({card})", f"[what it does, and what not]({card}#{LIMITS})", *facts]
    # Gradio removes by age what it was sent or sends out, whoever forgot to close the page.
    with gr.Blocks(title="Unlossy", analytics_enabled=False, delete_cache=(_MAX_AGE // 6, _MAX_AGE)) as page:
        gr.Markdown(
            "# Unlossy\nGives MP3, AAC, Vorbis and Opus of a low bitrate their treble and clarity back: an educated "
            "guess, since what is lost is lost."
        )
        with gr.Tab("Restore"):
            restoring.build(sessions, EXAMPLES / "canon_64kbps.mp3")
        with gr.Tab("Degrade and restore"):
            degrading.build(sessions, EXAMPLES / "canon.flac")
        with gr.Tab("Autoencoder"):
            coding.build(sessions, EXAMPLES / "canon.flac")
        gr.Markdown(
            f"At most {clips.MAX_SECONDS / 60:.0f} minutes and {clips.MAX_BYTES / 1e6:.0f} MB; for more there is "
            "`unlossy restore`. Files are removed when the page is closed, and sent nowhere else.  \n"
            + " · ".join(facts)
        )

        def close(request: gr.Request) -> None:
            sessions.close(request.session_hash)

        page.unload(close)
    return page


def serve(root: Path, model: str | None, revision: str | None, port: int | None) -> None:
    """Serve the page until it is interrupted.

    Args:
        root (`Path`): Gradio's folder for temporary files.
        model, revision, port: see `unlossy_space.launch`.
    """
    page = build(Sessions(root), model)
    if engine.is_zero_gpu():
        engine.load(model, revision)
    _, url, _ = page.queue(default_concurrency_limit=4).launch(
        server_port=port,
        quiet=True,
        share=False,
        prevent_thread_lock=True,
        max_file_size=2 * clips.MAX_BYTES,  # what is less has a better answer, see `clips`
        run_history=False,
        enable_monitoring=False,
        footer_links=["api", "settings"],
        theme=gr.themes.Default(font=_FONTS[0], font_mono=_FONTS[1]),
        css_paths=Path(__file__).parent / "page.css",
    )
    print(f"Unlossy is at {url}", flush=True)
    if not engine.is_zero_gpu():
        engine.load(model, revision)  # now that the page is there
    page.block_thread()
