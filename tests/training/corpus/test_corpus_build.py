"""The corpus as a whole: repeatable, resumable, split by composition, and clear about what it can't use."""

import argparse
import csv
import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import soundfile

from unlossy_training.corpus import build, clips, materials, scores, synthesis
from unlossy_training.corpus.arranging import midi_file
from unlossy_training.corpus.materials import Place, Request
from unlossy_training.corpus.recordings import SAMPLING_RATE, Recording

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not any(one.path.exists() for one in synthesis.SOUNDFONTS),
    reason="needs FluidSynth and a soundfont",
)
# One soundfont, short renders, no score that takes long to parse: this and the packages' own samples are what a small
# corpus spends its time with. As text, since a process of its own, which can be killed, needs it too.
SMALL = """
from unlossy_training.corpus import clips, materials, synthesis
synthesis.SOUNDFONTS = [one for one in synthesis.SOUNDFONTS if one.path.exists()][:1]
clips.RENDER_SECONDS, clips.FIRST = 6.0, 3
materials.FEWEST, materials.corpus_pieces, materials.find_samples = 4, list, list
"""
HOURS = 14 * 4 / 3600


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A small corpus, for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in (
            (synthesis, ["SOUNDFONTS"]),
            (clips, ["RENDER_SECONDS", "FIRST"]),
            (materials, ["FEWEST", "corpus_pieces", "find_samples"]),
        ):
            for name in names:
                patch.setattr(module, name, getattr(module, name))  # to be put back in the end
        exec(SMALL)
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vocals and tunes, with some files that can't be used among them."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    (folder / "vocals").mkdir()
    for name in ("anna_00", "anna_01", "bert_00", "cora_00"):
        soundfile.write(folder / "vocals" / f"{name}.flac", rng.uniform(-0.3, 0.3, SAMPLING_RATE * 5), SAMPLING_RATE)
    soundfile.write(folder / "vocals" / "quiet.wav", np.zeros(SAMPLING_RATE * 5), SAMPLING_RATE)
    soundfile.write(folder / "vocals" / "phone.wav", rng.uniform(-0.3, 0.3, 8000 * 5), 8000)
    (folder / "tunes").mkdir()
    for name in ("one", "two"):
        events = []
        for number in range(40):
            note = int(rng.integers(50, 80))
            events.append((number * 0.25, mido.Message("note_on", note=note, velocity=90)))
            events.append((number * 0.25 + 0.2, mido.Message("note_off", note=note)))
        midi_file(events).save(folder / "tunes" / f"{name}.mid")
    (folder / "tunes" / "broken.mid").write_bytes(b"MThd")
    return folder


