"""The tab "Degrade and restore": clean audio through a real encoder and back, measured against itself."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from unlossy_cli.command_line import CODEC_CHOICES
from unlossy_space import engine
from unlossy_space.player import make_player, make_value
from unlossy_space.sessions import Sessions

MAX_SECONDS = 30.0  # [s] of the upload that are used: ViSQOL is slow
BITRATES = (24, 32, 48, 64, 96, 128, 192)  # [kbps]
HEADERS = ("", "ViSQOL", "SI-SDR", "LSD")
MEANING = (
    "ViSQOL: perceived quality, from 1 to 4.73. SI-SDR [dB]: signal to distortion, where more is closer to the "
    "original. LSD [dB]: log-spectral distance, where less is closer."
)


def degrade_and_restore(
    path: Path, codec: str, bitrate_kbps: int, folder: Path, progress: gr.Progress
) -> dict[str, np.ndarray]:
    """
    Returns:
        `dict` of `np.ndarray` of shape `(channels, samples)` at 44.1 kHz: "Input", "Restored" and "Original".

    Raises:
        ValueError: the codec doesn't take the bitrate with this number of channels.
        StoppedError: the session has been stopped.
    """
    from unlossy.codecs import decode, encode
    from unlossy_space import clips

    original = clips.read_beginning(path, MAX_SECONDS)
    progress(0, desc="encoding")
    degraded = decode(encode(original, clips.LISTENING_RATE, codec, bitrate_kbps), original.shape[1])
    return {
        "Input": degraded,
        "Restored": engine.restore_array(degraded, folder, progress),
        "Original": original,
    }


def measure(original: np.ndarray, audio: np.ndarray) -> list[float]:
    """Figures in the order of `HEADERS`.

    Raises:
        ValueError: silence, or shorter than a second.
    """
    from unlossy.metrics import log_spectral_distance, si_sdr, visqol

    return [round(metric(original, audio), 2) for metric in (visqol, si_sdr, log_spectral_distance)]


def build(sessions: Sessions, example: Path) -> None:
    """Lay out the tab, and connect it."""

    def offer(codec: str, bitrate: int) -> Any:
        from unlossy import codecs  # not from `unlossy.codecs`: see `clips`

        lowest, highest = codecs.BITRATE_RANGES[codec][2]
        return gr.Dropdown([rate for rate in BITRATES if lowest <= rate <= highest], value=max(bitrate, lowest))

    def run(
        upload: str | None,
        codec: str,
        bitrate: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - so Gradio wants it
    ) -> tuple[Any, ...]:
        """Encode the first 30 s of clean audio, restore that, and measure both. Returns the files and the figures."""
        path, folder = engine.accept(upload, sessions, request)
        from unlossy_space import clips

        with engine.explained(path):
            versions = degrade_and_restore(path, codec, bitrate, folder, progress)
            progress(1, desc="measuring")
            figures = [[name, *measure(versions["Original"], versions[name])] for name in ("Input", "Restored")]
        files = {name: clips.write_clip(folder / f"{name}.flac", audio) for name, audio in versions.items()}
        return make_value(files, "Restored", ("Restored", "Original")), figures, gr.Column(visible=True)

    with gr.Row():
        with gr.Column():
            upload = gr.Audio(type="filepath", label="Clean audio", sources=["upload"], editable=False, buttons=[])
            try_example = gr.Button("Try the example", size="sm")
        with gr.Column():
            codec = gr.Dropdown(CODEC_CHOICES, value="mp3", label="Codec")
            bitrate = gr.Dropdown(BITRATES, value=64, label="Bitrate [kbps]")
            with gr.Row():
                start = gr.Button("Degrade and restore", variant="primary", interactive=False, min_width=240, scale=3)
                cancel = gr.Button("Cancel", min_width=90, scale=1)
            status = gr.HTML(elem_classes="status")
    with gr.Column(visible=False) as results:
        player = make_player()
        figures = gr.Dataframe(headers=list(HEADERS), interactive=False, label="Against the original", buttons=["copy"])
        gr.Markdown(MEANING, elem_classes="small")

    try_example.click(lambda: str(example), outputs=upload, api_visibility="private")
    upload.change(lambda upload: gr.Button(interactive=upload is not None), upload, start, api_visibility="private")
    codec.change(offer, [codec, bitrate], bitrate, api_visibility="private")
    event = start.click(
        run, [upload, codec, bitrate], [player, figures, results],
        api_name="degrade_and_restore", show_progress_on=status, **engine.QUEUE,
    )  # fmt: skip
    engine.connect_cancel(cancel, sessions, [event])
