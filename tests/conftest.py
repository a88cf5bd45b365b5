"""Fixtures that several test modules share: a tiny untrained model, and short synthesised files."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import soundfile
from signals import RATE, TINY, TINY_AUTOENCODER, clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from unlossy import UnlossyAutoencoder, UnlossyModel


@pytest.fixture(scope="session")
def make_lively() -> "Callable[..., UnlossyModel]":
    """Function that makes a tiny restorer whose heads are not zero, so that it changes what goes through it."""
    import torch

    from unlossy import UnlossyConfig, UnlossyModel

    def make(**fields: Any) -> "UnlossyModel":
        torch.manual_seed(0)
        model = UnlossyModel(UnlossyConfig(**TINY | fields))
        for name, parameter in model.named_parameters():
            if "_head" in name or "narrow" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def make_autoencoder() -> "Callable[..., UnlossyAutoencoder]":
    """Function that makes a tiny autoencoder whose convolutions are not zero."""
    import torch

    from unlossy import UnlossyAutoencoder, UnlossyAutoencoderConfig

    def make(**fields: Any) -> "UnlossyAutoencoder":
        torch.manual_seed(0)
        model = UnlossyAutoencoder(UnlossyAutoencoderConfig(**TINY_AUTOENCODER | fields))
        for name, parameter in model.named_parameters():
            if "narrow" in name:
                torch.nn.init.normal_(parameter, std=0.1)
            elif "bottleneck.1" in name or "output.1" in name:  # beside a linear transform
                torch.nn.init.normal_(parameter, std=0.02)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def lively_model(make_lively: "Callable[..., UnlossyModel]") -> "UnlossyModel":
    return make_lively()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained model, which returns its input, small enough to restore seconds of audio in no time."""
    from unlossy import UnlossyConfig, UnlossyModel

    folder = tmp_path_factory.mktemp("tiny-model")
    UnlossyModel(UnlossyConfig(**TINY)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of twelve pairs of a second, four of them for validation, made by real encoders."""
    from unlossy_training.pairs import dataset

    folder = tmp_path_factory.mktemp("tiny-pairs")
    clips = folder / "clips"
    clips.mkdir()
    table = ["file,source,title,license,split"]
    for number in range(12):
        soundfile.write(clips / f"{number}.flac", clip(1, seed=number).T, RATE, subtype="PCM_16")
        table.append(f"{number}.flac,rendered,piece,CC0-1.0,{'train' if number > 3 else 'validation'}")
    (clips / "clips.csv").write_text("\n".join(table))
    dataset.build(clips, folder / "pairs", workers=1)
    return folder / "pairs"


@pytest.fixture
def write_chord(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes half a second of a stereo chord to a file below `tmp_path`, and returns its path."""

    def write(name: str = "song.wav", *, seconds: float = 0.5) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * RATE)) / RATE
        left, right = (
            sum(0.15 * np.sin(2 * np.pi * root * ratio * time) for ratio in (1, 1.25, 1.5)) for root in (220, 440)
        )
        soundfile.write(path, np.stack([left, right], axis=1), RATE)
        return path

    return write


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Function that runs `unlossy-train` on what it must refuse, and returns the sentence that it says why with."""
    from unlossy_training.command_line import main

    def run(*words: object) -> str:
        try:
            code: object = main([str(word) for word in words])
        except SystemExit as ended:  # by the parser
            code = ended.code
        assert code == 2
        sentence = capsys.readouterr().err.splitlines()[-1]
        assert sentence.startswith(f"unlossy-train {words[0]}: ")
        return sentence

    return run


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def unused_port() -> int:
    """A port that nothing listens on."""
    return find_port()


class Space(NamedTuple):
    """The web demo in a process of its own."""

    url: str
    folder: Path  # of its temporary files


def start_demo(folder: Path) -> tuple[subprocess.Popen[str], Space]:
    """`unlossy demo` with the shipped checkpoint, as a user starts it; `folder` is for its temporary files."""
    port = find_port()
    command = [sys.executable, "-m", "unlossy_cli", "demo", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == f"Unlossy is at http://127.0.0.1:{port}/\n", line
    return process, Space(line.split()[-1], folder)


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    pytest.importorskip("gradio", reason="the demo needs the extra `space`")
    folder = tmp_path_factory.mktemp("space")
    process, space = start_demo(folder)
    yield space
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    assert not list(folder.glob("unlossy-*"))  # it leaves nothing behind


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium (on Debian: apt-get install chromium)")
    quiet = ("background-networking", "component-update", "sync")
    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        *(f"--disable-{it}" for it in quiet),
    ]
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()
