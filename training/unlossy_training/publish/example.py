"""The Space's example: ten seconds of Pachelbel's Canon with drums, lossless and as a 64 kbps MP3.

    python -m unlossy_training.publish.example --output space/examples/
    python -m unlossy_training.publish.example --picture docs/images/canon.png   # of what is there, before and after

The notes are written out here (the composition, of about 1690, is in the public domain) and played by FluidSynth.
Harpsichord, cymbals and tambourine reach far above 12 kHz: what the MP3 loses and a restoration gives back can be
heard.
"""

import argparse
from pathlib import Path

import mido
import numpy as np
import soundfile

from unlossy import restore
from unlossy.codecs import decode, encode
from unlossy_training.corpus.arranging import DRUMS, Event, groove, midi_file
from unlossy_training.corpus.recordings import SAMPLING_RATE, write_flac
from unlossy_training.corpus.synthesis import find_soundfonts, synthesize

NAME = "canon"
SECONDS = 10.0
BITRATE_KBPS = 64
PICTURE_SIZE, PICTURE_COLOURS = (880, 720), 64  # small enough to be kept in the repository: 200 kB
CHORD_SECONDS = 1.25
HARPSICHORD, VIOLIN, STRINGS, BASS = 6, 40, 48, 43  # General MIDI programs, counted from 0
GROUND = (
    (50, "major"),
    (45, "major"),
    (47, "minor"),
    (42, "minor"),
    (43, "major"),
    (38, "major"),
    (43, "major"),
    (45, "major"),
)
MELODY = (78, 76, 74, 73, 71, 69, 71, 73)


def score() -> mido.MidiFile:
    """The eight chords of the ground bass, with violin, strings, a harpsichord in broken chords, and drums."""
    events: list[Event] = []
    parts = {0: (HARPSICHORD, 50, 105), 1: (VIOLIN, 84, 85), 2: (STRINGS, 64, 70), 3: (BASS, 64, 90)}
    for channel, (program, position, volume) in parts.items():
        events.append((0.0, mido.Message("program_change", channel=channel, program=program)))
        for control, value in ((10, position), (7, volume)):
            events.append((0.0, mido.Message("control_change", channel=channel, control=control, value=value)))

    def play(channel: int, note: int, time: float, seconds: float, velocity: int) -> None:
        events.append((time, mido.Message("note_on", channel=channel, note=note, velocity=velocity)))
        events.append((time + seconds, mido.Message("note_off", channel=channel, note=note)))

    step = CHORD_SECONDS / 8
    for number, ((root, quality), top) in enumerate(zip(GROUND, MELODY, strict=True)):
        start = number * CHORD_SECONDS
        triad = (root, root + (4 if quality == "major" else 3), root + 7)
        play(3, root - 12, start, CHORD_SECONDS * 0.95, 95)
        for note in triad:
            play(2, note + 12, start, CHORD_SECONDS * 0.98, 70)
        play(1, top, start, CHORD_SECONDS * 0.95, 95)
        for position, index in enumerate((0, 1, 2, 1, 0, 2, 1, 2)):
            play(0, triad[index] + 24 - 12 * (position % 4 == 0), start + position * step, step * 0.9, 90)
            play(DRUMS, 54, start + position * step, 0.1, 60 if position % 2 else 35)  # tambourine
    events += groove(0.0, CHORD_SECONDS / 2, SECONDS, np.random.default_rng(4))
    return midi_file(events)


def make_example(output: Path) -> tuple[Path, Path]:
    """Write the lossless example and its MP3; returns both paths.

    Raises:
        ValueError: FluidSynth or its soundfonts are missing.
    """
    audio = synthesize(score(), find_soundfonts()[0].path, SECONDS, chorus=False)
    fade = np.minimum(1.0, np.arange(audio.shape[1])[::-1] / (0.3 * SAMPLING_RATE))
    audio = (audio * fade / np.abs(audio).max() * 10 ** (-1.5 / 20)).astype(np.float32)
    output.mkdir(parents=True, exist_ok=True)
    lossless, lossy = files(output)
    write_flac(lossless, audio)
    lossy.write_bytes(encode(audio, SAMPLING_RATE, "mp3", BITRATE_KBPS))
    return lossless, lossy


def files(folder: Path) -> tuple[Path, Path]:
    """Where the lossless example and its MP3 lie in a folder."""
    return folder / f"{NAME}.flac", folder / f"{NAME}_{BITRATE_KBPS}kbps.mp3"


def draw(folder: Path, picture: Path) -> None:
    """Write a PNG with the spectrograms of the MP3, of its restoration and of the original."""
    from PIL import Image  # comes with Matplotlib, in the extra `eval`

    from unlossy.pictures import plot_spectrograms

    lossless, lossy = files(folder)
    original = soundfile.read(lossless, dtype="float32")[0].T
    audio = {
        f"MP3, {BITRATE_KBPS} kbps": decode(lossy.read_bytes(), original.shape[1]),
        "restored": np.asarray(restore(lossy).audio),
        "original": original,
    }
    picture.parent.mkdir(parents=True, exist_ok=True)
    plot_spectrograms(picture, "", audio, SAMPLING_RATE)
    with Image.open(picture) as drawn:
        small = drawn.convert("RGB").resize(PICTURE_SIZE, Image.Resampling.LANCZOS)
    small.quantize(PICTURE_COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="unlossy_training.publish.example", description="Make the Space's example.")
    parser.add_argument("--output", type=Path, default=Path("space/examples"), help="folder (default space/examples)")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the example that is there, before and after")
    options = parser.parse_args()
    try:
        if options.picture:
            draw(options.output, options.picture)
        else:
            print(*make_example(options.output))
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
