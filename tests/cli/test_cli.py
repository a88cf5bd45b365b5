"""The command line, through `main`: what it writes, and what it says and returns when something is wrong."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unlossy_cli import main, restore

WriteChord = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Starting worker processes takes seconds: only the test that is about them has them."""
    if "workers" not in request.function.__name__:
        monkeypatch.setattr(restore, "count_workers", lambda files, processes_here: (1, 1))


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, hidden and temporary ones included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence on stderr; that it is one line is checked."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_start_imports_nothing_heavy() -> None:
    code = (
        "import sys, unlossy_cli.command_line as c; c.build_parser(); import unlossy_cli.restore;"
        "print(sorted({'torch', 'torchaudio', 'transformers', 'numpy', 'av', 'tqdm', 'unlossy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "output", "error"),
    [
        (["--version"], 0, "unlossy ", ""),
        (["info", "no-such-file.mp3"], 2, "", "unlossy: no such file: no-such-file.mp3"),
        (["info"], 2, "", "unlossy info: the following arguments are required"),
    ],
)
def test_process(arguments: list[str], code: int, output: str, error: str) -> None:
    """It ends with the right code, and all its output is written."""
    command = [sys.executable, "-c", "import unlossy_cli; unlossy_cli.process()", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout[: len(output)], result.stderr[: len(error)]) == (code, output, error)


def test_choices_are_those_of_the_package() -> None:
    # Written out in the command line, so that it starts without the package.
    from unlossy.codecs import CODECS
    from unlossy.hub.audio_writing_unlossy import BIT_DEPTHS, FORMATS
    from unlossy_cli.command_line import CODEC_CHOICES
    from unlossy_cli.planning import LOSSLESS_BIT_DEPTHS, OUTPUT_FORMATS

    assert tuple(FORMATS) == OUTPUT_FORMATS
    assert LOSSLESS_BIT_DEPTHS["wav"] == BIT_DEPTHS
    assert CODEC_CHOICES == CODECS


def test_restores_beside_the_input(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = write_chord()
    assert main(["restore", str(song), "--model", str(tiny_model)]) == 0
    assert files_below(tmp_path) == {"song.wav", "song.restored.flac"}
    output = capsys.readouterr()
    assert output.out == f"{song} -> {tmp_path / 'song.restored.flac'}\n"
    assert output.err == ""
    before, rate = soundfile.read(song)
    after, rate_after = soundfile.read(tmp_path / "song.restored.flac")
    assert rate == rate_after
    np.testing.assert_allclose(after, before, atol=1e-4)  # untrained: it returns its input


@pytest.mark.parametrize(
    ("arguments", "subtype"),
    [
        (["-o", "out.wav", "--bit-depth", "32f"], "FLOAT"),
        (["-o", "out.wav", "--bit-depth", "16", "--detail", "0"], "PCM_16"),
        (["-o", "out.flac", "--device", "cpu"], "PCM_24"),
        (["-o", "out.mp3"], "MPEG_LAYER_III"),
    ],
)
def test_options_reach_the_output(
    write_chord: WriteChord,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    subtype: str,
) -> None:
    write_chord()
    monkeypatch.chdir(tmp_path)
    assert main(["restore", "song.wav", "--model", str(tiny_model), *arguments]) == 0
    assert soundfile.info(arguments[1]).subtype == subtype


def write_bad_file(name: str, folder: Path) -> Path:
    """Write one of the files that can't be restored."""
    path = folder / f"{name}.wav"
    tone = np.full((44_100, 1), 0.1)
    if name == "empty":
        path.touch()
    elif name == "text":
        path.write_text("This is no audio. " * 100)
    elif name == "missing":
        pass
    elif name == "no-samples":
        soundfile.write(path, tone[:0], 44_100)
    elif name == "nan":
        soundfile.write(path, tone * np.nan, 44_100, subtype="FLOAT")
    elif name == "nine-channels":
        soundfile.write(path, tone.repeat(9, axis=1), 44_100)
    elif name == "truncated":
        path = path.with_suffix(".flac")
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (88_200, 2)), 44_100)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


