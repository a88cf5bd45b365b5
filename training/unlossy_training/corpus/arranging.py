"""Arranges a score anew: draws an excerpt, tempo, key, instruments, doubled parts, panning and drums, as MIDI events.

    vary(mido.MidiFile("tune.mid"), 30.0, np.random.default_rng(0)).save("variation.mid")

Nothing is played here (see `synthesis`). The same score, length and generator give the same arrangement.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mido
import numpy as np

DRUMS = 9  # General MIDI's percussion channel, counted from 0
DRUM_KITS = (0, 8, 16, 24, 25, 32, 40)
BRUSH_KIT = 40
MELODIC_PROGRAMS = 112  # of General MIDI, before percussive ones and sound effects
KEPT_CONTROLS = {1, 11, 64}  # modulation, expression and pedal belong to the music; the others choose a sound
LAYER_SHARE = 0.25  # of the parts are doubled by another instrument
GROOVE_SHARE = 0.4  # of the arrangements without drums get some

Event = tuple[float, mido.Message]  # time [s] from the start


@dataclass(frozen=True)
class Pattern:
    """A bar of four beats for drums. Times are fractions of a beat."""

    drums: Sequence[Sequence[tuple[float, int]]]  # time and note of each hit, for each beat of the bar
    cymbals: Sequence[Sequence[float] | None]  # times for each beat, or None for straight halves or quarters
    cymbal_notes: Sequence[int] = (42, 51, 44)  # closed hi-hat, ride, pedal hi-hat
    brushes: bool = False


KICK, SNARE, BRUSH_TAP, BRUSH_SLAP, HAT = 36, 38, 38, 39, 44
SWING = (0.0, 2 / 3)
PATTERNS = {
    "rock": Pattern([[(0, KICK)], [(0, SNARE)], [(0, KICK)], [(0, SNARE)]], [None] * 4),
    "four on the floor": Pattern(
        [[(0, KICK)], [(0, KICK), (0, SNARE)], [(0, KICK)], [(0, KICK), (0, SNARE)]], [(0.5,)] * 4, (46, 42)
    ),
    "shuffle": Pattern([[(0, KICK)], [(0, SNARE)], [(0, KICK), (2 / 3, KICK)], [(0, SNARE)]], [SWING] * 4),
    "half-time": Pattern([[(0, KICK)], [(0.5, KICK)], [(0, SNARE)], [(0.75, KICK)]], [None] * 4),
    "brushes": Pattern(
        [[(0, BRUSH_TAP)], [(0, HAT), (2 / 3, BRUSH_TAP)], [(0, BRUSH_TAP)], [(0, HAT), (0, BRUSH_SLAP)]],
        [(0.0,), SWING, (0.0,), SWING],
        (51, 53),
        brushes=True,
    ),
}


def groove(start: float, beat: float, seconds: float, rng: np.random.Generator, pattern: str = "rock") -> list[Event]:
    """Play drums in one of `PATTERNS`, with a crash every sixteen beats.

    Args:
        start, seconds (`float`): times at which they begin and end [s].
        beat (`float`): time between beats [s].
        pattern (`str`, defaults to "rock"): a key of `PATTERNS`.
    """
    bar = PATTERNS[pattern]
    cymbal = int(rng.choice(bar.cymbal_notes))
    straight = 2
    if None in bar.cymbals:
        straight = 2 if beat < 0.45 or rng.random() < 0.6 else 4
    events: list[Event] = []

    def hit(time: float, note: int, velocity: float) -> None:
        value = int(np.clip(velocity + rng.normal(0, 6), 1, 127))
        events.append((time, mido.Message("note_on", channel=DRUMS, note=note, velocity=value)))
        events.append((time + 0.1, mido.Message("note_off", channel=DRUMS, note=note)))

    for number in range(max(0, int((seconds - start) / beat))):
        time = start + number * beat
        for when, note in bar.drums[number % 4]:
            hit(time + when * beat, note, 85 if bar.brushes else 100)
        if number % 16 == 0:
            hit(time, 49, 95)
        strokes = bar.cymbals[number % 4]
        for when in [step / straight for step in range(straight)] if strokes is None else strokes:
            # An opened hi-hat leads to the next beat.
            opened = strokes is None and when == 1 - 1 / straight and rng.random() < 0.15
            hit(time + when * beat, 46 if opened else cymbal, 90 if when == 0 else 65)
    return events


def vary(piece: mido.MidiFile, seconds: float, rng: np.random.Generator) -> mido.MidiFile:
    """Arrange a random excerpt of a piece, `seconds` [s] long, in another tempo, key and scoring.

    Raises:
        ValueError: the piece has no notes.
    """
    stretch = 1 / rng.uniform(0.8, 1.25)
    transposition = int(rng.integers(-5, 6))
    loudness = rng.uniform(0.75, 1.2)
    events, beat = timed_events(piece, stretch)
    onsets = [time for time, message in events if message.type == "note_on" and message.velocity]
    if not onsets:
        raise ValueError("the piece has no notes")
    start = rng.uniform(onsets[0], max(onsets[0], onsets[-1] - seconds))
    played: list[Event] = []
    for time, message in events:
        time -= start
        if time >= seconds or message.type == "program_change":
            continue
        if message.type in ("note_on", "note_off"):
            if time < 0:
                continue
            note, velocity = message.note, message.velocity
            if message.channel != DRUMS:
                note = int(np.clip(note + transposition, 0, 127))
            if message.type == "note_on" and velocity:
                velocity = int(np.clip(velocity * loudness, 1, 127))
            message = message.copy(note=note, velocity=velocity)
        elif message.type == "control_change" and message.control not in KEPT_CONTROLS:
            continue
        played.append((max(time, 0.0), message))

    kit = int(rng.choice(DRUM_KITS))
    struck = {message.channel for _, message in played if message.type == "note_on" and message.velocity}
    if DRUMS not in struck and rng.random() < GROOVE_SHARE:
        pattern = str(rng.choice(list(PATTERNS)))
        first = min((time for time, message in played if message.type == "note_on"), default=0.0)
        played += groove(first, beat if 0.25 < beat < 1.2 else 0.5, seconds, rng, pattern)
        kit = BRUSH_KIT if PATTERNS[pattern].brushes else kit
    played += layers(played, rng)
    scored = [*scoring(events, kit, rng), *played]
    # FluidSynth renders until the last note has decayed, so that a note without an end would fill the disk.
    for channel in range(16):
        for control in (64, 123):  # pedal, all notes off
            message = mido.Message("control_change", channel=channel, control=control, value=0)
            scored.append((seconds + 0.2, message))
    return midi_file(scored)


def timed_events(piece: mido.MidiFile, stretch: float) -> tuple[list[Event], float]:
    """Return the events of a piece, with times multiplied by a factor, and the time between beats of its last tempo
    [s]."""
    events: list[Event] = []
    tempo, now = 500_000, 0.0  # [µs a beat], [s]
    for message in piece:
        now += message.time * stretch
        if message.type == "set_tempo":
            tempo = message.tempo
        elif not message.is_meta and message.type != "sysex":
            events.append((now, message))
    return events, tempo * 1e-6 * stretch


def scoring(events: Iterable[Event], kit: int, rng: np.random.Generator) -> list[Event]:
    """Draw the instrument, volume and panning of all 16 channels. The instrument is the piece's own, one of the same
    family, or any."""
    own: dict[int, int] = {}
    for _, message in events:
        if message.type == "program_change":
            own.setdefault(message.channel, message.program)
    scored: list[Event] = []
    for channel in range(16):
        choice = rng.random()
        program = int(rng.integers(MELODIC_PROGRAMS))
        if channel == DRUMS:
            program = kit
        elif channel in own and choice < 0.5:
            program = own[channel]
        elif channel in own and choice < 0.85:
            program = own[channel] // 8 * 8 + int(rng.integers(8))  # General MIDI's families have eight members
        scored.append((0.0, mido.Message("program_change", channel=channel, program=program)))
        for control, value in {7: rng.integers(70, 128), 10: np.clip(rng.normal(64, 26), 0, 127)}.items():
            scored.append((0.0, mido.Message("control_change", channel=channel, control=control, value=int(value))))
    return scored


def layers(played: Sequence[Event], rng: np.random.Generator) -> list[Event]:
    """Double some parts by another instrument on a free channel, in unison or an octave apart."""
    struck = {message.channel for _, message in played if message.type == "note_on" and message.velocity}
    free = [channel for channel in range(16) if channel != DRUMS and channel not in struck]
    doubled: list[Event] = []
    for channel in sorted(struck - {DRUMS}):
        if not free or rng.random() >= LAYER_SHARE:
            continue
        target, octave, softness = free.pop(), 12 * int(rng.integers(-1, 2)), rng.uniform(0.5, 1)
        for time, message in played:
            if getattr(message, "channel", None) != channel:
                continue
            changes = {"channel": target}
            if message.type in ("note_on", "note_off"):
                changes["note"] = int(np.clip(message.note + octave, 0, 127))
                changes["velocity"] = int(np.ceil(message.velocity * softness))  # a velocity of 0 would end the note
            doubled.append((time, message.copy(**changes)))
    return doubled


def midi_file(events: Iterable[Event]) -> mido.MidiFile:
    """Make a MIDI file of events with absolute times [s]."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    now = 0
    for time, message in sorted(events, key=lambda event: event[0]):
        tick = round(time * 960)  # 480 ticks a beat at the default 120 beats a minute
        track.append(message.copy(time=tick - now))
        now = tick
    return file
