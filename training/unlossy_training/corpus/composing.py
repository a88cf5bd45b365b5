"""Composes pieces by rule, so that a corpus from free packages alone has more than a dozen harmonies.

    compose((0, 7)).save("made_up.mid")

A piece has a key and a mode, a chord progression, a bass, an accompaniment, a melody that repeats its rhythm, and
sometimes a second voice. It is no great music, but as hard to encode as any other. The same numbers give the same
piece. Instruments and drums come with the arrangement (`arranging.vary`).
"""

from collections.abc import Sequence

import mido
import numpy as np

from .arranging import Event, midi_file

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10))
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 4), (5, 3, 0, 4), (0, 3, 1, 4), (1, 4, 0, 5), (0, 6, 5, 4), (0, 2, 3, 4),
    (3, 4, 2, 5), (0, 0, 3, 4),
)  # fmt: skip
RHYTHMS = (  # of a bar of melody, in quarters; negative ones are rests
    (1, 1, 1, 1), (1.5, 0.5, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (2, 1, 1), (3, -1), (-0.5, 0.5, 0.5, 0.5, 1, 1),
    (0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 1, 1), (0.75, 0.75, 0.5, 0.75, 0.75, 0.5), (4,), (1, 0.5, 0.5, 2),
)  # fmt: skip
BARS = 32
BASS, CHORDS, MELODY, SECOND = 0, 1, 2, 3  # channels


def compose(seed: Sequence[int]) -> mido.MidiFile:
    """Compose a piece of 32 bars in up to four parts, one to two minutes long.

    Args:
        seed: the numbers that decide on the piece.
    """
    rng = np.random.default_rng(list(seed))
    scale = SCALES[int(rng.integers(len(SCALES)))]
    key = int(rng.integers(-5, 7))
    beat = 60 / rng.uniform(64, 150)
    verse, chorus = (PROGRESSIONS[int(number)] for number in rng.choice(len(PROGRESSIONS), 2, replace=False))
    motifs = [RHYTHMS[int(number)] for number in rng.choice(len(RHYTHMS), 2, replace=False)]
    accompaniment = str(rng.choice(["held", "struck", "broken", "offbeat"]))
    walking, seconded = rng.random() < 0.4, rng.random() < 0.4
    sevenths = 4 if rng.random() < 0.3 else 3
    events: list[Event] = []

    def pitch(degree: int, octave: int) -> int:
        return 12 * (octave + degree // 7) + scale[degree % 7] + key

    def play(channel: int, note: int, start: float, length: float, velocity: float) -> None:
        loudness = int(np.clip(velocity + rng.normal(0, 8), 1, 127))
        late = abs(rng.normal(0, 0.006))  # [s], because nobody plays exactly on the beat
        events.append((start * beat + late, mido.Message("note_on", channel=channel, note=note, velocity=loudness)))
        events.append((start * beat + late + length * beat, mido.Message("note_off", channel=channel, note=note)))

    degree = int(rng.integers(7))
    for bar in range(BARS):
        start = 4.0 * bar
        part = bar // 8 % 4  # verse, verse, chorus, verse
        root = (chorus if part == 2 else verse)[bar % 4]
        chord = [root + 2 * step for step in range(sevenths)]
        if walking:
            for step, away in enumerate((0, 2, 4, int(rng.integers(-1, 6)))):
                play(BASS, pitch(root + away, 3), start + step, 0.9, 90)
        else:
            play(BASS, pitch(root, 3), start, 2.4, 95)
            play(BASS, pitch(root + 4 * int(rng.integers(2)), 3), start + 2.5, 1.3, 85)
        if accompaniment == "held":
            hits = [(0.0, 3.9, chord)]
        elif accompaniment == "struck":
            hits = [(float(step), 0.8, chord) for step in range(4)]
        elif accompaniment == "offbeat":
            hits = [(step + 0.5, 0.35, chord) for step in range(4)]
        else:
            hits = [(step / 2, 0.6, [chord[(0, 1, 2, 1, -1, 1, 2, 1)[step]]]) for step in range(8)]
        for when, length, degrees in hits:
            for one in degrees:
                play(CHORDS, pitch(one, 5), start + when, length, 72)
        when = 0.0
        for length in motifs[1] if bar % 4 == 3 or part == 2 else motifs[0]:
            if length > 0:
                # On beats the melody meets the chord, and between them it moves by steps. It turns back at its limits.
                step = int(rng.integers(-2, 3)) - (degree > 11) * 2 + (degree < -2) * 2
                degree += step
                if when == int(when):
                    degree = min((one + 7 * octave for one in chord for octave in (-1, 0, 1, 2)), key=lambda one: (
                        abs(one - degree), one))  # fmt: skip
                play(MELODY, pitch(degree, 5 + (part == 2)), start + when, 0.95 * length, 96)
                if seconded and part % 2:
                    play(SECOND, pitch(degree - 2, 5), start + when, 0.95 * length, 80)
            when += abs(length)
    return midi_file(events)
