"""Random segments of pairs, the same whenever, wherever and by how many processes they are drawn.

What a segment holds depends on the seed and on its index in the whole run alone. So a position in the data is one
number, a run resumes at it without going through what came before, and two processes see what one process with twice
the accumulation sees. Pairs that can't be used are replaced, deterministically, and reported with the batch.

    pairs = load_pairs("pairs/", "train")
    for batch in batches(Segments(pairs, 66150, seed=0), batch_size=6, workers=1): ...
"""

import itertools
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets.exceptions import DatasetGenerationError
from torch.utils.data import DataLoader, Dataset

from unlossy.codecs import SAMPLING_RATE
from unlossy.inspection import measure_cutoff

from .making import decode_pair

COLUMNS = ("clean", "degraded")
# An encoder's first frames are not typical.
SKIPPED_START = 4410  # [samples]
# A codec at a bitrate that is good enough leaves no lower edge than that; it takes a little below its edge, too [Hz].
LOWEST_EDGE, MARGIN = 12_500, 300
ATTEMPTS = 20  # draws before all pairs count as unusable
SHUFFLED_ROWS = 256  # held in memory to shuffle a stream: about 100 MB of clips of four seconds
# Files of a stream that are mixed. With ten, the default of `datasets`, files of 220 MB took 3.5 GB of memory.
MIXED_FILES = 3
ROWS_AHEAD = 32  # of a stream, read while the network learns
REPLACEMENTS = 4  # rows of a stream that a row and those that can stand in for it make up at least

AnySegments = Any  # `Segments`, `StreamedSegments` or `CellSegments`: an item for each of its `keys`
Item = dict[str, Any]  # `input_values`, `labels`, `known_hz` and `failures`, or `failures` alone if no pair can be used
Batch = dict[str, Any]


def load_pairs(name: str, split: str, *, streaming: bool = False) -> "datasets.Dataset | datasets.IterableDataset":
    """The columns `clean` and `degraded` of [`load_split`]."""
    return load_split(name, split, streaming=streaming).select_columns(list(COLUMNS))


