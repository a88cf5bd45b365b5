"""The page that restores in the browser: what it does with files, and that nothing leaves this machine."""

import functools
import io
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from unlossy import load_model, restore
from unlossy.codecs import encode
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.streaming_unlossy import model_blocks

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

TOP = Path(__file__).parents[2]
PAGE = TOP / "space" / "browser"
EXAMPLE = TOP / "space" / "examples" / "canon_64kbps.mp3"
NETWORK = TOP / "modeling" / "unlossy" / "checkpoints" / "unlossy-44khz" / "onnx" / "model.onnx"
PATIENCE = 240_000  # [ms] of a busy machine
RATE = 44_100  # [Hz]


class QuietHandler(SimpleHTTPRequestHandler):
    """Python's file server as it is, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the page is served, built by the documented commands."""
    network = Path(os.environ.get("UNLOSSY_ONNX", NETWORK))
    if not network.exists():
        pytest.skip(f"the network is not exported: {network} is not there")
    if shutil.which("npm") is None:
        pytest.skip("the page is built with npm, which is not there (on Debian: apt-get install npm)")
    installed = subprocess.run(["npm", "ci"], cwd=PAGE, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm can't install what the page needs: {installed.stderr.strip()[-300:]}")
    subprocess.run(["npm", "run", "build", "--", network], cwd=PAGE, check=True, capture_output=True)
    handler = functools.partial(QuietHandler, directory=PAGE / "dist")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def is_isolated(page: Any) -> bool:
    try:
        return bool(page.evaluate("crossOriginIsolated"))
    except playwright.Error:  # between two pages
        return False


@pytest.fixture
def open_page(address: str, browser: Any) -> Iterator[Callable[..., Any]]:
    """Function that opens the page. In the end it must have had no errors, and have spoken to this machine only."""
    contexts: list[Any] = []
    errors: list[str] = []
    hosts: set[str | None] = set()

    def open_it(width: int = 1280, scheme: str = "light", script: str = "") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        # Of the context, so that those of its workers are among them.
        context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
        page.goto(address)
        while not is_isolated(page):  # it loads once more, with threads
            page.wait_for_timeout(100)
        page.wait_for_load_state()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not errors
    assert hosts - {None} == {"127.0.0.1"}  # none: blob:


def choose(page: Any, path: Path) -> None:
    page.locator("#file").set_input_files(path)


def start(page: Any) -> None:
    page.get_by_role("button", name="Restore", exact=True).click()


def download(page: Any, folder: Path) -> Path:
    page.locator(".player .play:visible").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def compare(path: Path, source: Path, folder: Path, detail: float = 1.0) -> float:
    """The largest difference of a restored file from what the package makes of the same source."""
    expected = folder / "expected.wav"
    restore(source, output=expected, detail=detail)
    ours, theirs = (soundfile.read(it, always_2d=True) for it in (path, expected))
    assert ours[1] == theirs[1]
    assert ours[0].shape == theirs[0].shape
    return float(np.abs(ours[0] - theirs[0]).max())


def test_blocks_reach_as_far_as_the_network() -> None:
    text = (PAGE / "page" / "blocks.js").read_text()
    constants = {name: int(value) for name, value in re.findall(r"const (\w+) = (\d+);", text)}
    config = load_model(device="cpu").config
    assert constants["REACH"] == model_blocks(config, 1)[0]
    assert constants["GRID"] == config.block_alignment
    assert constants["HOP"] == config.hop_length
    assert constants["RATE"] == config.sampling_rate


def test_the_example_is_restored_as_by_the_package(open_page: Callable[..., Any], tmp_path: Path) -> None:
    with AudioReader(EXAMPLE) as reader:
        samples = np.concatenate(list(reader.blocks(RATE)), axis=1)
    decoded = tmp_path / "canon.wav"
    soundfile.write(decoded, samples.T, RATE, subtype="PCM_24")
    page = open_page()
    choose(page, decoded)
    page.get_by_text("PCM · 2117 kbps · 44.1 kHz · stereo · 10 s").wait_for()
    start(page)
    path = download(page, tmp_path)
    assert path.name == "canon.restored.wav"
    assert soundfile.info(path).subtype == "PCM_24"
    assert compare(path, decoded, tmp_path) < 1e-3


def test_one_click_restores_the_example(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("button", name="Try the example").click()
    page.get_by_text("MP3 · 64 kbps · 44.1 kHz · stereo · 10 s").wait_for()
    page.get_by_text(re.compile(r"Loading the network: \d+ of \d+ MB")).wait_for()
    path = download(page, tmp_path)
    assert re.fullmatch(r"Restored in [\d.]+ s on the processor, [2-8] threads\.", page.locator("#status").inner_text())
    # Chromium decodes MP3 to the samples of FFmpeg, which AudioReader has, too.
    assert compare(path, EXAMPLE, tmp_path) < 1e-3


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "m4a"), ("vorbis", "ogg"), ("opus", "opus")])
def test_each_codec_is_decoded_as_by_the_package(
    open_page: Callable[..., Any], tmp_path: Path, codec: str, suffix: str
) -> None:
    time = np.arange(2 * RATE) / RATE
    # Not at once: where a file begins in the middle of a sound, soxr's first samples are of its own kind.
    hiss = np.random.default_rng(0).normal(0, 0.1, (2, time.size)) * np.exp(-10 * (time % 0.5)) * (time > 0.5)
    source = tmp_path / f"song.{suffix}"
    source.write_bytes(encode((0.2 * np.sin(2 * np.pi * 440 * time) + hiss).astype(np.float32), RATE, codec, 96))
    page = open_page()
    choose(page, source)
    start(page)
    assert compare(download(page, tmp_path), source, tmp_path) < 1e-3


