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
OWN_SHARE = 0.5  # the `share` of a soundfont that the user names
SUFFIXES = (".sf2", ".sf3")
LONGEST = 1800  # [s] that a render may take. It takes seconds, or minutes on a busy machine
ROOM = 100_000_000  # [bytes] of free space. With less, a full disk is why a render breaks off


def find_soundfonts(own: Iterable[tuple[Path, str, float]] = ()) -> list[Soundfont]:
    """Find the General MIDI soundfonts that are installed, the preferred one first, and then the user's own.

    Args:
        own (iterable of `tuple`): the user's own: a file or folder, its licence and its weight.

    Raises:
        ValueError: FluidSynth is missing, there is no soundfont at all, or none in a place that the user names.
    """
    found = [soundfont for soundfont in SOUNDFONTS if soundfont.path.exists()]
    for place, license, weight in own:
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.suffix in SUFFIXES)
        if not paths:
            raise ValueError(f"there are no soundfonts ({', '.join(SUFFIXES)}) in {place}")
        found += [Soundfont(path, OWN_SHARE * weight, license, f"soundfont {path.stem}") for path in paths]
    if shutil.which("fluidsynth") is None or not found:
        missing = "a General MIDI soundfont" if shutil.which("fluidsynth") else "FluidSynth"
        raise ValueError(
            f"{missing} is missing; install Debian's packages fluidsynth, fluid-soundfont-gm and "
            "musescore-general-soundfont"
        )
    return found


def synthesize(
    piece: mido.MidiFile, soundfont: Path, seconds: float, *, reverb: bool = True, chorus: bool = True
) -> np.ndarray:
    """Play a MIDI file with FluidSynth.

    Args:
        piece (`mido.MidiFile`): what is played.
        soundfont (`Path`): the sounds that it is played with.
        seconds (`float`): the audio ends here, if the piece is longer [s].
        reverb, chorus (`bool`, default to `True`): FluidSynth's effects.

    Returns:
        `np.ndarray` of shape `(2, samples)`: float32 at 44.1 kHz, at whatever level FluidSynth gives.

    Raises:
        ValueError: FluidSynth fails, or stops before the end of the piece.
        OSError: there is no space left for temporary files, or FluidSynth does not come to an end.
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
        # FluidSynth plays in blocks of 64 samples, so that the last event may be a little early or late.
        if len(audio) < (min(seconds, piece.length) - 0.1) * SAMPLING_RATE:
            if shutil.disk_usage(folder).free < ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
            raise ValueError(f"FluidSynth wrote {len(audio)} samples with {soundfont.name}: {done.stderr[-300:]!r}")
    return np.ascontiguousarray(audio.T)