def arguments(inputs: Path, output: Path, *more: str) -> list[str]:
    given = ["--output", str(output), "--hours", str(HOURS), "--workers", "1"]
    return [*given, "--midi", f"{inputs / 'tunes'}=CC-BY-4.0", "--source", f"singing={inputs / 'vocals'}@0.5", *more]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole(small: None, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, built in one go on one process."""
    output = tmp_path_factory.mktemp("whole") / "clips"
    build.main(arguments(inputs, output))
    return output


@needs_fluidsynth
def test_manifest(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "clips.csv").open()))
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["clips"] == len(rows) == 14
    assert summary["source"] == dict(Counter(row["source"] for row in rows))
    assert summary["split"] == dict(Counter(row["split"] for row in rows))
    assert set(summary["source"]) <= {"singing", "rendered", "remix"}
    assert {key: summary["skipped"][key] for key in ("silent", "rate too low")} == {"silent": 1, "rate too low": 1}
    assert any("phone.wav has 8000 Hz" in reason for reason in summary["reasons"])
    for row in rows:
        assert all(row[name] for name in build.COLUMNS if name not in ("genre", "attribution"))
        audio, rate = soundfile.read(whole / row["file"], always_2d=True)
        assert (rate, audio.shape) == (SAMPLING_RATE, (4 * SAMPLING_RATE, 2))
        if row["source"] != "singing":
            assert row["license"].endswith(" + MIT")
            assert "soundfont" in row["attribution"]
    origins = {origin for row in rows for origin in row["origin"].split(" + ")}
    described = list(csv.DictReader((whole / "materials.csv").open()))
    assert {row["origin"] for row in described} == origins
    for row in described:
        uses = [clip["split"] for clip in rows if row["origin"] in clip["origin"].split(" + ")]
        assert (row["split"], int(row["clips"])) == (" + ".join(sorted(set(uses))), len(uses))


@needs_fluidsynth
def test_killed_and_resumed(inputs: Path, whole: Path, tmp_path: Path) -> None:
    """A build on two processes that is killed twice gives the same files in the end."""
    output = tmp_path / "clips"
    command = [sys.executable, "-c", f"{SMALL}\nfrom unlossy_training.corpus import build\nbuild.main()"]
    command += arguments(inputs, output, "--workers", "2")
    for journal, rows in (("renders", 1), ("clips", 2)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        path = output / "work" / f"{journal}.jsonl"
        give_up = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < give_up:
            if path.exists() and path.read_bytes().count(b"\n") >= rows:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (output / "clips.csv").exists()
    with (output / "work" / "clips.jsonl").open("a") as file:
        file.write('{"number": 9, "fi')
    (output / "000009.flac.77.part").write_bytes(b"fLaC")
    build.main(arguments(inputs, output, "--workers", "2"))
    assert digests(output) == digests(whole)


@needs_fluidsynth
def test_arguments_of_a_later_run(inputs: Path, whole: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    """Other ones are refused, except for more hours, which extend the corpus."""
    output = tmp_path / "clips"
    shutil.copytree(whole, output)
    for more, message in (
        (["--seed", "7"], "begun with other --seed (0) than now (7)"),
        (["--exclude", "two"], "begun with other --exclude ([]) than now (['two'])"),
        (["--hours", "0.01"], "is less"),
    ):
        assert message in refusal("corpus", *arguments(inputs, output, *more))
    assert digests(output) == digests(whole)
    build.main(arguments(inputs, output, "--hours", str(16 * 4 / 3600)))
    longer = digests(output)
    assert len([name for name in longer if name.endswith(".flac")]) == 16
    tables = ("clips.csv", "materials.csv", "summary.json")
    assert {name: longer[name] for name in digests(whole) if name not in tables} == {
        name: digest for name, digest in digests(whole).items() if name not in tables
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(ValueError, match="not empty"):
        build.begin(tmp_path / "other", {}, 1.0)


@needs_fluidsynth
def test_full_disk_is_one_sentence(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    def fail(path: Path, audio: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(clips, "write_flac", fail)
    error = refusal("corpus", *arguments(inputs, tmp_path / "clips"))
    assert "the disk with" in error
    assert "is full; with some space freed the same command goes on" in error
    assert not (tmp_path / "clips" / "clips.csv").exists()


def test_missing_fluidsynth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    message = refusal("corpus", "--output", tmp_path / "clips")
    assert "install Debian's packages fluidsynth, fluid-soundfont-gm" in message
    assert not (tmp_path / "clips").exists()


def test_no_composition_is_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [*scores.composed_pieces(30, 0), *scores.composed_pieces(30, 0)]
    held = frozenset(build.validation_groups([("rendered", piece.group) for piece in pieces], 0))
    assert len(held) in (1, 2)
    voices = [Recording(tmp_path, "singing", f"voice {n}", "CC0-1.0", f"voice {n}", origin=f"v{n}") for n in range(6)]
    held |= build.validation_groups([(one.source, one.group) for one in voices], 0)
    everything = materials.Materials(0, pieces, [], [], voices, held)
    renders = {}
    for number in range(clips.renders_for(600, clips.RENDERS_PER_CLIP)):
        piece = everything.piece(number)
        renders[number] = {name: getattr(piece, name) for name in ("title", "group", "license", "attribution")}
        renders[number] |= {"number": number, "file": f"{number}", "origin": piece.title}
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 17_640)).astype(np.float32)  # what loudness needs
    monkeypatch.setattr(clips, "cut", lambda *arguments: audio)
    monkeypatch.setattr(clips, "write_flac", lambda *arguments: None)
    rows = [clips.make_clip(n, everything, renders, {}, tmp_path, tmp_path) for n in range(300)]
    assert {row["source"] for row in rows} == {"rendered", "singing", "remix"}
    parts = {split: {part for row in rows if row["split"] == split for part in row["title"].split(" + ")}
             for split in ("train", "validation")}  # fmt: skip
    assert parts["train"]
    assert parts["validation"] == parts["validation"] & held
    assert not parts["train"] & held


def test_weights_multiply(tmp_path: Path) -> None:
    rendered = [Recording(tmp_path, "rendered", "", "", "")] * 3
    one, two = (
        clips.source_shares({"rendered": rendered, "speech": [Recording(tmp_path, "speech", "", "", "", weight=w)]})
        for w in (1.0, 2.0)
    )
    assert two["speech"] / two["rendered"] == pytest.approx(2 * one["speech"] / one["rendered"])
    pieces = [scores.Piece("a", "a", "", "", "", weight=3.0), scores.Piece("b", "b", "", "", "")]
    everything = materials.Materials(0, pieces, [], [], [], frozenset())
    drawn = Counter(everything.piece(number).title for number in range(400))
    assert 2.2 < drawn["a"] / drawn["b"] < 4


def test_places(tmp_path: Path) -> None:
    folder = tmp_path / "my=tunes@2"
    folder.mkdir()
    parse = materials.parse_place
    assert parse(str(folder)) == Place(folder)
    assert parse(f"{folder}@0.5") == Place(folder, "", 0.5)
    assert parse(f"{tmp_path}=CC-BY-4.0") == Place(tmp_path, "CC-BY-4.0")
    assert parse(f"{tmp_path}=CC-BY-4.0@3") == Place(tmp_path, "CC-BY-4.0", 3.0)
    assert materials.parse_source(f"real={tmp_path}@2") == ("real", Place(tmp_path, "", 2.0))
    for text, message in (("nowhere", "no 'nowhere'"), (f"{tmp_path}@-1", "'-1'"), (f"{tmp_path}@x", "'x'")):
        with pytest.raises(argparse.ArgumentTypeError, match=message):
            parse(text)
    options = build.build_parser().parse_args(["--output", "a", "--exclude", "b", "c*", "--exclude", "d"])
    assert options.exclude == ["b", "c*", "d"]
    with pytest.raises(argparse.ArgumentTypeError, match="unknown source 'remix'"):
        materials.parse_source(f"remix={tmp_path}")


def test_excluded_names(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(synthesis, "SOUNDFONTS", [SimpleNamespace(path=inputs, share=1.0)])
    request = Request(
        midi=[Place(inputs / "tunes")],
        sources=[("singing", Place(inputs / "vocals"))],
        exclude=["anna_*", "two.mid", "nonsuch"],
    )
    found, remarks = materials.gather(request)
    assert {one.title for one in found.recordings} == {"bert_00", "cora_00", "phone", "quiet"}
    assert [one.title for one in found.pieces if one.file] == ["broken", "one"]
    assert len(found.pieces) == materials.FEWEST
    assert "--exclude nonsuch matches nothing" in remarks