def test_mono_at_another_rate_with_silence_and_peaks(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """A loud click track with pauses at 48 kHz, through a codec and back to samples, half restored."""
    rate = 48_000
    time = np.arange(5 * rate) / rate
    hiss = np.random.default_rng(0).normal(0, 0.5, time.size) * np.exp(-20 * (time % 0.5))
    source = tmp_path / "encoded.mp3"
    source.write_bytes(encode((0.5 * np.sin(2 * np.pi * 440 * time) + hiss)[None].astype(np.float32), rate, "mp3", 48))
    with AudioReader(source) as reader:
        samples = np.concatenate(list(reader.blocks(rate)), axis=1)[0]
    samples /= np.abs(samples).max()
    samples[2 * rate : 3 * rate] = 0
    path = tmp_path / "clicks.wav"
    soundfile.write(path, samples, rate, subtype="PCM_24")
    page = open_page()
    choose(page, path)
    page.get_by_text("48 kHz · mono · 5 s").wait_for()
    page.get_by_label("Detail").fill("50")
    start(page)
    result = download(page, tmp_path)
    assert compare(result, path, tmp_path, detail=0.5) < 1e-3
    restored, _ = soundfile.read(result)
    assert np.abs(restored - samples).max() > 0.01
    assert not restored[2 * rate + 4800 : 3 * rate - 4800].any()


@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_moments_and_rates(open_page: Callable[..., Any], tmp_path: Path, rate: int) -> None:
    """A burst of noise without the highest tones of its rate, where one resampler differs from another."""
    length = 700 * rate // 16_000
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=(2, length)))
    spectrum[:, int(0.8 * spectrum.shape[1] * min(1, 44_100 / rate)) :] = 0
    burst = 0.1 * np.fft.irfft(spectrum, length) * np.hanning(length)
    path = tmp_path / "moment.flac"
    soundfile.write(path, burst.T, rate, subtype="PCM_24")
    page = open_page()
    choose(page, path)
    start(page)
    assert compare(download(page, tmp_path), path, tmp_path) < 1e-3


