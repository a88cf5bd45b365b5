"""The player in a real browser: every version at the same sample, switched by gains; and the blind test."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Every sound that starts, and every gain that is set, is written down.
SPY = """
window.starts = []; window.ramps = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...given) {
  window.starts.push([...given, this.buffer.length, this.buffer.sampleRate]);
  return start.apply(this, given);
};
const ramp = AudioParam.prototype.linearRampToValueAtTime;
AudioParam.prototype.linearRampToValueAtTime = function (...given) {
  window.ramps.push(given);
  return ramp.apply(this, given);
};
"""


@pytest.fixture(scope="module")
def page(space: Any, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(SPY)
    page.goto(space.url)
    page.get_by_role("button", name="Try the example").first.click()
    page.get_by_text("cutoff at").wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator(".player .play:visible").wait_for()
    yield page
    page.close()
    assert not errors


def position(page: Any) -> float:
    return float(page.locator(".player .seek:visible").input_value())


def test_a_blind_test_outlasts_the_arrival_of_the_pictures(page: Any) -> None:
    page.get_by_text("Blind test").locator("visible=true").click()
    page.get_by_role("button", name="Start", exact=True).locator("visible=true").click()
    page.locator("img[src*=spectra]").wait_for()
    page.wait_for_timeout(1000)  # in which a player that loads again would be done with that
    assert page.locator(".player .score").first.inner_text() == "Round 1 of 10"
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()
    page.get_by_text("Blind test").locator("visible=true").click()  # closes it


def test_all_versions_start_together(page: Any) -> None:
    page.evaluate("window.starts = []")
    page.locator(".player .play:visible").click()
    first, second = page.evaluate("window.starts")
    assert first == second  # time, position, length and rate
    assert first[2:] == [441_000, 44_100]
    page.wait_for_timeout(500)
    assert position(page) > 10  # it moves


def test_switching_moves_nothing_and_silences_the_other(page: Any) -> None:
    page.evaluate("window.starts = []; window.ramps = []")
    page.get_by_role("radio", name="After").focus()
    page.keyboard.press("1")
    assert page.get_by_role("radio", name="Before").is_checked()
    page.keyboard.press("2")
    assert page.get_by_role("radio", name="After").is_checked()
    assert page.evaluate("window.starts") == []
    (before, _), (after, _), (silent, _), (loud, _) = page.evaluate("window.ramps")
    assert after == silent == 0
    assert before > 0.5
    assert loud > 0.5
    note = page.locator(".player .note").first.inner_text()
    assert re.fullmatch(r"All are equally loud\.|Played equally loud, with (Before|After) at −\d+\.\d dB", note)


def test_it_is_played_from_the_keyboard(page: Any) -> None:
    page.get_by_role("radio", name="After").focus()
    page.keyboard.press(" ")  # pauses
    assert page.locator(".player .play:visible").get_attribute("aria-label") == "Play"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "seek"
    page.keyboard.press("End")
    assert position(page) > 990
    page.keyboard.press("Home")
    assert position(page) == 0


def test_the_blind_test_runs_through(page: Any) -> None:
    page.get_by_text("Blind test").locator("visible=true").first.click()
    page.get_by_role("button", name="Start", exact=True).locator("visible=true").first.click()
    for number in range(1, 11):
        page.get_by_text(f"Round {number} of 10").locator("visible=true").wait_for()
        for name in ("A", "B", "X"):
            page.get_by_role("radio", name=name, exact=True).locator("visible=true").check(force=True)
        page.get_by_role("button", name=f"X is {'AB'[number % 2]}").locator("visible=true").click()
    score = page.locator(".player .score").first.inner_text()
    match = re.fullmatch(r"(\d+) of 10 right\. Guessing gets that many or more in ([\d.]+) % of tests\.", score)
    assert match, score
    right = int(match[1])
    probability = sum(math.comb(10, k) for k in range(right, 11)) / 2**10
    assert float(match[2]) == pytest.approx(100 * probability, abs=0.05)
    assert page.get_by_role("button", name="Start", exact=True).locator("visible=true").count() == 1
