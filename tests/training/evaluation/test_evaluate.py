"""The evaluation: synthesised clips through real encoders and a tiny model that does harm, so that it shows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from signals import RATE

from unlossy import UnlossyAutoencoder, UnlossyModel
from unlossy.codecs import encode
from unlossy.metrics import low_pass
from unlossy_training.conditions import parse_grid
from unlossy_training.evaluation import evaluate, measuring
from unlossy_training.evaluation.cases import Case, find_pairs, find_recordings
from unlossy_training.evaluation.measuring import Setup, compare, measure, prepare, recall
from unlossy_training.evaluation.summary import by_folder, markdown, summarise, worst_clips


def write_clip(path: Path, *, rate: int = RATE, channels: int = 2, seconds: float = 1.2, seed: int = 0) -> Path:
    """A chord over noise bursts."""
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (220, 277, 330))
    noise = np.random.default_rng(seed).normal(0, 0.02, (channels, len(time))) * np.exp(-6 * (time % 0.25))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (chord + noise).T, rate)
    return path


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    write_clip(tmp_path / "songs" / "disc" / "chord.flac")
    return tmp_path / "songs"


@pytest.fixture(scope="module")
def lively_folder(lively_model: UnlossyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lively-model")
    lively_model.save_pretrained(folder)
    return folder


@pytest.fixture
def make_setup(lively_folder: Path, tmp_path: Path) -> Callable[..., Setup]:
    def make(**options: Any) -> Setup:
        return prepare(str(lively_folder), tmp_path / "cache", **{"visqol": False, **options})

    return make


def test_rows(songs: Path, make_setup: Callable[..., Setup]) -> None:
    """They compare the input, what was restored and baselines with the original."""
    (case,) = find_recordings(songs, [("mp3", 64)])
    row = measure(case, make_setup(baselines=True))
    assert (row["clip"], row["codec"], row["kbps"]) == ("disc/chord.flac", "mp3", 64)
    figures = row["figures"]
    assert list(figures) == ["input", "detail 0", "detail 1", "copy-up", "oracle noise"]
    assert 9_000 < figures["input"].pop("cutoff_hz") < 12_000
    assert figures["input"].pop("kbps") == pytest.approx(64, rel=0.1)
    assert {values.pop("pre_echo") for values in figures.values()} == {None}  # a chord has no attacks
    assert {len(values) for values in figures.values()} == {8}
    assert np.isfinite([list(values.values()) for values in figures.values()]).all()
    # The model's heads are random: that it does harm must show, and that the detail is another one.
    faithful, full = (figures[name]["si_sdr"] for name in ("detail 0", "detail 1"))
    assert max(faithful, full) < figures["input"]["si_sdr"] < 60
    assert abs(faithful - full) > 0.1
    assert figures["input"]["si_sdr_below_cutoff"] > figures["input"]["si_sdr"]
    assert figures["oracle noise"]["si_sdr_below_cutoff"] == pytest.approx(
        figures["input"]["si_sdr_below_cutoff"], abs=0.1
    )
    assert figures["oracle noise"]["lsd"] < figures["input"]["lsd"] - 3
    assert figures["input"]["treble_level"] < -20 < -6 < figures["oracle noise"]["treble_level"] < 6
    assert figures["oracle noise"]["zimtohrli"] > figures["input"]["zimtohrli"]


def test_untouched_originals_are_perfect_input(songs: Path, make_setup: Callable[..., Setup]) -> None:
    (case,) = find_recordings(songs, [("lossless", 0)])
    figures = measure(case, make_setup())["figures"]["input"]
    assert figures == {
        "zimtohrli": 5, "si_sdr": 100, "si_sdr_below_cutoff": 100, "treble_level": None, "lsd": 0, "sdr_mid": 100,
        "sdr_side": 100, "width_error": 0, "pre_echo": None, "cutoff_hz": None,
    }  # fmt: skip


def test_nothing_above_the_edge_counts(songs: Path) -> None:
    clean, degraded, _ = Case("chord", "mp3", 64, songs / "disc" / "chord.flac").audio()
    hiss = np.random.default_rng(1).normal(0, 0.1, clean.shape).astype(np.float32)
    hiss -= low_pass(hiss, 16_000)

    def figures(clean: np.ndarray, degraded: np.ndarray, edge_hz: float | None) -> dict[str, float]:
        known = compare(clean, degraded, 11_000, edge_hz, with_visqol=False)
        return {name: value for name, value in known.items() if value is not None}

    wanted = figures(clean, degraded, 16_000)
    assert "treble_level" in wanted
    for reference, audio in ((clean + hiss, degraded), (clean, degraded + hiss)):
        assert figures(reference, audio, 16_000) == pytest.approx(wanted, rel=1e-3)
        assert figures(reference, audio, None)["si_sdr"] < wanted["si_sdr"] - 3


def test_a_table_of_sources_gives_the_edge(
    songs: Path, make_setup: Callable[..., Setup], refusal: Callable[..., str]
) -> None:
    write_clip(songs / "whole.wav")
    (songs / "SOURCES-music.csv").write_text(
        "file,license,edge_hz\ndisc/chord.flac,CC0-1.0,15900\nwhole.wav,CC0-1.0,\n"
    )
    chord, whole = find_recordings(songs, [("mp3", 64)])
    assert (chord.edge_hz, whole.edge_hz) == (15_900, None)
    row = measure(chord, make_setup())
    assert row["edge_hz"] == 15_900
    clean, degraded, _ = chord.audio()
    cutoff_hz = row["figures"]["input"]["cutoff_hz"]
    expected = compare(clean, degraded, cutoff_hz, 15_900, with_visqol=False)
    assert {name: row["figures"]["input"][name] for name in expected} == expected
    assert expected["lsd"] != compare(clean, degraded, cutoff_hz, with_visqol=False)["lsd"]
    assert recall(Case("chord", "mp3", 64, chord.path), make_setup()) is None  # with another edge, or none
    (songs / "SOURCES-music.csv").write_text("file,license,edge_hz\ndisc/chord.flac,CC0-1.0,19 kHz\n")
    assert "the edge_hz of" in refusal("evaluate", songs, "--no-visqol", "--cache", songs / "cache")


def test_other_rates_are_resampled(songs: Path) -> None:
    path = write_clip(songs / "slow.wav", rate=48_000, channels=1)
    clean, degraded, kbps = Case("slow", "opus", 32, path).audio()
    assert kbps is not None
    assert 20 < kbps < 60
    assert clean.shape == degraded.shape == (1, round(1.2 * RATE))


def test_what_was_measured_is_not_measured_again(
    songs: Path, make_setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = find_recordings(songs, [("mp3", 64)])
    setup = make_setup()
    assert recall(case, setup) is None
    row = measure(case, setup)
    monkeypatch.setattr(measuring, "restore", None)  # who calls it now fails
    monkeypatch.setattr(Case, "audio", None)
    assert recall(case, setup) == row == measure(case, setup)
    # A copy under another name is the same clip.
    other = songs / "copy.flac"
    other.write_bytes(case.path.read_bytes())
    assert recall(Case("copy", "mp3", 64, other), setup) == row | {"clip": "copy"}


def test_the_cache_tells_apart_what_matters(songs: Path, make_setup: Callable[..., Setup], tiny_model: Path) -> None:
    (case,) = find_recordings(songs, [("lossless", 0)])
    setup = make_setup()
    row = measure(case, setup)
    other_model = prepare(str(tiny_model), setup.cache, visqol=False)
    assert recall(case, other_model) is None
    assert recall(case, make_setup(visqol=True)) is None
    assert recall(Case(case.clip, "mp3", 64, case.path), setup) is None
    untrained = measure(case, other_model)["figures"]
    assert untrained["input"] == row["figures"]["input"]
    assert untrained["detail 1"]["si_sdr"] > 60 > row["figures"]["detail 1"]["si_sdr"]
    for entry in setup.cache.iterdir():
        entry.write_text(entry.read_text()[:20])
    assert recall(case, setup) is None
    write_clip(case.path, seed=1)
    assert measure(case, setup) != row


def test_pairs_are_measured_as_they_are(tmp_path: Path, make_setup: Callable[..., Setup]) -> None:
    path = write_clip(tmp_path / "chord.flac")
    clean = soundfile.read(path, dtype="float32")[0].T
    sides = [path.read_bytes(), encode(clean, RATE, "mp3", 64)]
    rows = [
        {
            "clean": {"bytes": sides[0], "path": "chord.flac"},
            "degraded": {"bytes": side, "path": None},
            "codec": codec,
            "bitrate_kbps": kbps,
        }
        for side, codec, kbps in ((sides[0], "identity", 0), (sides[1], "mp3", 66))
    ]
    file = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    columns = {"clean": file, "degraded": file, "codec": datasets.Value("string")}
    columns["bitrate_kbps"] = datasets.Value("int32")
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    datasets.Dataset.from_list(rows, features=datasets.Features(columns)).to_parquet(pairs / "validation-00000.parquet")
    cases = find_pairs(pairs)
    assert [(case.clip, case.codec, case.kbps) for case in cases] == [
        ("chord.flac", "mp3", 64),
        ("chord.flac", "lossless", 0),
    ]
    recording = Case("chord.flac", "mp3", 64, path)
    assert measure(cases[0], make_setup())["figures"] == measure(recording, make_setup())["figures"]


def test_a_grid_is_read() -> None:
    grid = [("mp3", 48), ("mp3", 64), ("opus", 16), ("lossless", 0)]
    assert parse_grid(["mp3:48,64,48", "opus:16", "lossless"]) == grid
    for word in ("mp3", "mp3:", "mp3:48,x", "wma:64", "lossless:64"):
        with pytest.raises(ValueError, match=f"'{word}' is no part of a grid"):
            parse_grid([word])
    with pytest.raises(ValueError, match="mp3 has no bitrate of 50"):
        parse_grid(["mp3:50"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [("text", "not a whole audio file"), ("short", "too short"), ("nan", "NaN"), ("surround", "3 channels")],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "bad.wav"
    if content == "text":
        path.write_text("no audio")
    elif content == "nan":
        soundfile.write(path, np.full((2 * RATE, 2), np.nan), RATE, "FLOAT")
    else:
        write_clip(path, seconds=0.1 if content == "short" else 1.2, channels=3 if content == "surround" else 2)
    with pytest.raises(ValueError, match=reason):
        Case("bad", "mp3", 64, path).audio()


def test_command(songs: Path, lively_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes figures, tables and plots, and counts what it has left out."""
    pytest.importorskip("matplotlib")
    (songs / "broken.flac").write_text("no audio")
    arguments = [str(songs), "--model", str(lively_folder), "--cache", str(tmp_path / "cache"), "--workers", "1"]
    arguments += ["--grid", "mp3:64", "lossless", "--no-visqol", "--output", str(tmp_path / "results.json")]
    evaluate.main([*arguments, "--plots", str(tmp_path / "plots")])
    captured = capsys.readouterr()
    assert "| mp3 | 64 (6" in captured.out
    assert "- lossless: disc/chord.flac (-" in captured.out
    assert "Left out: 2 of 4." in captured.out
    assert "ViSQOL's similarity is also part of what models are trained for; Zimtohrli is not." in captured.out
    assert captured.err.count("left out: broken.flac") == 2
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["clips"]) == len(results["left_out"]) == 2
    assert results["summary"][0]["worst"][0]["clip"] == "disc/chord.flac"
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"mp3.png", "mp3-worst.png", "mp3-best.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "plots").iterdir())


