"""The page: what stands where, and how it is served."""

import importlib.metadata
import logging
from pathlib import Path

import gradio as gr
from huggingface_hub import constants
from starlette.requests import ClientDisconnect

from unlossy_space import EXAMPLES, coding, degrading, engine, limits, restoring
from unlossy_space.sessions import Sessions

LIMITS = "limits-and-failure-cases"  # a heading of the model's card
_MAX_AGE = 3600  # [s] of files whose page was never closed
_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")  # from the reader's own machine

# The style sheet doesn't reach the footer, of which a narrow page has but one link.
_HEAD = "<style>@media (max-width: 640px) { footer .divider { display: none !important; } }</style>"


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
    with gr.Blocks(title="Unlossy", analytics_enabled=False) as page:
        gr.Markdown(
            "# Unlossy\nRestores the treble and clarity of music and speech saved as MP3, AAC, Vorbis or Opus at a low "
            "bitrate.  \nWhat is lost is lost: the treble that you hear is plausible, not the true one."
        )
        with gr.Tab("Restore"):
            restoring.build(sessions, EXAMPLES / "canon_64kbps.mp3")
        with gr.Tab("Degrade and restore"):
            degrading.build(sessions, EXAMPLES / "canon.flac")
        with gr.Tab("Autoencoder"):
            coding.build(sessions, EXAMPLES / "canon.flac")
        gr.Markdown(
            f"A file may have {limits.MAX_SECONDS / 60:.0f} minutes and {limits.MAX_BYTES / 1e6:.0f} MB; the command "
            "`unlossy restore` takes longer ones. It stays on this server until you close the page, and is sent "
            "nowhere else.  \n" + " · ".join(facts),
            elem_classes="small",
        )

        def close(request: gr.Request) -> None:
            sessions.close(request.session_hash)

        page.unload(close)
    return page


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server's log is about more than somebody who has left."""
    return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))


def serve(root: Path, model: str | None, revision: str | None, port: int | None) -> None:
    """Serve the page until it is interrupted.

    Args:
        root (`Path`): Gradio's folder for temporary files.
        model, revision, port: see `unlossy_space.launch`.
    """
    sessions = Sessions(root)
    sessions.keep_sweeping(_MAX_AGE)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    page = build(sessions, model)
    if engine.is_zero_gpu():
        engine.load(model, revision)
    _, url, _ = page.queue(default_concurrency_limit=4).launch(
        server_port=port,
        quiet=True,
        share=False,
        prevent_thread_lock=True,
        max_file_size=2 * limits.MAX_BYTES,  # what is less has a better answer, see `clips`
        run_history=False,
        enable_monitoring=False,
        footer_links=["api", "settings"],
        head=_HEAD,
        theme=gr.themes.Default(font=_FONTS[0], font_mono=_FONTS[1]),
        css_paths=Path(__file__).parent / "page.css",
    )
    print(f"Unlossy is at {url}", flush=True)
    if not engine.is_zero_gpu():
        engine.load(model, revision)  # now that the page is there
    page.block_thread()
