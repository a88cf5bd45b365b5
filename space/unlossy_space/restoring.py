"""The tab "Restore": a file in, the restored one out, and both to compare by ear, by eye and in a blind test."""

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from unlossy_space import engine
from unlossy_space.player import make_player, make_value
from unlossy_space.sessions import Sessions

FORMATS = ("flac", "wav", "mp3")
INVITATION = "**Choose a file.**  \nOr record something, or try the example."


class Result(NamedTuple):
    """The upload, what became of it, a copy of the upload to listen to, and a sentence on each thing that is odd."""

    upload: Path
    restored: Path
    before: Path
    warnings: tuple[str, ...]


def build(sessions: Sessions, example: Path) -> None:
    """Lay out the tab, and connect it."""

    def inspect(upload: str | None, request: gr.Request) -> tuple[Any, ...]:
        results = gr.Column(visible=False)  # they belong to the upload before
        if upload is None:
            return INVITATION, gr.Button(interactive=False), results
        sessions.keep(request.session_hash, Path(upload))
        from unlossy_space import clips

        try:
            return clips.describe(clips.inspect_upload(Path(upload))), gr.Button(interactive=True), results
        except ValueError as error:
            return f"⚠️ {error}", gr.Button(interactive=False), results

    def restore(
        upload: str | None,
        detail: float,
        format: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - so Gradio wants it
    ) -> tuple[Any, ...]:
        """Restore a file. `detail` goes from 0, most faithful, to 1, most complete. Returns the restored file, and a
        sentence on each thing that is odd in it."""
        path, folder = engine.accept(upload, sessions, request)
        with engine.explained(path, folder):
            result = Result(path, *engine.restore_upload(path, folder, detail, progress))
        return *convert(result, format), result

    def convert(result: Result | None, format: str) -> tuple[str, str]:
        if result is None:
            raise gr.Error("There is no result yet.", print_exception=False)
        target, warnings = result.restored.with_suffix(f".{format}"), result.warnings
        with engine.explained(result.restored, target):
            if target != result.restored:
                from unlossy_space import clips

                warnings += clips.convert(result.restored, target)
        named = [engine.name_files(warning, result.upload, result.restored, target) for warning in warnings]
        return str(target), "  \n".join(f"⚠️ {sentence}." for sentence in named)

    def compare(result: Result) -> tuple[Any, ...]:
        after = result.before.with_name("After.flac")
        with engine.explained(*result[:2]):
            from unlossy_space import clips

            files = {"Before": str(result.before), "After": clips.copy(result.restored, after)}
        return gr.Column(visible=True), make_value(files, "After", ("Before", "After")), None, None

    # Not a second `yield` of `compare`: to skip the player in one, Gradio changes its value, which ends a blind test.
    def draw(result: Result) -> tuple[Any, ...]:
        from unlossy import pictures
        from unlossy_space import clips

        with engine.explained(*result[:2]):
            (before, _), (after, seconds) = (
                clips.read_power(result.before.with_name(name)) for name in ("Before.flac", "After.flac")
            )
            return pictures.draw_restoration(before, after, seconds, clips.LISTENING_RATE, result.before.parent)

    with gr.Row():
        with gr.Column():
            upload = gr.Audio(
                type="filepath", label="Your file", sources=["upload", "microphone"], editable=False, buttons=[]
            )
            try_example = gr.Button("Try the example", size="sm")
        with gr.Column():
            facts = gr.Markdown(INVITATION, elem_classes="facts")
            detail = gr.Slider(0, 1, 1, step=0.05, label="Detail", info="0: most faithful. 1: most complete.")
            with gr.Row():
                start = gr.Button("Restore", variant="primary", interactive=False, min_width=120, scale=3)
                cancel = gr.Button("Cancel", min_width=90, scale=1)
            status = gr.HTML(elem_classes="status")
    result = gr.State()
    with gr.Column(visible=False) as results:
        remarks = gr.Markdown(elem_classes="remarks")
        player = make_player()
        with gr.Row(elem_classes="download"):
            download = gr.DownloadButton("Download", variant="primary", min_width=120, scale=0)
            format = gr.Radio(
                [(name.upper(), name) for name in FORMATS],
                value="flac",
                label="Format",
                container=False,
                min_width=260,
            )
        with gr.Row():
            spectrograms = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"])
            spectra = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"])

    try_example.click(lambda: str(example), outputs=upload, api_visibility="private")
    upload.change(inspect, upload, [facts, start, results], api_visibility="private")
    run = start.click(
        restore, [upload, detail, format], [download, remarks, result],
        api_name="restore", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
    shown = run.success(
        compare, result, [results, player, spectrograms, spectra],
        api_visibility="private", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
    # Its progress is shown on the pictures: elsewhere, its end would move the player under somebody's hand.
    drawn = shown.success(draw, result, [spectrograms, spectra], api_visibility="private", **engine.QUEUE)
    format.input(convert, [result, format], [download, remarks], api_visibility="private")
    engine.connect_cancel(cancel, sessions, [run, shown, drawn])
