"""`unlossy-train`: every command answers `--help`, and mistakes get one sentence."""

import subprocess
import sys

import pytest

from unlossy_training import command_line


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
    assert command_line.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in command_line.COMMANDS)
    assert command_line.main([]) == 2


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["train"]) == 2
    assert "'train' is no command" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = "from unlossy_training.command_line import main; main(['--help']); import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
