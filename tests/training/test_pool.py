"""Parallel jobs and their journal."""

from pathlib import Path

import pytest
import torch

from unlossy_training.pool import Journal, run


def double(number: int) -> int:
    if number == 13:
        raise ValueError("13 is unlucky")
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_errors(workers: int) -> None:
    assert sorted(run(double, range(5), workers, "numbers")) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="unlucky"):
        list(run(double, range(20), workers, "numbers"))


def total(number: int) -> float:
    return torch.full((1_000_000,), number).exp().log().mean().item()


def test_workers_compute_after_their_parent_has() -> None:
    """A fork of a process with threads of its own would otherwise wait for them forever."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = [total(number) for number in range(1, 5)]
        assert sorted(run(total, range(1, 5), 2, "numbers")) == pytest.approx(alone)
    finally:
        torch.set_num_threads(threads)


def test_journal_forgets_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    journal = Journal(path)
    journal.add({"number": 3, "file": "c"})
    journal.add({"number": 1, "file": "a"})
    with path.open("a") as file:
        file.write('{"number": 2, "fi')
    again = Journal(path)
    assert list(again.rows) == [3, 1]
    again.add({"number": 2, "file": "b"})
    assert Journal(path).rows[2] == {"number": 2, "file": "b"}