def load_split(name: str, split: str, *, streaming: bool = False) -> "datasets.Dataset | datasets.IterableDataset":
    """A split of pairs, their audio still encoded.

    Args:
        name (`str`): folder made by `unlossy-train dataset`, any other folder that `datasets` loads, or Hub id.

    Raises:
        ValueError: there is no such dataset or split, or it has no column `clean` or `degraded`.
    """
    folder = Path(name)
    try:
        if any(folder.glob("*.parquet")):
            files = sorted(str(path) for path in folder.glob(f"{split}-*.parquet"))
            if not files:
                raise ValueError(f"there is no {split}-*.parquet in it")
            pairs = datasets.load_dataset("parquet", data_files=files, split="train", streaming=streaming)
        elif (folder / "dataset_dict.json").exists():  # from `DatasetDict.save_to_disk`
            pairs = datasets.load_from_disk(name)[split]
            pairs = pairs.to_iterable_dataset() if streaming else pairs
        else:
            pairs = datasets.load_dataset(name, split=split, streaming=streaming)
    except (OSError, ValueError, KeyError, DatasetGenerationError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the pairs {name} can't be loaded (split {split!r}): {reason}") from error
    if isinstance(pairs, datasets.IterableDataset):
        pairs = pairs.decode(False) if pairs.features else pairs
        columns = pairs.column_names or list(next(iter(pairs)))
    else:
        columns = pairs.column_names
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise ValueError(f"the pairs {name} have no column {' and no column '.join(missing)}, only {sorted(columns)}")
    if isinstance(pairs, datasets.Dataset):
        if not len(pairs):
            raise ValueError(f"the pairs {name} are empty (split {split!r})")
        for column in COLUMNS:
            if isinstance(pairs.features[column], datasets.Audio):
                pairs = pairs.cast_column(column, datasets.Audio(decode=False))
    return pairs


def mix_pairs(
    pairs: "datasets.Dataset | datasets.IterableDataset",
    general: "datasets.Dataset | datasets.IterableDataset",
    share: float,
    seed: int,
) -> "datasets.Dataset | datasets.IterableDataset":
    """Pairs of which a share comes from a second set, of the same kind; the smaller set is repeated.

    Raises:
        ValueError: their columns don't have the same types.
    """
    probabilities = [1 - share, share]
    return datasets.interleave_datasets([pairs, general], probabilities, seed, stopping_strategy="all_exhausted")


def read_pair(row: dict[str, Any]) -> np.ndarray:
    """Degraded and clean audio of a row: `np.ndarray` of shape `(2, channels, samples)`, mono or stereo.

    Raises:
        ValueError: see [`decode_pair`]; or neither mono nor stereo.
    """
    files = {column: row.get(column) for column in COLUMNS}
    for column, file in files.items():
        if file and file["bytes"] is None and file["path"]:  # a dataset that refers to files beside it
            try:
                files[column] = file | {"bytes": Path(file["path"]).read_bytes()}
            except OSError as error:
                raise ValueError(f"{file['path']} can't be read: {error.strerror}") from error
    pair = np.stack(decode_pair({column: file for column, file in files.items() if file}))
    if pair.shape[1] > 2:
        assert files["degraded"]
        raise ValueError(f"the pair {files['degraded']['path']} has {pair.shape[1]} channels; 1 or 2 are needed")
    return pair


def cut_segment(pair: np.ndarray, length: int, random: np.random.Generator) -> np.ndarray:
    """A random segment of `(2, channels, samples)`, always stereo, channels swapped, sign and level drawn anew.

    Returns:
        float32 of shape `(2, 2, length)`, zeros where the pair is too short.
    """
    if pair.shape[1] == 1:
        pair = np.repeat(pair, 2, axis=1)
    start = int(random.integers(SKIPPED_START, max(pair.shape[2] - length, SKIPPED_START + 1)))
    pair = pair[..., start : start + length]
    pair = np.pad(pair, ((0, 0), (0, 0), (0, length - pair.shape[2])))
    pair = pair[:, :: random.choice([-1, 1])] * random.choice([-1, 1]) * 10 ** (random.uniform(-18, 3) / 20)
    return np.ascontiguousarray(pair, dtype=np.float32)


def known_up_to(clean: np.ndarray) -> float:
    """Up to where a clean side `(channels, samples)` tells what its original was [Hz]: to the edge that a codec left
    before, or everywhere (infinity). Where a spectrum ends further down, so did the original."""
    edge = measure_cutoff(clean, SAMPLING_RATE)
    return float("inf") if edge is None or edge < LOWEST_EDGE else edge - MARGIN


class _SegmentSource(Dataset):
    """What both kinds have in common.

    Args:
        length (`int`): of a segment [samples].
        degraded (`float`, defaults to 1.0): share of the segments whose degraded side goes in. Into the others goes the
            clean one, as is a compressor's task.
    """

    def __init__(self, pairs: Any, length: int, seed: int, *, degraded: float = 1.0):
        self.pairs, self.length, self.seed, self.degraded = pairs, length, seed, degraded

    def _first_usable(self, rows: Iterable[dict[str, Any]], random: np.random.Generator) -> Item:
        """`input_values` and `labels`, float32 of shape `(2, length)`, of the first row that can be decoded, and up to
        where `labels` are to be believed (`known_hz`)."""
        failures: list[str] = []
        for row in rows:
            try:
                pair = read_pair(row)
            except ValueError as error:
                failures.append(str(error))
                continue
            degraded, clean = torch.from_numpy(cut_segment(pair, self.length, random))
            given = degraded if random.random() < self.degraded else clean
            known_hz = known_up_to(clean.numpy())
            return {"input_values": given, "labels": clean, "known_hz": known_hz, "failures": failures}
        return {"failures": failures}


class Segments(_SegmentSource):
    """Segments of pairs drawn at random, with replacement."""

    def __getitem__(self, index: int) -> Item:
        random = np.random.default_rng((self.seed, index))
        return self._first_usable((self.pairs[int(random.integers(len(self.pairs)))] for _ in range(ATTEMPTS)), random)

    def keys(self, start: int, batch_size: int, process: int = 0, processes: int = 1) -> Iterator[list[int]]:
        """The indices of each batch of a process, from a position in the whole run on."""
        for first in itertools.count(start + process * batch_size, processes * batch_size):
            yield list(range(first, first + batch_size))


class StreamedSegments(_SegmentSource):
    """Segments of pairs that can only be read one after another, in an order shuffled anew in each epoch.

    One thread of each process reads all rows, and worker processes decode those that are its own. So the segments are
    the same whatever the number of workers and processes; rows before a position are read, but not decoded.

    Attributes:
        epoch_rows (`int`, *optional*): rows of an epoch, known when the first has ended. Whole epochs before a position
            then need no reading.
    """

    epoch_rows: int | None = None

    def __getitem__(self, key: tuple[int, list[dict[str, Any]]]) -> Item:
        index, rows = key
        return self._first_usable(rows, np.random.default_rng((self.seed, index)))

    def keys(
        self, start: int, batch_size: int, process: int = 0, processes: int = 1
    ) -> Iterator[list[tuple[int, list[dict[str, Any]]]]]:
        """The rows of each batch of a process, each with its index and followed by those that can stand in for it."""
        rows = _ahead(self._rows(start), ROWS_AHEAD)
        window = deque(itertools.islice(rows, max(batch_size, REPLACEMENTS)))
        for number, first in enumerate(itertools.count(start, batch_size)):
            if number % processes == process:
                kept = list(window)
                yield [(first + i, kept[i:] + kept[:i]) for i in range(batch_size)]
            for _ in range(batch_size):
                window.popleft()
                window.append(next(rows))

    def _rows(self, start: int) -> Iterator[dict[str, Any]]:
        """Rows from a position on, epoch after epoch.

        Raises:
            ValueError: there are none.
        """
        shuffled = self.pairs.shuffle(seed=self.seed, buffer_size=SHUFFLED_ROWS, max_buffer_input_shards=MIXED_FILES)
        epoch, skipped = divmod(start, self.epoch_rows) if self.epoch_rows else (0, start)
        for number in itertools.count(epoch):
            shuffled.set_epoch(number)
            count = 0
            for count, row in enumerate(shuffled, start=1):
                if count > skipped:
                    yield row
            if not count:
                raise ValueError("the pairs are empty (split 'train')")
            self.epoch_rows, skipped = count, max(skipped - count, 0)


def _ahead(items: Iterator[Any], count: int) -> Iterator[Any]:
    """The same items, read by a thread while what came before is worked on."""
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(count)
    closed = threading.Event()

    def put(entry: tuple[Any, BaseException | None]) -> None:
        while not closed.is_set():
            try:
                return waiting.put(entry, timeout=0.2)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                put((item, None))
                if closed.is_set():
                    return
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            yield item
    finally:
        closed.set()
        thread.join(timeout=5)


def collate(items: list[Item]) -> Batch:
    """What items hold, stacked: `input_values` and `labels` of shape `(B, 2, length)`, or cells, and `known_hz` of
    shape `(B,)`; and all `failures`. Without an usable pair only these."""
    failures = [reason for item in items for reason in item["failures"]]
    if not all("known_hz" in item for item in items):
        return {"failures": failures}
    names = [name for name in items[0] if name != "failures"]
    return {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in names} | {
        "failures": failures
    }


def batches(
    segments: AnySegments,
    batch_size: int,
    *,
    start: int = 0,
    workers: int = 0,
    process: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """Batches without end, see [`collate`]; process `p` of `P` gets every `P`-th, from the `p`-th on.

    Args:
        start (`int`): index of the first segment of the first process, as counted over the whole run.
        workers (`int`): processes that decode; with 0 this one does.

    Raises:
        ValueError: no pair can be used.
    """
    loader = DataLoader(
        segments,
        batch_sampler=segments.keys(start, batch_size, process, processes),  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent,
    )
    for batch in loader:
        if "known_hz" not in batch:
            reasons = batch["failures"]
            raise ValueError(f"{len(reasons)} pairs in a row can't be used; the first: {reasons[0]}")
        yield batch


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group: the parent ends its step and saves, for which it needs its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
