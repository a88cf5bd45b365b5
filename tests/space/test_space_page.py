"""The page in a real browser: from the upload to the download, at two widths, with nothing fetched from elsewhere."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import odd_files
import pytest
import soundfile
from signals import read

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "space" / "examples"
PATIENCE = 120_000  # [ms] of a busy machine


@pytest.fixture
def open_page(space: Any, browser: Any) -> Iterator[Callable[..., Any]]:
    """Function that opens the page. At the end it is made sure that it had no errors, and no host but this one."""
    contexts: list[Any] = []
    errors: list[str] = []
    hosts: set[str | None] = set()

    def note(message: Any) -> None:
        # Gradio's own picture of an upload can't be drawn if that is no audio.
        if message.type == "error" and "Waveform load error" not in message.text:
            errors.append(message.text)

    def open_it(width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).hostname))
        page.goto(space.url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not errors
    assert hosts - {None} == {"127.0.0.1"}  # none: data: and blob:


def upload(page: Any, path: Path, number: int = 0) -> None:
    page.locator("input[type=file]").nth(number).set_input_files(path)


def restore(page: Any) -> None:
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator(".player .play:visible").wait_for()


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_from_an_mp3_to_its_restored_files(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    upload(page, EXAMPLES / "canon_64kbps.mp3")
    page.get_by_text("MP3 · 64 kbps · 44.1 kHz · stereo · 10 s · cutoff at 1").wait_for()
    restore(page)
    degraded = read(EXAMPLES / "canon_64kbps.mp3")
    path = download(page, tmp_path)
    assert path.name == "canon_64kbps.restored.flac"
    restored = read(path)
    assert restored.shape == degraded.shape
    treble = np.fft.rfftfreq(degraded.shape[1], 1 / 44_100) > 13_000
    before, after = (np.square(np.abs(np.fft.rfft(audio)))[:, treble].sum() for audio in (degraded, restored))
    assert after > 100 * before
    page.get_by_role("radio", name="MP3").check()
    while path.suffix != ".mp3":  # until it is encoded, and no longer than this test may last
        page.wait_for_timeout(500)
        path = download(page, tmp_path)
    assert path.name == "canon_64kbps.restored.mp3"
    assert read(path).shape == degraded.shape


def test_the_slider_changes_the_result(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("button", name="Try the example").first.click()
    page.get_by_text("cutoff at").wait_for()
    restore(page)
    picture = page.locator("img[src*=spectra]")
    old = picture.get_attribute("src")
    complete = read(download(page, tmp_path))
    page.get_by_label("range slider for Detail").fill("0")
    page.get_by_role("button", name="Restore", exact=True).click()
    page.wait_for_function("old => document.querySelector('img[src*=spectra]')?.getAttribute('src') !== old", arg=old)
    picture.wait_for()
    faithful = read(download(page, tmp_path))
    assert np.abs(complete - faithful).max() > 0.001


def test_a_bad_file_gets_its_sentence(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    text = tmp_path / "notes.mp3"
    text.write_text("This is no audio. " * 100)
    upload(page, text)
    page.get_by_text("notes.mp3 is not an audio file").wait_for()
    assert page.get_by_role("button", name="Restore", exact=True).is_disabled()


def test_what_is_odd_is_said_above_the_result(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    upload(page, odd_files.damaged_mp3(tmp_path))
    page.get_by_text("MP3 · 128 kbps").wait_for()
    restore(page)
    page.get_by_text(re.compile(r"song\.mp3 has no audio at .* s are filled with silence\.")).wait_for()
    page.screenshot(path=tmp_path / "odd.png", full_page=True)
    page.get_by_role("button", name="Clear").or_(page.get_by_label("Clear")).first.click()
    page.get_by_role("button", name="Try the example").first.click()
    page.get_by_text("cutoff at 11.2").wait_for()
    restore(page)
    assert not page.get_by_text("filled with silence").count()


def test_cancelling_frees_the_page(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    long = tmp_path / "long.flac"
    soundfile.write(long, np.random.default_rng(0).uniform(-0.1, 0.1, (180 * 44_100, 2)), 44_100)
    upload(page, long)
    page.get_by_text("3:00 min").wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text(re.compile(r"\d+ s left")).wait_for()
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_text(re.compile(r"\d+ s left")).wait_for(state="detached")
    assert not page.locator(".player .play:visible").count()
    page.get_by_role("button", name="Clear").or_(page.get_by_label("Clear")).first.click()
    page.get_by_role("button", name="Try the example").first.click()
    page.get_by_text("cutoff at").wait_for()
    restore(page)


def test_closing_the_page_ends_its_work_and_takes_its_files(
    open_page: Callable[..., Any], space: Any, tmp_path: Path
) -> None:
    kept = {path for path in space.folder.rglob("*") if path.is_file()}
    for wait in (0, 3000):  # [ms] before its work begins, and within it
        page = open_page()
        song = tmp_path / f"closed after {wait}.flac"
        soundfile.write(song, np.random.default_rng(wait).uniform(-0.1, 0.1, (120 * 44_100, 2)), 44_100)
        upload(page, song)
        page.get_by_text("2:00 min").wait_for()
        page.get_by_role("button", name="Restore", exact=True).click()
        page.wait_for_timeout(wait)
        page.close()
    for _ in range(200):
        left = {path for path in space.folder.rglob("*") if path.is_file()} - kept
        if not left:
            return
        time.sleep(0.3)
    pytest.fail(f"left: {left}")


def test_degraded_and_restored_are_measured(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("tab", name="Degrade and restore").click()
    page.get_by_role("button", name="Try the example").last.click()
    page.get_by_role("button", name="Degrade and restore").click()
    page.locator(".player .play:visible").wait_for()
    page.get_by_text("Against the original").locator("visible=true").wait_for()
    text = page.locator("body").inner_text()
    rows = re.findall(r"(Input|Restored)\s+([\d.]+)\s+(-?[\d.]+)\s+([\d.]+)\s", text)
    figures = {name: [float(cell) for cell in cells] for name, *cells in rows}
    assert figures["Restored"][0] > figures["Input"][0] > 1  # ViSQOL
    assert figures["Restored"][2] < figures["Input"][2]  # log-spectral distance
    tracks = page.locator(".player .tracks:visible label").all_inner_texts()
    assert [track.split() for track in tracks] == [["1", "Input"], ["2", "Restored"], ["3", "Original"]]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(open_page: Callable[..., Any], tmp_path: Path, width: int, scheme: str) -> None:
    page = open_page(width, scheme)
    page.get_by_role("button", name="Try the example").first.click()
    page.get_by_text("cutoff at").wait_for()
    restore(page)
    player = page.locator(".player:visible")
    place = player.bounding_box()
    page.locator("img[src*=spectra]").wait_for()
    page.wait_for_timeout(500)
    assert player.bounding_box() == place  # the pictures don't move what somebody has begun to use
    above = page.get_by_role("button", name="Restore", exact=True).bounding_box()
    example = page.get_by_role("button", name="Try the example").first.bounding_box()
    assert place["y"] - max(box["y"] + box["height"] for box in (above, example)) < 32  # no gap
    assert all(tab.is_visible() for tab in page.get_by_role("tab").all())
    assert page.get_by_role("tab").count() == 3
    page.get_by_text("Blind test").first.click()
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)  # to be looked at, in pytest's folder
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_clip_goes_through_the_bottleneck_and_back(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("tab", name="Autoencoder").click()
    page.get_by_role("button", name="Try the example").last.click()
    page.get_by_role("button", name="Encode and decode").click()
    page.locator(".player .play:visible").wait_for()
    page.locator("img[src*=embedding]").wait_for()
    page.get_by_text("Against the original").locator("visible=true").wait_for()
    (kbps, visqol), *_ = re.findall(r"(\d+) kbps\s+([\d.]+)\s", page.locator("body").inner_text())
    assert 20 < int(kbps) < 64
    assert float(visqol) > 3
    page.screenshot(path=tmp_path / "autoencoder.png", full_page=True)