def test_cancelling_frees_the_page(open_page: Callable[..., Any], tmp_path: Path) -> None:
    long = tmp_path / "long.flac"
    soundfile.write(long, np.random.default_rng(0).uniform(-0.1, 0.1, (120 * RATE, 2)), RATE)
    page = open_page()
    choose(page, long)
    page.get_by_text("2:00 min").wait_for()
    start(page)
    page.get_by_text(re.compile(r"Restoring: [1-9]\d* %")).wait_for()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#status").inner_text() == ""
    assert page.get_by_role("button", name="Restore", exact=True).is_enabled()
    assert not page.locator(".player .play:visible").count()
    page.get_by_role("button", name="Try the example").click()
    assert download(page, tmp_path).name == "canon_64kbps.restored.wav"


def many_channels() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((RATE, 6)), RATE, format="WAV")
    return file.getvalue()


def long_silence() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(11 * 60 * 8000, np.int16), 8000, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.mp3", lambda: b"This is no audio. " * 100, "notes.mp3 is not an audio file that this page can read."),
        ("empty.wav", lambda: b"", "empty.wav is not an audio file that this page can read."),
        ("five.wav", many_channels, "five.wav has 6 channels; here at most two."),
        ("talk.flac", long_silence, "talk.flac is 11:00 min long; here at most 10:00 min."),
    ],
)
def test_a_file_that_it_cannot_take_gets_a_sentence(
    open_page: Callable[..., Any], tmp_path: Path, name: str, content: Callable[[], bytes], sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content())
    page = open_page()
    choose(page, path)
    page.get_by_text(sentence).wait_for()
    assert page.get_by_role("alert").first.inner_text().startswith(sentence)
    assert not page.get_by_role("button", name="Restore", exact=True).is_visible()


def test_a_browser_without_webassembly_gets_a_sentence(open_page: Callable[..., Any]) -> None:
    page = open_page(script="delete globalThis.WebAssembly;")
    page.get_by_role("button", name="Try the example").click()
    page.get_by_text("The network can't be started here.").wait_for()


def test_the_keyboard_does_it_all(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "example"
    page.keyboard.press("Enter")
    page.locator(".player .play:visible").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.locator("#share").inner_text() == "0 %"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "cancel"
    page.locator(".player .play:visible").wait_for()
    assert page.evaluate("document.activeElement.id") == "restore"
    unnamed = (
        "[...document.querySelectorAll('button, input, canvas, a, progress')].filter(it => !(it.labels?.length || "
    )
    unnamed += "it.ariaLabel || it.textContent.trim())).map(it => it.outerHTML)"
    assert page.evaluate(unnamed) == []


def test_both_versions_play_at_the_same_place(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("button", name="Try the example").click()
    page.locator(".player .play:visible").click()
    page.wait_for_timeout(500)
    seek = page.locator(".player .seek")
    assert float(seek.input_value()) > 10  # it moves
    middle = page.locator("#after").bounding_box()
    page.mouse.click(middle["x"] + middle["width"] / 2, middle["y"] + 9)
    assert 490 < float(seek.input_value()) < 900
    page.get_by_role("radio", name="Before").focus()
    page.keyboard.press("1")
    assert page.get_by_role("radio", name="Before").is_checked()
    assert page.locator(".player .play").get_attribute("aria-label") == "Pause"
    note = page.locator(".player .note").inner_text()
    assert re.fullmatch(r"All are equally loud\.|Played equally loud, with (Before|After) at −\d+\.\d dB", note)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(open_page: Callable[..., Any], tmp_path: Path, width: int, scheme: str) -> None:
    page = open_page(width, scheme)
    page.screenshot(path=tmp_path / f"{width}-{scheme}-first.png", full_page=True)
    page.get_by_role("button", name="Try the example").click()
    page.locator(".player .play:visible").wait_for()
    page.get_by_text("Blind test").click()
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)  # to be looked at, in pytest's folder
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_visitor_loads_at_most_40_megabytes(address: str) -> None:
    sizes = {path.name: path.stat().st_size for path in (PAGE / "dist").rglob("*") if path.is_file()}
    graphics = {name for name in sizes if "jspi" in name}
    processor = {name for name in sizes if name.startswith("ort")} - graphics
    assert len(graphics) == len(processor) == 2
    for flavour in (graphics, processor):  # the other one is not loaded
        assert sum(size for name, size in sizes.items() if name not in flavour) < 40e6
