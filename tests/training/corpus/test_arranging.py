"""Arrangements: excerpts, grooves, layers, and that nothing sounds for ever."""

import mido
import numpy as np
import pytest

from unlossy_training.corpus.arranging import DRUMS, PATTERNS, groove, layers, midi_file, vary


def scale() -> mido.MidiFile:
    events = [(0.0, mido.Message("program_change", channel=0, program=6))]
    for number in range(16):
        events.append((number * 0.25, mido.Message("note_on", channel=0, note=60 + number, velocity=90)))
        events.append((number * 0.25 + 0.2, mido.Message("note_off", channel=0, note=60 + number)))
    return midi_file(events)


def notes(piece: mido.MidiFile) -> list[tuple[float, int]]:
    return [(message.time, message.note) for message in piece if message.type == "note_on"]


def test_variations_follow_the_generator() -> None:
    first, again, other = (notes(vary(scale(), 2.0, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_excerpt_ends_every_note() -> None:
    piece = vary(scale(), 0.9, np.random.default_rng(0))
    assert piece.length == pytest.approx(1.1, abs=0.01)
    silenced = [m.channel for m in piece if m.type == "control_change" and m.control == 123]
    assert silenced == list(range(16))


def test_piece_without_notes() -> None:
    with pytest.raises(ValueError, match="no notes"):
        vary(midi_file([]), 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_grooves(pattern: str) -> None:
    events = groove(1.0, 0.5, 5.0, np.random.default_rng(0), pattern)
    struck = [(time, message.note) for time, message in events if message.type == "note_on"]
    assert min(struck)[0] == 1.0
    assert 4.0 < max(struck)[0] < 5.0
    assert {message.channel for _, message in events} == {DRUMS}
    assert len({note for _, note in struck}) >= 3
    others = [groove(1.0, 0.5, 5.0, np.random.default_rng(0), other) for other in PATTERNS if other != pattern]
    assert events not in others


def test_layers_double_a_part_on_a_free_channel() -> None:
    played = [(0.5, mido.Message("note_on", channel=0, note=60, velocity=1)), (1.0, mido.Message("note_off", note=60))]
    found = [layers(played, np.random.default_rng(seed)) for seed in range(40)]
    assert 2 <= sum(bool(one) for one in found) <= 20
    intervals = set()
    for one in filter(None, found):
        (start, on), (end, off) = one
        assert (start, end) == (0.5, 1.0)
        assert on.channel == off.channel not in (0, DRUMS)
        assert on.note == off.note
        assert on.velocity == 1  # 0 would be an end
        intervals.add(on.note - 60)
    assert intervals == {-12, 0, 12}
