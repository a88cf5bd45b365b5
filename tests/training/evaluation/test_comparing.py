"""What is said about a fine-tuned model, from figures that leave no doubt."""

from typing import Any

import pytest

from unlossy_training.evaluation.comparing import ALL, Comparison, evenly, verdict
from unlossy_training.publish.model_card import compared, harmed, lowered

METRICS = ("si_sdr_below_cutoff", "lsd", "sdr_mid", "sdr_side")


def row(codec: str, kbps: int, visqol: float, si_sdr: float) -> dict[str, Any]:
    rest = dict.fromkeys(METRICS, 1.0)
    versions = {version: {"visqol": visqol, "si_sdr": si_sdr, **rest} for version in ("detail 0", "detail 1")}
    return {
        "clip": "a",
        "codec": codec,
        "kbps": kbps,
        "figures": {"input": {"visqol": 3.0, "si_sdr": 20.0, **rest}, **versions},
    }


def rows(*changes: tuple[float, float]) -> list[dict[str, Any]]:
    """MP3 64, then Opus 32, then lossless."""
    padded = [*changes, (0.0, 0.0)]
    conditions = [("mp3", 64), ("opus", 32), ("lossless", 0)]
    return [row(*condition, 3 + v, 20 + s) for condition, (v, s) in zip(conditions, padded, strict=True)]


BEFORE = rows((0.0, 0.0), (0.0, 0.0))


def test_better_and_where_it_is_worse() -> None:
    own = Comparison("own", BEFORE, rows((0.3, 0.2), (-0.1, 0.1)))
    kept = Comparison("general", BEFORE, rows((-0.02, 0.0), (-0.02, 0.0)))
    text = verdict(own, kept)
    assert "is better: ViSQOL +0.10 at detail 1 (1 of 2 clips better), SI-SDR [dB] +0.15 at detail 0 (2 of 2" in text
    assert "It is worse at opus 32 (ViSQOL -0.10)." in text
    assert "lost no more than 0.05 of ViSQOL: ViSQOL -0.02" in text
    assert "lost more than 0.05" in verdict(own, Comparison("general", BEFORE, rows((-0.1, 0.0), (-0.1, 0.0))))
    assert "was not measured" in verdict(own, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [((0.001, 0.01), "is not better, keep"), ((0.2, -0.3), "better in one respect"), ((-0.2, 0.0), "is not better")],
)
def test_not_better(changes: tuple[float, float], words: str) -> None:
    assert words in verdict(Comparison("own", BEFORE, rows(changes, changes)), None)


def test_tables() -> None:
    own = Comparison("own recordings", BEFORE, rows((0.3, 0.2), (-0.1, 0.1)))
    whole = own.as_json(by_codec=True)
    assert [one["codec"] for one in whole["after"]] == ["mp3", "opus", "lossless", ALL]
    assert [one["codec"] for one in own.as_json(by_codec=False)["after"]] == [ALL]
    table = compared([whole])
    assert "| own recordings | opus 32 kbps | 1 | 3.00 → 2.90 (-0.10) | – | 20.00 → 20.10 (+0.10) |" in table
    assert "| own recordings | all codecs | 2 | 3.00 → 3.10 (+0.10) |" in table
    assert lowered(whole["after"][:3]) == ["opus 32 kbps: ViSQOL -0.10 at `detail 1`"]
    assert harmed(rows((-0.09, 0), (0, 0))) == {"count": 0, "of": 3, "by": 0.1, "metric": "ViSQOL"}
    assert harmed(rows((-0.2, 0), (0, 0)))["count"] == 1


def test_evenly() -> None:
    assert evenly(list(range(10)), 3) == [0, 3, 6]  # type: ignore[arg-type]
    assert evenly([1, 2], 3) == [1, 2]  # type: ignore[list-item]
