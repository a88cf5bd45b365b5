"""The tab "Restore": a file in, the restored one out, and both to compare by ear, by eye and in a blind test."""

from pathlib import Path
from typing import Any

import gradio as gr

from unlossy_space import clips, engine
from unlossy_space.player import make_player, make_value
from unlossy_space.sessions import Sessions

FORMATS = ("flac", "wav", "mp3")


def build(sessions: Sessions, example: Path) -> None:
    """Lay out the tab, and connect it."""

    def inspect(upload: str | None, request: gr.Request) -> tuple[Any, ...]:
        results = gr.Column(visible=False)  # they belong to the upload before
        if upload is None:
            return "", gr.Button(interactive=False), results
        sessions.keep(request.session_hash, Path(upload))
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
    ) -> tuple[str, tuple[Path, Path]]:
        """Restore a file. `detail` goes from 0, most faithful, to 1, most complete. Returns the restored file."""
        path, folder = engine.accept(upload, sessions, request)
        restored = folder / f"{path.stem}.restored.flac"
        with engine.explained(path, restored):
            seconds = clips.inspect_upload(path).duration_s
            engine.restore_file(path, seconds, restored, detail, progress)
        return convert((path, restored), format), (path, restored)

    def convert(result: tuple[Path, Path] | None, format: str) -> str:
        if result is None:
            raise gr.Error("There is no result yet.", print_exception=False)
        source, target = result[1], result[1].with_suffix(f".{format}")
        with engine.explained(source, target):
            if target != source:
                clips.convert(source, target)
        return str(target)

    def compare(result: tuple[Path, Path]) -> tuple[Any, ...]:
        folder = result[1].parent
        with engine.explained(*result):
            files = {
                name: clips.write_clip(folder / f"{name}.flac", clips.read_clip(path))
                for name, path in zip(("Before", "After"), result, strict=True)
            }
        return gr.Column(visible=True), make_value(files, "After", ("Before", "After")), None, None

    # Not a second `yield` of `compare`: to skip the player in one, Gradio changes its value, which ends a blind test.
    def draw(result: tuple[Path, Path]) -> tuple[Any, ...]:
        from unlossy import pictures

        before, after = result
        with engine.explained(before, after):
            versions = clips.read_clip(before), clips.read_clip(after)
            return pictures.draw_restoration(*versions, clips.LISTENING_RATE, after.parent)

    with gr.Row():
        with gr.Column():
            upload = gr.Audio(
                type="filepath", label="Your file", sources=["upload", "microphone"], editable=False, buttons=[]
            )
            try_example = gr.Button("Try the example", size="sm")
        with gr.Column():
            facts = gr.Markdown(elem_classes="facts")
            detail = gr.Slider(0, 1, 1, step=0.05, label="Detail", info="0: most faithful. 1: most complete.")
            with gr.Row():
                start = gr.Button("Restore", variant="primary", interactive=False, min_width=120)
                cancel = gr.Button("Cancel", min_width=90)
            status = gr.HTML(elem_classes="status")
    result = gr.State()  # the files before and after
    with gr.Column(visible=False) as results:
        player = make_player()
        with gr.Row(equal_height=True):
            format = gr.Radio([(name.upper(), name) for name in FORMATS], value="flac", label="Format", scale=2)
            download = gr.DownloadButton("Download", scale=1)
        with gr.Row():
            spectrograms = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"])
            spectra = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"])

    try_example.click(lambda: str(example), outputs=upload, api_visibility="private")
    upload.change(inspect, upload, [facts, start, results], api_visibility="private")
    run = start.click(
        restore, [upload, detail, format], [download, result],
        api_name="restore", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
    shown = run.success(
        compare, result, [results, player, spectrograms, spectra],
        api_visibility="private", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
    drawn = shown.success(
        draw, result, [spectrograms, spectra], api_visibility="private", show_progress_on=status, **engine.QUEUE
    )
    format.input(convert, [result, format], download, api_visibility="private")
    engine.connect_cancel(cancel, sessions, [run, shown, drawn])
