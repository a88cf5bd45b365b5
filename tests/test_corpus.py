"""The corpus: MIDI variations, rendering, clips and their split."""

import csv
import shutil
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from unlossy_training import corpus

RATE = corpus.SAMPLING_RATE
needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not any(Path(path).exists() for path in corpus.SOUNDFONTS),
    reason="needs FluidSynth and a soundfont",
)


def write_midi(path: Path) -> None:
    events = [(0.0, mido.Message("program_change", channel=0, program=6))]
    for number in range(16):
        events.append((number * 0.25, mido.Message("note_on", channel=0, note=60 + number, velocity=90)))
        events.append((number * 0.25 + 0.2, mido.Message("note_off", channel=0, note=60 + number)))
    corpus.midi_file(events).save(path)


def write_recordings(folder: Path, names: list[str], seed: int = 0, channels: int = 1) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name in names:
        soundfile.write(folder / f"{name}.flac", rng.uniform(-0.3, 0.3, (RATE * 5, channels)), RATE)


def notes(piece: mido.MidiFile) -> list[tuple[float, int]]:
    return [(message.time, message.note) for message in piece if message.type == "note_on"]


def test_variations_follow_the_generator(tmp_path: Path) -> None:
    write_midi(tmp_path / "scale.mid")
    first, again, other = (
        notes(corpus.vary(mido.MidiFile(tmp_path / "scale.mid"), 2.0, np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_excerpt_ends_every_note(tmp_path: Path) -> None:
    write_midi(tmp_path / "scale.mid")
    piece = corpus.vary(mido.MidiFile(tmp_path / "scale.mid"), 0.9, np.random.default_rng(0))
    assert piece.length == pytest.approx(1.1, abs=0.01)
    silenced = [m.channel for m in piece if m.type == "control_change" and m.control == 123]
    assert silenced == list(range(16))


def test_piece_without_notes() -> None:
    with pytest.raises(ValueError, match="no notes"):
        corpus.vary(corpus.midi_file([]), 1.0, np.random.default_rng(0))


@needs_fluidsynth
def test_render_repeats_for_a_seed(tmp_path: Path) -> None:
    (tmp_path / "midi").mkdir()
    write_midi(tmp_path / "midi" / "scale.mid")
    for output in ("a", "b"):
        made = corpus.render(tmp_path / "midi", tmp_path / output, license="CC0-1.0", seconds=2.0, workers=1)
        assert made == 1
    audio, rate = soundfile.read(tmp_path / "a" / "scale_0.flac", always_2d=True)
    assert rate == RATE
    assert audio.shape[1] == 2
    assert 0.85 < np.abs(audio).max() <= 1
    np.testing.assert_array_equal(audio, soundfile.read(tmp_path / "b" / "scale_0.flac", always_2d=True)[0])
    assert (tmp_path / "a" / "SOURCES.csv").read_text().split() == ["file,license,attribution", "scale_0.flac,CC0-1.0,"]
    (tmp_path / "more").mkdir()
    (tmp_path / "midi" / "scale.mid").rename(tmp_path / "more" / "melody.mid")
    corpus.render(tmp_path / "more", tmp_path / "a", license="CC-BY-4.0", seconds=2.0, workers=1)
    licenses = {recording.title: recording.license for recording in corpus.find_recordings([("rendered", tmp_path)])}
    assert licenses["scale_0"] == "CC0-1.0"
    assert licenses["melody_0"] == "CC-BY-4.0"


def test_pieces_with_the_same_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_midi(tmp_path / folder / "scale.mid")
    with pytest.raises(ValueError, match="2 MIDI files named scale"):
        corpus.render(tmp_path, tmp_path / "out", license="CC0-1.0")


def test_render_needs_midi_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no MIDI files"):
        corpus.render(tmp_path, tmp_path / "out", license="CC0-1.0")


def test_missing_fluidsynth_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"FluidSynth is missing.*fluid-soundfont-gm"):
        corpus.find_soundfonts()


def test_clips_repeat_and_split_by_recording(tmp_path: Path) -> None:
    write_recordings(tmp_path / "vocals", ["anna_00", "anna_01", "bert_00", "cora_00"], seed=1)
    write_recordings(tmp_path / "renders", ["one_0", "one_1", "two_0", "three_0"], seed=2, channels=2)
    (tmp_path / "SOURCES.csv").write_text("file,license,genre,attribution\nvocals/anna_00.flac,CC0-1.0,opera,Anna\n")
    sources = [("singing", tmp_path / "vocals"), ("rendered", tmp_path / "renders")]
    tables = []
    for output in ("a", "b"):
        assert corpus.make_clips(sources, tmp_path / output, count=40, seed=3, workers=1) == 40
        tables.append((tmp_path / output / "clips.csv").read_text())
    assert tables[0] == tables[1]
    assert (tmp_path / "a" / "000007.flac").read_bytes() == (tmp_path / "b" / "000007.flac").read_bytes()

    rows = list(csv.DictReader(tables[0].splitlines()))
    assert {row["source"] for row in rows} == {"singing", "rendered", "remix"}
    groups: dict[str, set[str]] = {"train": set(), "validation": set()}
    for row in rows:
        groups[row["split"]] |= {corpus.group_of(title) for title in row["title"].split(" + ")}
    assert groups["train"]
    assert groups["validation"]
    assert not groups["train"] & groups["validation"]
    described = {(row["license"], row["genre"], row["attribution"]) for row in rows if row["title"] == "anna_00"}
    assert described == {("CC0-1.0", "opera", "Anna")}
    for row in rows[:10]:
        audio, rate = soundfile.read(tmp_path / "a" / row["file"], always_2d=True)
        assert rate == RATE
        assert audio.shape == (4 * RATE, 2)
        assert 10 ** (-20.1 / 20) < np.abs(audio).max() < 10 ** (-0.29 / 20)


def test_silence_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    soundfile.write(tmp_path / "quiet" / "nothing.flac", np.zeros(RATE * 5), RATE)
    assert corpus.make_clips([("real", tmp_path / "quiet")], tmp_path / "out", count=2, workers=1) == 0


def test_sources_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no FLAC or WAV files"):
        corpus.find_recordings([("real", tmp_path)])
    (tmp_path / "SOURCES.csv").write_text("name,license\n")
    soundfile.write(tmp_path / "tone.wav", np.zeros(100), RATE)
    with pytest.raises(ValueError, match=r"SOURCES\.csv has no column file"):
        corpus.find_recordings([("real", tmp_path)])
    with pytest.raises(ValueError, match="Unknown source 'remix'"):
        corpus.find_recordings([("remix", tmp_path)])


@pytest.mark.parametrize(
    ("title", "group"),
    [
        ("th_Find_You_0", "findyou"),
        ("Find You_1", "findyou"),
        ("th_Faith_love_remix__0", "faith"),
        ("d_e1m1_0", "de1m1"),
        ("loop_b", "loop"),
    ],
)
def test_groups_join_parts_of_one_thing(title: str, group: str) -> None:
    assert corpus.group_of(title) == group


def test_limiter_keeps_the_threshold() -> None:
    audio = np.random.default_rng(0).normal(0, 0.3, (2, 20_001)).astype(np.float32)
    limited = corpus.limit(audio, 0.5)
    assert limited.shape == audio.shape
    assert np.abs(limited).max() <= 0.52
    np.testing.assert_array_equal(corpus.limit(audio * 0.1, 1.0), audio * np.float32(0.1))
