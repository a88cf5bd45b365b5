"""Scores: what is taken from music21, folders of MIDI files, made-up pieces."""

from pathlib import Path

import mido
import pytest

from unlossy_training.corpus import scores
from unlossy_training.corpus.arranging import DRUMS, midi_file
from unlossy_training.corpus.composing import compose


def test_the_corpus_has_licences_and_works() -> None:
    pytest.importorskip("music21")
    pieces = scores.corpus_pieces()
    assert all(piece.file and piece.file.exists() for piece in pieces)
    assert {piece.license for piece in pieces} <= {
        "CC0-1.0", "CC-BY", "CC-BY-SA", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "public domain",
    }  # fmt: skip
    assert len({piece.origin for piece in pieces}) == len(pieces)
    polonaises = {piece.group for piece in pieces if "Polonaise" in piece.title}
    assert len(polonaises) == 1  # movements of one work
    assert len({piece.group for piece in pieces}) == len(pieces) - 3


def test_scores_become_midi_once(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    score = tmp_path / "tune.abc"
    score.write_text("X:1\nT:Tune\nM:4/4\nL:1/4\nK:C\nCDEF|[CEG]2c2|\n")
    piece = scores.Piece("Tune", "tune", "CC0-1.0", "", "tune.abc", score)
    found = [message for message in piece.midi(tmp_path / "cache") if message.type == "note_on"]
    assert [message.note for message in found] == [60, 62, 64, 65, 60, 64, 67, 72]
    assert {message.channel for message in found} == {0}
    score.unlink()
    assert piece.midi(tmp_path / "cache").length == pytest.approx(8 * scores.BEAT, abs=0.01)
    bad = tmp_path / "bad.xml"
    bad.write_text("<score-partwise>")
    with pytest.raises(ValueError, match=r"bad\.xml"):
        scores.convert(bad)


def test_midi_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no MIDI files"):
        scores.midi_pieces(tmp_path)
    for name in ("one_0.mid", "one_1.MID", "two.midi"):
        midi_file([(0.0, mido.Message("note_on", note=60))]).save(tmp_path / name)
    (tmp_path / "SOURCES.csv").write_text("file,license,attribution\ntwo.midi,CC-BY-4.0,Ann\n")
    one, other, two = scores.midi_pieces(tmp_path, "MIT", 3.0)
    assert one.group == other.group != two.group
    assert (one.license, one.weight, two.license, two.attribution) == ("MIT", 3.0, "CC-BY-4.0", "Ann")


def test_damaged_midi_is_named(tmp_path: Path) -> None:
    for data in (b"", b"MThd", b"no MIDI file at all", b"MThd\0\0\0\6\0\2\0\0\1\xe0", b"MThd\0\0\0\6\0\0\0\0\xe7\x28"):
        (tmp_path / "bad.mid").write_bytes(data)
        with pytest.raises(ValueError, match=r"bad\.mid"):
            scores.read_midi(tmp_path / "bad.mid")


def test_made_up_pieces_repeat_and_differ() -> None:
    first, again, other = (compose(seed) for seed in ((0, 1), (0, 1), (0, 2)))
    assert list(first) == list(again)
    assert list(first) != list(other)
    for number in range(5):
        piece = compose((1, number))
        assert 40 < piece.length < 130
        notes = [message for message in piece if message.type == "note_on"]
        assert DRUMS not in {message.channel for message in notes}
        assert min(message.note for message in notes) >= 24
        assert max(message.note for message in notes) <= 108
