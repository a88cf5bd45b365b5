"""`unlossy-train`: every command answers `--help`, and mistakes get one sentence."""

import signal
from pathlib import Path

import pytest

from unlossy_training import command_line
from unlossy_training.corpus import build


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main([name, "--help"])
    assert stop.value.code == 0
    assert f"unlossy-train {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_refuses_unknown_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main([name, "--no-such-option", "1"])
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in command_line.COMMANDS)


@pytest.mark.parametrize(
    ("words", "sentence"), [(["train"], "'train'"), ([], "required: COMMAND"), (["--seed", "1", "fit"], "'1'")]
)
def test_wrong_words(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert sentence in error


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_go_on(
    stop: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(stop)

    monkeypatch.setattr(build, "gather", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored: a shell's background job
    try:
        assert command_line.main(["corpus", "--output", str(tmp_path / "clips")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "unlossy-train corpus: interrupted; the same command goes on\n"
