"""Playing MIDI with FluidSynth and free General MIDI soundfonts.

    synthesize(mido.MidiFile("tune.mid"), find_soundfonts()[0].path, 30.0)  # (2, samples) at 44.1 kHz

FluidSynth is a program, not a Python package: https://www.fluidsynth.org
"""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile

from .recordings import SAMPLING_RATE


@dataclass(frozen=True)
class Soundfont:
    """A General MIDI soundfont; `share` is how often it is drawn, compared with the others."""

    path: Path
    share: float
    license: str
    attribution: str


# What Debian's packages install. The first is uncompressed; the other's samples went through Vorbis, hence the lower
# share. Licences: /usr/share/doc/fluid-soundfont-gm/copyright, /usr/share/doc/musescore-general-soundfont/copyright.
SOUNDFONTS = (
    Soundfont(Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"), 0.75, "MIT", "soundfont Fluid (R3) GM by Frank Wen"),
    Soundfont(
        Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3"),
        0.25,
        "MIT",
        "soundfont MuseScore General by S. Christian Collins, from Fluid (R3) by Frank Wen and Michael Cowgill",
    ),
)
OWN_SHARE = 0.5  # of a soundfont that the user names
SUFFIXES = (".sf2", ".sf3")
LONGEST = 1800  # [s] for a render; it takes seconds, but on a busy machine they can be minutes
ROOM = 100_000_000  # [bytes] of free space below which a render that breaks off is put down to a full disk


def find_soundfonts(own: Iterable[tuple[Path, str, float]] = ()) -> list[Soundfont]:
    """The installed General MIDI soundfonts of Debian's packages, the preferred one first, then the user's own.

    Args:
        own (of `tuple`): file or folder, licence, and weight of further ones.

    Raises:
        ValueError: FluidSynth or every soundfont is missing, or there are none in what the user names.
    """
    found = [soundfont for soundfont in SOUNDFONTS if soundfont.path.exists()]
    for place, license, weight in own:
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.suffix in SUFFIXES)
        if not paths:
            raise ValueError(f"There are no soundfonts ({', '.join(SUFFIXES)}) in {place}.")
        found += [Soundfont(path, OWN_SHARE * weight, license, f"soundfont {path.stem}") for path in paths]
    if shutil.which("fluidsynth") is None or not found:
        missing = "a General MIDI soundfont" if shutil.which("fluidsynth") else "FluidSynth"
        raise ValueError(
            f"{missing} is missing; install Debian's packages fluidsynth, fluid-soundfont-gm and "
            "musescore-general-soundfont."
        )
    return found


def synthesize(
    piece: mido.MidiFile, soundfont: Path, seconds: float, *, reverb: bool = True, chorus: bool = True
) -> np.ndarray:
    """Play a MIDI file with FluidSynth.

    Returns:
        `np.ndarray` of shape `(2, samples)`, float32 at 44.1 kHz, unscaled, at most `seconds` [s] long.

    Raises:
        ValueError: FluidSynth fails, or writes less than the piece is long.
        OSError: there is no space left for temporary files, or FluidSynth doesn't come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="unlossy-") as folder:
        midi, wave = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        piece.save(midi)
        command = ["fluidsynth", "-niq", "-r", str(SAMPLING_RATE), "-g", "0.3", "-R", str(int(reverb))]
        command += ["-C", str(int(chorus)), "-o", "synth.dynamic-sample-loading=1", "-T", "wav", "-O", "float"]
        command += ["-F", str(wave), str(soundfont), str(midi)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"FluidSynth has not finished {seconds} s of music after {LONGEST} s") from error
        audio = np.zeros((0, 2), np.float32)
        if wave.exists() and wave.stat().st_size:
            audio, _ = soundfile.read(wave, frames=int(seconds * SAMPLING_RATE), dtype="float32", always_2d=True)
        # The last event may be some blocks of 64 samples later or earlier than it should.
        if len(audio) < (min(seconds, piece.length) - 0.1) * SAMPLING_RATE:
            if shutil.disk_usage(folder).free < ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
            raise ValueError(f"FluidSynth wrote {len(audio)} samples with {soundfont.name}: {done.stderr[-300:]!r}")
    return np.ascontiguousarray(audio.T)
