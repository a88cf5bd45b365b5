"""How commands read their arguments, and how they end."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from unlossy_cli import entry


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (entry.whole(), {"1": 1, "20": 20}, ("0", "-1", "1.5", "x", "")),
        (entry.whole(0), {"0": 0}, ("-1",)),
        (entry.positive, {"0.5": 0.5, "3": 3.0}, ("0", "-1", "nan", "inf", "x")),
        (entry.share, {"0": 0.0, "1": 1.0, "0.25": 0.25}, ("-0.1", "1.1", "nan", "x")),
    ],
)
def test_numbers(kind: Callable[[str], Any], good: dict[str, Any], bad: tuple[str, ...]) -> None:
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match="is not a"):
            kind(text)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ValueError("x is wrong"), 2, "x is wrong"),
        (PermissionError(13, "Permission denied", "out"), 2, "out: Permission denied"),
        (FloatingPointError("the loss is nan"), 2, "the loss is nan"),
        (BrokenProcessPool("A process in the process pool was terminated"), 2, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_a_sentence_and_a_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert entry.run("unlossy", command) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("unlossy: ")
    assert sentence in said


def test_mistakes_in_the_code_show_where_they_are() -> None:
    def command() -> None:
        raise TypeError("unsupported operand")

    with pytest.raises(TypeError):
        entry.run("unlossy", command)


def test_missing_packages() -> None:
    """They are named with the extra that they come with."""
    with pytest.raises(ImportError, match=r"needs no_such_package.*pip install 'unlossy\[eval\]'"):
        entry.require("no_such_package", "eval")
    with (
        pytest.raises(ImportError, match=r"needs no_such_package.*pip install 'unlossy\[eval\]'"),
        entry.needing("eval"),
    ):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


def test_a_reader_that_has_gone_is_no_error() -> None:
    """As in `unlossy similar … | head -1`."""
    code = """
import sys
from unlossy_cli import entry
def command():
    for number in range(100_000):
        print("a line of output", number)
sys.exit(entry.run("unlossy", command))
"""
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert os.read(read, 16) == b"a line of output"
    os.close(read)
    assert process.communicate()[1] == ""
    assert process.returncode == entry.PIPE_BROKEN
