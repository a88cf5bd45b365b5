"""Segments: the same whenever they are drawn, and whatever is wrong with some pairs."""

import itertools
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from signals import RATE

from unlossy_training.pairs.dataset import FEATURES
from unlossy_training.pairs.segments import (
    COLUMNS,
    Segments,
    StreamedSegments,
    batches,
    known_up_to,
    load_pairs,
    mix_pairs,
    read_pair,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s an epoch of a stream


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return list(load_pairs(str(folder), "train"))


def take(segments: Any, count: int, batch_size: int = 2, **options: Any) -> list[dict[str, Any]]:
    return list(itertools.islice(batches(segments, batch_size, **options), count))


def test_segments_depend_on_seed_and_index_alone(tiny_pairs: Path) -> None:
    pairs = load_pairs(str(tiny_pairs), "train")
    first, second, other = (Segments(pairs, 10_000, seed) for seed in (3, 3, 4))
    for name in ("input_values", "labels"):
        assert first[7][name].shape == (2, 10_000)
        assert torch.equal(first[7][name], second[7][name])
        assert not torch.equal(first[7][name], other[7][name])
    segment = Segments(pairs, 10_000, 3, degraded=0.0)[7]
    assert torch.equal(segment["input_values"], segment["labels"])


@pytest.mark.parametrize("kind", [Segments, StreamedSegments])
def test_position_workers_and_processes(kind: Any, tiny_pairs: Path) -> None:
    """Three epochs of eight rows."""
    pairs = load_pairs(str(tiny_pairs), "train", streaming=kind is StreamedSegments)
    whole = take(kind(pairs, 3000, seed=1), 12)
    late = take(kind(pairs, 3000, seed=1), 3, start=18)
    with_workers = take(kind(pairs, 3000, seed=1), 12, workers=2)
    halves = [take(kind(pairs, 3000, seed=1), 6, process=process, processes=2) for process in (0, 1)]
    for number, batch in enumerate(whole):
        assert torch.equal(batch["labels"], with_workers[number]["labels"])
        assert torch.equal(batch["labels"], halves[number % 2][number // 2]["labels"])
    for batch, again in zip(whole[9:], late, strict=True):
        assert torch.equal(batch["input_values"], again["input_values"])
    assert not torch.equal(whole[0]["labels"], whole[1]["labels"])


def test_stream_skips_epochs(tiny_pairs: Path) -> None:
    """Whole epochs before a position are not read."""
    pairs = load_pairs(str(tiny_pairs), "train", streaming=True)
    segments = StreamedSegments(pairs, 3000, seed=1)
    whole = take(segments, 12)
    assert segments.epoch_rows == 8
    again = StreamedSegments(pairs, 3000, seed=1)
    again.epoch_rows = 8
    assert torch.equal(take(again, 1, start=20)[0]["labels"], whole[10]["labels"])


@pytest.mark.parametrize("streaming", [False, True])
def test_unusable_pairs(streaming: bool, tiny_pairs: Path) -> None:
    """They are replaced and named."""
    rows = rows_of(tiny_pairs)
    rows[2]["degraded"] = {"bytes": b"junk", "path": "broken.mp3"}
    rows[5]["clean"] = None
    damaged = datasets.Dataset.from_list(rows)
    pairs: Any = damaged.to_iterable_dataset() if streaming else damaged
    kind: Any = StreamedSegments if streaming else Segments
    drawn = take(kind(pairs, 3000, seed=0), 8)
    failures = [reason for batch in drawn for reason in batch["failures"]]
    assert any("broken.mp3 is damaged" in reason for reason in failures)
    assert any("no clean" in reason for reason in failures)
    assert all(batch["labels"].shape == (2, 2, 3000) for batch in drawn)
    again = take(kind(pairs, 3000, seed=0), 2, start=12)
    assert torch.equal(again[1]["labels"], drawn[7]["labels"])


def test_nothing_usable_is_an_error(tiny_pairs: Path) -> None:
    rows = rows_of(tiny_pairs)[:1]
    rows[0]["degraded"] = {"bytes": b"junk", "path": "broken.mp3"}
    pairs = datasets.Dataset.from_list(rows)
    for segments in (Segments(pairs, 3000, 0), StreamedSegments(pairs.to_iterable_dataset(), 3000, 0)):
        with pytest.raises(ValueError, match=r"can't be used; the first: the pair broken\.mp3 is damaged"):
            take(segments, 1)


def test_segments_longer_than_a_clip_are_padded(tiny_pairs: Path) -> None:
    segment = Segments(load_pairs(str(tiny_pairs), "train"), 2 * RATE, seed=0)[0]
    assert segment["labels"].shape == (2, 2 * RATE)
    assert not segment["labels"][:, RATE:].any()


def test_other_layouts_of_datasets_load(tiny_pairs: Path, tmp_path: Path) -> None:
    rows = rows_of(tiny_pairs)
    first = read_pair(rows[0])
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "saved")
    nested = tmp_path / "nested" / "data"
    nested.mkdir(parents=True)
    features = datasets.Features({name: datasets.Audio() for name in ("clean", "degraded")})
    plain = datasets.Dataset.from_list(rows, features=datasets.Features({n: FEATURES[n] for n in COLUMNS}))
    plain.cast(datasets.Features({**plain.features, **features})).to_parquet(nested / "train-00000-of-00001.parquet")
    for folder in (tmp_path / "saved", tmp_path / "nested"):
        for streaming in (False, True):
            row = next(iter(load_pairs(str(folder), "train", streaming=streaming)))
            assert np.array_equal(read_pair(row), first)


def test_what_is_wrong_with_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path / 'none'} can't be loaded"):
        load_pairs(str(tmp_path / "none"), "train")
    datasets.Dataset.from_dict({"clean": ["a"]}).to_parquet(tmp_path / "train-00000.parquet")
    for streaming in (False, True):
        with pytest.raises(ValueError, match="have no column degraded and no column level and no column edge_hz"):
            load_pairs(str(tmp_path), "train", streaming=streaming)
    with pytest.raises(ValueError, match=r"no validation-\*\.parquet"):
        load_pairs(str(tmp_path), "validation")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_share_comes_from_general_pairs(streaming: bool, tiny_pairs: Path) -> None:
    pairs = load_pairs(str(tiny_pairs), "train")
    own, general = (pairs.select([row] * count) for row, count in ((0, 1500), (1, 20)))
    if streaming:
        own, general = own.to_iterable_dataset(), general.to_iterable_dataset()
    drawn = [row["clean"]["path"] for row in itertools.islice(mix_pairs(own, general, 0.25, seed=0), 1500)]
    assert set(drawn) == {pairs[row]["clean"]["path"] for row in (0, 1)}
    assert np.mean([path == pairs[1]["clean"]["path"] for path in drawn]) == pytest.approx(0.25, abs=0.04)


def test_labels_are_known_up_to_an_edge(tiny_pairs: Path) -> None:
    """Above the edge of an earlier codec nothing is learned."""
    rows = rows_of(tiny_pairs)
    assert known_up_to(rows[0]) == float("inf")
    assert known_up_to(rows[0] | {"edge_hz": 16_000.0}) == 15_700
    pairs = datasets.Dataset.from_list([rows[0] | {"edge_hz": 16_000.0}])
    (batch,) = take(Segments(pairs, 10_000, seed=0), 1, batch_size=3)
    assert batch["known_hz"].tolist() == [15_700] * 3