def test_autoencoder(
    songs: Path, make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is measured beside codecs and the linear autoencoder."""
    pytest.importorskip("matplotlib")
    make_autoencoder(embedding_size=92).save_pretrained(tmp_path / "model")
    (songs / "broken.flac").write_text("no audio")
    arguments = [str(songs), "--model", str(tmp_path / "model"), "--cache", str(tmp_path / "cache"), "--no-visqol"]
    arguments += ["--linear", str(songs), "--by-folder", "--grid", "mp3:64", "lossless", "--workers", "1"]
    evaluate.main([*arguments, "--output", str(tmp_path / "results.json"), "--plots", str(tmp_path / "plots")])
    results = json.loads((tmp_path / "results.json").read_text())
    codec, own = (row["means"] for row in results["summary"])
    assert list(codec) == ["input"]
    assert list(own) == ["input", *measuring.EMBEDDED, *measuring.LINEAR]
    rates = {name: means["kbps"] for name, means in own.items() if name != "input"}
    assert rates["detail 1"] == rates["detail 0"] == pytest.approx(92 * 32 * 44.1 / 512, rel=0.05)
    assert rates["linear"] > rates["linear, 8 bits"] > rates["linear, 4 bits"] > 0
    # Fitted to this very clip; the model's heads are random.
    assert own["linear"]["si_sdr"] > own["linear, 8 bits"]["si_sdr"] > own["linear, 4 bits"]["si_sdr"]
    assert own["linear"]["si_sdr"] > 15 > own["detail 0"]["si_sdr"]
    assert list(results["folders"]) == ["disc"]
    out = capsys.readouterr().out
    assert "\ndisc\n\n| codec |" in out
    assert "8 bits, detail 0" in out
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"rates.png", "lossless-worst.png", "lossless-best.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["songs", "--linear", "songs"], "leave --linear out"),
        (["empty"], "empty has no .flac or .wav files"),
        (["songs", "--grid", "mp3:50"], "mp3 has no bitrate of 50"),
        (["songs", "--model", "empty"], "no Unlossy model found"),
        (["songs", "--output", "nowhere/results.json"], "there is no folder nowhere"),
        (["songs", "--by-folder", "music"], "no clips in a sub-folder music of songs"),
    ],
)
def test_mistakes_end_at_once(
    songs: Path, arguments: list[str], message: str, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(songs.parent)
    Path("empty").mkdir()
    assert message in refusal("evaluate", *arguments, "--no-visqol", "--cache", "cache")


def test_means_table_and_worst_clips() -> None:
    def make_row(clip: str, codec: str, si_sdr: float, change: float, side: float | None) -> dict[str, Any]:
        before = {"si_sdr": si_sdr, "sdr_side": side}
        after = {"si_sdr": si_sdr + change, "sdr_side": side}
        figures = {"input": before, "detail 0": before, "detail 1": after}
        return {"clip": clip, "codec": codec, "kbps": 64 if codec == "mp3" else 0, "figures": figures}

    rows = [make_row(f"{number}.wav", "mp3", 10.0, number, 3.0 if number else None) for number in range(7)]
    summary = summarise([*rows, make_row("a.wav", "lossless", 100.0, -50.0, None)])
    assert [(row["codec"], row["clips"], row["clips_with_side"]) for row in summary] == [
        ("mp3", 7, 6),
        ("lossless", 1, 0),
    ]
    assert summary[0]["means"]["detail 1"] == {"si_sdr": 13.0, "sdr_side": 3.0}
    assert [clip["clip"] for clip in summary[0]["worst"]] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav"]
    lines = markdown(summary).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0] == "| codec | kbps | clips | | SI-SDR [dB] | SDR of the side [dB] |"
    assert lines[2] == "| mp3 | 64 | 7 | input | 10.00 | 3.00 |"
    assert lines[4] == "| | | | detail 1 | 13.00 (+3.00) | 3.00 (+0.00) |"
    assert lines[7] == "| | | | detail 1 | 50.00 (-50.00) | – |"
    assert worst_clips(summary).splitlines()[-1] == "- lossless: a.wav (-50.00)"


def test_one_folder_and_the_rest() -> None:
    figures = {"input": {"si_sdr": 1.0, "sdr_side": None}, "detail 1": {"si_sdr": 2.0, "sdr_side": None}}
    clips = ("music/a.wav", "music/b.wav", "real/a.wav", "singing/a.wav", "speech/a.wav")
    rows = [{"clip": clip, "codec": "mp3", "kbps": 64, "figures": figures} for clip in clips]
    assert list(by_folder(rows)) == ["music", "real", "singing", "speech"]
    assert {name: summary[0]["clips"] for name, summary in by_folder(rows, "music").items()} == {
        "music": 2,
        "the rest": 3,
    }


def test_cache_ignores_comments() -> None:
    """Figures stay in the cache when only comments, docstrings or formatting of the code change."""
    code = 'def double(x):\n    """Twice."""\n    return 2 * x  # fast\n'
    assert measuring.code_of(code) == measuring.code_of("def double(x):\n    return (2 * x)\n")
    assert measuring.code_of(code) != measuring.code_of(code.replace("2", "3"))
