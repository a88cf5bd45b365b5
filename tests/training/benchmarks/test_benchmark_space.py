"""Several people at once get their own results; how fast is for a quiet machine to say, not for a test."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("gradio_client")
from unlossy_training.benchmarks import space


@pytest.mark.slow
def test_nobody_gets_another_s_result(tmp_path: Path, unused_port: int) -> None:
    output = tmp_path / "figures.json"
    space.main(["--people", "3", "--seconds", "1", "--port", str(unused_port), "--output", str(output)])
    figures = json.loads(output.read_text())
    assert figures["wrong"] == 0
    assert figures["results"] >= 3
    assert all(figures[name] > 0 for name in ("page_seconds", "first_seconds", "memory_before", "memory_after"))


def test_mistakes_are_named(refusal: Callable[..., str]) -> None:
    assert "'1' is not a whole number from 2 up" in refusal("benchmark-space", "--people", "1")
