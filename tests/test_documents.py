"""The documents: their commands have the options that they name, what runs offline runs, and links lead somewhere."""

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from conftest import Space
from links import LINK, anchors
from signals import RATE

import unlossy_cli.command_line
import unlossy_training.command_line
from unlossy.codecs import encode
from unlossy_training.fit.config import parse

TOP = Path(__file__).parents[1]
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").rglob("*.md"))]
HISTORY = (TOP / "CHANGELOG.md", TOP / "docs" / "diary.md")  # they name files as they were
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A file or folder of the repository, in backticks.
NAMED = re.compile(r"`((?:modeling|training|space|tests|docs|\.ci)/[\w./-]*)`")
RESULT = re.compile(r"# -> ([\w./]+\w)")
QUICK = {"restore", "info", "degrade", "encode", "decode", "similar"}  # commands that take seconds, without the network
MODULES = {"unlossy_cli": "unlossy", "unlossy_training": "unlossy-train"}
OTHERS = {".", "apt-get", "cp", "ffmpeg", "ffplay", "http.server", "npm", "pip", "pre-commit", "pytest", "venv"}


class Block(NamedTuple):
    """A fenced block of a document."""

    document: Path
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell's block, without its redirections."""
        found: list[list[str]] = [[]]
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            for word in words:
                if word in ("<", ">"):
                    next(words)
                elif word in ("&&", ";", "|"):
                    found.append([])
                else:
                    found[-1].append(word)
            found.append([])
        return [words for words in found if words]

    @property
    def is_quick(self) -> bool:
        """Whether it runs in seconds, with nothing but audio files."""
        return all(words[0] == "unlossy" and words[1] in QUICK for words in self.commands)


def blocks(language: str, wanted: Callable[[Block], bool] = lambda block: True) -> list[Any]:
    """The blocks of all documents in a language, as parameters of a test."""
    found = []
    for document in DOCUMENTS:
        texts = [text for name, text in FENCED.findall(document.read_text()) if name == language]
        for number, text in enumerate(texts, start=1):
            block = Block(document, language, text)
            if wanted(block):
                found.append(pytest.param(block, id=f"{document.relative_to(TOP)}:{number}"))
    return found


class _ParsedError(Exception):
    """The arguments are fine; the command itself is not run."""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the recipes and what a corpus is made of."""
    (tmp_path / "training").symlink_to(TOP / "training")
    for name in ("games", "recordings", "tunes", "vocals"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every command end as soon as its arguments are parsed."""
    whole = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, *arguments: Any) -> None:
        whole(self, *arguments)
        raise _ParsedError

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        yield


def check_arguments(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the arguments of a command of this package; of another one, look whether it is known."""
    program, *arguments = words[1:] if words[0] == "sudo" else words
    program = Path(program).name or program
    if program in ("accelerate", "python", "python3", "torchrun"):
        module, *arguments = arguments[arguments.index("-m") + 1 :]
        program = MODULES.get(module, module)
    if program == "unlossy":
        unlossy_cli.command_line.main(arguments)
    elif program == "unlossy-train":
        unlossy_training.command_line.main(arguments)
    elif program.startswith("unlossy_"):
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        importlib.import_module(program).main()
    else:
        assert program in OTHERS, f"{program} is new in a document: is it spelt right?"
        if program == "pip":
            check_extras(arguments)
        raise _ParsedError


def check_extras(arguments: list[str]) -> None:
    known = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extras in re.findall(r"\.\[(.*?)\]", " ".join(arguments)):
        assert set(extras.split(",")) <= set(known)


@pytest.mark.parametrize("block", blocks("bash"))
def test_options(block: Block, sources: None, only_parse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command has the options that a document gives it."""
    for words in block.commands:
        with pytest.raises(_ParsedError):
            check_arguments(words, monkeypatch)


def test_trainings(sources: None) -> None:
    """Each training in a document has what it needs."""
    trainings = [
        words[words.index("fit") + 1 :]
        for parameter in blocks("bash")
        for words in parameter.values[0].commands
        if "fit" in words
    ]
    assert trainings
    for arguments in trainings:
        assert parse(arguments).output


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the documents' examples work in: song.mp3, song.flac, music/ and more/."""
    time = np.arange(round(2.5 * RATE)) / RATE
    hiss = np.random.default_rng(0).normal(0, 0.05, (2, time.size)) * np.exp(-6 * (time % 0.25))
    audio = (0.2 * np.sin(2 * np.pi * np.array([[440.0], [554.4]]) * time) + hiss).astype(np.float32)
    for name, gain in (("song.flac", 1.0), ("music/one.flac", 0.5), ("music/other.flac", -0.7)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, gain * audio.T, RATE, subtype="PCM_16")
    (tmp_path / "song.mp3").write_bytes(encode(audio, RATE, "mp3", 64))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "third.ogg").write_bytes(encode(audio, RATE, "vorbis", 96))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", blocks("bash", lambda block: block.is_quick))
def test_quick_commands(block: Block, workplace: Path) -> None:
    """They run word for word, and write the files that they name."""
    program = workplace / "bin" / "unlossy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m unlossy_cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(["bash", "-euc", block.text], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = RESULT.findall(block.text)
    written += [words[words.index("-o") + 1] for words in block.commands if "-o" in words and words[-1] != "-"]
    written += re.findall(r"> (\S+)$", re.sub(r" *#.*", "", block.text), re.MULTILINE)
    for name in written:
        assert (workplace / name).exists(), f"{name} was not written"


def calls_the_demo(block: Block) -> bool:
    return "gradio_client" in block.text


@pytest.mark.parametrize("block", blocks("python", lambda block: not calls_the_demo(block)))
def test_python_runs_word_for_word(block: Block, workplace: Path) -> None:
    exec(compile(block.text, str(block.document), "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python", calls_the_demo))
def test_python_that_calls_the_demo_runs(block: Block, workplace: Path, space: Space) -> None:
    text = block.text.replace("http://127.0.0.1:7860", space.url)
    assert text != block.text
    exec(compile(text, str(block.document), "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_and_file_names(document: Path) -> None:
    """Each of them leads somewhere."""
    text = document.read_text()
    for link in LINK.findall(text):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document} links to {link}"
        assert not anchor or anchor in anchors(target.read_text()), f"{document} links to {link}"
    if document not in HISTORY:
        for name in NAMED.findall(text):
            assert (TOP / name).exists(), f"{document} names {name}"


def test_installation_comes_first() -> None:
    """A new machine can run the commands in the order of the document."""
    first = {path: FENCED.search(path.read_text()) for path in DOCUMENTS[:2]}  # as .ci/run takes them
    install, develop = (found[2] if found else "" for found in first.values())
    assert install.rstrip().endswith("unlossy restore space/examples/canon_64kbps.mp3")
    assert develop.rstrip().endswith("pytest")
    assert "constraints.txt" in install
    assert "constraints.txt" in develop


def test_every_decision_is_in_the_list() -> None:
    folder = TOP / "docs" / "decisions"
    pages = {path.name for path in folder.glob("[0-9]*.md")}
    assert pages
    assert pages <= set(LINK.findall((folder / "README.md").read_text()))