BAD_FILES = ("empty", "text", "missing", "no-samples", "nan", "nine-channels", "truncated")


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_named_in_one_sentence(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = write_bad_file(name, tmp_path)
    before = files_below(tmp_path)
    assert main(["restore", str(path), "--model", str(tiny_model)]) == 2
    assert str(path) in error_of(capsys)
    assert files_below(tmp_path) == before


def test_folder_goes_on_after_bad_files(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chord("in/a.wav")
    write_chord("in/deep/z.wav")
    bad = [write_bad_file(name, tmp_path / "in") for name in ("empty", "truncated")]
    assert main(["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    assert files_below(tmp_path / "out") == {"a.flac", "deep/z.flac"}
    error = capsys.readouterr().err
    assert error.startswith("unlossy: 2 of 4 files failed:\n")
    assert all(str(path) in error for path in bad)


def test_existing_output_is_kept_unless_asked(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = write_chord()
    output = tmp_path / "song.restored.flac"
    output.write_text("precious")
    options = ["--model", str(tiny_model)]
    assert main(["restore", str(song), *options]) == 2
    assert f"{output}: exists already" in error_of(capsys)
    assert output.read_text() == "precious"

    other = write_chord("other.wav")
    assert main(["restore", str(song), str(other), *options]) == 0
    sentence = "1 of 2 results exist already and stay as they are; add --overwrite to replace them"
    assert capsys.readouterr().err == f"unlossy: warning: {sentence}\n"
    assert output.read_text() == "precious"
    assert (tmp_path / "other.restored.flac").exists()

    assert main(["restore", str(song), "--overwrite", *options]) == 0
    assert soundfile.info(output).frames == soundfile.info(song).frames


def test_unwritable_output(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = write_chord()
    output = song / "out.flac"  # below a file: not even root may write there
    assert main(["restore", str(song), "-o", str(output), "--model", str(tiny_model)]) == 2
    assert error_of(capsys) == f"unlossy: cannot write {output}: there is no folder {song}\n"
    assert files_below(tmp_path) == {"song.wav"}


def test_name_too_long_for_its_result(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only this file fails."""
    write_chord("in/short.wav")
    long = write_chord(f"in/{'a' * 250}.wav")
    assert main(["restore", str(tmp_path / "in"), "--model", str(tiny_model)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("unlossy: 1 of 2 files failed:\n")
    assert f"{long.stem}.restored.flac: File name too long" in error
    assert (tmp_path / "in" / "short.restored.flac").exists()


def test_missing_checkpoint_stops_at_once(
    write_chord: WriteChord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chord("in/a.wav")
    write_chord("in/b.wav")
    missing = tmp_path / "no-model"
    assert main(["restore", str(tmp_path / "in"), "--model", str(missing)]) == 2
    assert str(missing) in error_of(capsys)
    assert files_below(tmp_path) == {"in/a.wav", "in/b.wav"}


def test_a_package_without_its_checkpoint_says_so(
    write_chord: WriteChord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unlossy.hub.loading_unlossy.SHIPPED_MODEL", str(tmp_path / "nowhere"))
    # Models are cached by their settings: no other test has these.
    assert main(["restore", str(write_chord()), "--detail", "0.125"]) == 2
    assert "install unlossy again" in error_of(capsys)


def test_damaged_checkpoint(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is named in one sentence."""
    song = write_chord()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (damaged / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes()[:1000])
    assert main(["restore", str(song), "--model", str(damaged)]) == 2
    assert str(damaged) in error_of(capfd)
    assert not (tmp_path / "song.restored.flac").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["restore"],
        ["restore", ""],
        ["info", ""],
        ["restore", "song.wav", "--detail", "nan"],
        ["restore", "song.wav", "--detail", "1.5"],
        ["restore", "song.wav", "--format", "aiff"],
        ["degrade", "song.wav", "-o", "x.mp3", "--codec", "wma", "--bitrate", "64"],
        ["degrade", "song.wav", "-o", "x.mp3", "--codec", "mp3", "--bitrate", "many"],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert error_of(capsys).startswith("unlossy")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("unlossy 0.")


def test_launched_processes_share_the_files(
    write_chord: WriteChord, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_chord(f"in/{name}.wav")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done: list[set[str]] = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert main(["restore", str(tmp_path / "in"), "-o", str(tmp_path / rank), "--model", str(tiny_model)]) == 0
        done.append(files_below(tmp_path / rank))
    assert done == [{"a.flac", "c.flac"}, {"b.flac"}]


def test_workers_restore_side_by_side(
    write_chord: WriteChord,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(restore, "count_workers", lambda files, processes_here: (2, 1))
    for name in "abc":
        write_chord(f"in/{name}.wav")
    bad = write_bad_file("empty", tmp_path / "in")
    assert main(["restore", str(tmp_path / "in"), "--device", "cpu", "--model", str(tiny_model)]) == 1
    assert {f"in/{name}.restored.flac" for name in "abc"} < files_below(tmp_path)
    error = capsys.readouterr().err
    assert error.startswith("unlossy: 1 of 4 files failed:")
    assert str(bad) in error


@pytest.mark.parametrize("command", ["restore", "degrade"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_leaves_nothing_behind(
    write_chord: WriteChord,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stop: signal.Signals,
    command: str,
) -> None:
    song = write_chord(seconds=60)
    options = ["-o", str(tmp_path / "out.mp3")]
    options += ["--model", str(tiny_model)] if command == "restore" else ["--codec", "mp3", "--bitrate", "64"]

    def stop_when_writing() -> None:
        while len(files_below(tmp_path)) == 1:
            time.sleep(0.01)
        signal.raise_signal(stop)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored: a shell's background job
    stopper = threading.Thread(target=stop_when_writing)
    stopper.start()
    try:
        assert main([command, str(song), *options]) == 130
    finally:
        stopper.join()
        signal.signal(signal.SIGINT, before)
    assert error_of(capsys) == "unlossy: interrupted\n"
    assert files_below(tmp_path) == {"song.wav"}


def test_degrade_and_info(write_chord: WriteChord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song = write_chord(seconds=2)
    coded = tmp_path / "song.mp3"
    command = ["degrade", str(song), "-o", str(coded), "--codec", "mp3", "--bitrate", "64"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{song} -> {coded}\n"
    assert main(command) == 2
    assert str(coded) in error_of(capsys)
    assert main([*command, "--overwrite"]) == 0
    capsys.readouterr()

    assert main(["info", str(coded)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(coded)
    described = dict(line.strip().split(":", 1) for line in lines[1:])
    described = {name: value.strip() for name, value in described.items()}
    assert described["codec"] == "mp3"
    assert described["bitrate"] == "64 kbps"
    assert described["sample rate"] == "44,100 Hz"
    assert described["channels"] == "2"
    assert described["duration"] == "0:02.0"
    assert described["restoration"]


def test_info_rounds_to_whole_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(round(59.97 * 8_000)), 8_000)
    assert main(["info", str(tmp_path / "in.wav")]) == 0
    assert "1:00.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("codec", "bitrate", "named"), [("mp3", "65", "65"), ("opus", "9999", "9999"), ("vorbis", "1", "1")]
)
def test_degrade_refuses_an_impossible_bitrate(
    write_chord: WriteChord, tmp_path: Path, capsys: pytest.CaptureFixture[str], codec: str, bitrate: str, named: str
) -> None:
    song = write_chord()
    output = tmp_path / "out.ogg"
    assert main(["degrade", str(song), "-o", str(output), "--codec", codec, "--bitrate", bitrate]) == 2
    error = error_of(capsys)
    assert codec in error
    assert named in error
    assert files_below(tmp_path) == {"song.wav"}


@pytest.mark.parametrize("name", ["empty", "text", "missing"])
@pytest.mark.parametrize("command", ["info", "degrade"])
def test_other_commands_name_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    path = write_bad_file(name, tmp_path)
    options = ["-o", str(tmp_path / "x.mp3"), "--codec", "mp3", "--bitrate", "64"] if command == "degrade" else []
    assert main([command, str(path), *options]) == 2
    assert str(path) in error_of(capsys)
