"""Draws an autoencoder's embedding over time, and what lies between the embeddings of two clips.

    unlossy-train picture song.flac --model AUTOENCODER --output pictures/
    unlossy-train picture song.flac other.flac --model AUTOENCODER --output pictures/

The second command also decodes weighted means of both embeddings, to be seen and heard.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unlossy import Embedding, decode, encode, load_autoencoder
from unlossy_cli import entry

STEPS = 5  # from one clip to the other, both included


def mix(first: Embedding, second: Embedding, share: float) -> Embedding:
    """Average two embeddings over the length of the shorter one.

    Args:
        share (`float`): weight of the second, from 0 to 1.

    Raises:
        ValueError: the clips have different sampling rates or numbers of channels.
    """
    for name in ("sampling_rate", "channels"):
        if getattr(first, name) != getattr(second, name):
            raise ValueError(
                f"the clips differ in {name}: {getattr(first, name)} and {getattr(second, name)}; convert one of them"
            )
    frames = min(first.values.shape[1], second.values.shape[1])
    values = (1 - share) * first.values[:, :frames] + share * second.values[:, :frames]
    num_frames = min(first.num_frames, second.num_frames)
    return replace(first, values=values.astype(np.float32), num_frames=num_frames)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train picture", description=__doc__.split("\n\n")[0])
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="an audio file, or two")
    parser.add_argument("--model", help="Hub id or folder of an autoencoder (default: the one in the package)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures and sounds")
    options = parser.parse_args(arguments)
    if len(options.clips) > 2:
        parser.error(f"one clip or two, not {len(options.clips)}")
    entry.require("matplotlib", "eval")
    from unlossy.pictures import draw_embedding, plot_spectrograms

    model = load_autoencoder(options.model)
    embeddings = [encode(clip, model) for clip in options.clips]
    options.output.mkdir(parents=True, exist_ok=True)
    for clip, embedding in zip(options.clips, embeddings, strict=True):
        draw_embedding(embedding, options.output / f"{clip.stem}.png", clip.name)
    if len(embeddings) == 2:
        audio = {}
        for share in np.linspace(0, 1, STEPS):
            mixed = mix(embeddings[0], embeddings[1], float(share))
            name = f"{round(100 * share)} %"
            file = options.output / f"interpolation-{round(100 * share):03}.flac"
            decode(mixed, model, output=file, overwrite=True)
            audio[name] = np.asarray(decode(mixed, model).audio)
        title = f"from {options.clips[0].name} to {options.clips[1].name}"
        plot_spectrograms(options.output / "interpolation.png", title, audio, embeddings[0].sampling_rate)
    print(*sorted(str(path) for path in options.output.iterdir()), sep="\n")
