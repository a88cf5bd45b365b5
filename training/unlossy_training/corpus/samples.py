"""Sequences of free sound samples: loops that repeat at their own tempo, and single hits on a grid of beats.

Debian's package sonic-pi-samples installs 165 recordings from freesound.org under CC0 1.0 (its README.md and
/usr/share/doc/sonic-pi-samples/copyright). Most are shorter than a clip, so they are arranged like music.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from .recordings import SAMPLING_RATE, Recording, cut, find_recordings

FOLDER = Path("/usr/share/sonic-pi/samples")
SECONDS = 12.0  # [s]: length of a sequence
LONGEST_HIT = 1.5  # [s]: longer samples are loops
ATTRIBUTION = "Sonic Pi samples from freesound.org (CC0)"


def find_samples(folder: Path = FOLDER) -> list[Recording]:
    """Find the samples of Debian's package; none if it is not installed."""
    if not folder.is_dir():
        return []
    found = find_recordings("real", folder, "CC0-1.0")
    return [
        Recording(
            path=sample.path,
            source=sample.source,
            title=sample.title,
            license=sample.license,
            group=f"sample {sample.group}",
            attribution=ATTRIBUTION,
            origin=f"sonic-pi-samples/{sample.path.name}",
        )
        for sample in found
    ]


def arrange_samples(samples: Sequence[Recording], rng: np.random.Generator) -> tuple[np.ndarray, list[Recording]]:
    """Arrange one to six samples in time.

    Returns:
        `tuple`: audio, float32 of shape `(2, samples)`, whose peaks may exceed full scale; and the samples in it.
    """
    audio = np.zeros((2, int(SECONDS * SAMPLING_RATE)), np.float32)
    beat = 60 / rng.uniform(70, 160)
    drawn = [samples[int(number)] for number in rng.permutation(len(samples))[: int(rng.integers(1, 7))]]
    for sample in drawn:
        info = soundfile.info(sample.path)
        sound = cut(sample.path, int(info.duration * SAMPLING_RATE), rng)  # all of it
        sound = sound * (rng.uniform(0.3, 1) / max(float(np.abs(sound).max()), 1e-6))
        gains = np.clip([[1 - rng.normal(0, 0.3)], [1 + rng.normal(0, 0.3)]], 0.2, 1.0).astype(np.float32)
        for start in onsets(info.duration, beat, rng):
            at = int(start * SAMPLING_RATE)
            piece = sound[:, : audio.shape[1] - at] * np.float32(rng.uniform(0.7, 1))
            audio[:, at : at + piece.shape[1]] += gains * piece
    return audio, drawn


def onsets(seconds: float, beat: float, rng: np.random.Generator) -> list[float]:
    """The times at which a sample begins [s]: a loop follows itself, and a hit gets a random pattern of beats.

    Args:
        seconds (`float`): length of the sample [s].
        beat (`float`): length of a beat [s].
    """
    if seconds > LONGEST_HIT:
        return list(np.arange(0, SECONDS, seconds))
    steps = int(rng.choice([4, 8, 16]))  # in a bar of four beats
    struck = rng.random(steps) < rng.uniform(0.15, 0.6)
    struck[int(rng.integers(steps))] = True
    grid = 4 * beat / steps
    return [step * grid for step in range(int(SECONDS / grid)) if struck[step % steps]]
