"""Random segments of pairs, the same whenever, wherever and by how many processes they are drawn.

A segment depends on the seed and on its index in the whole run, and on nothing else. So a position in the data is one
number, at which a run can resume, and two processes see what one process with twice the accumulation sees. Pairs that
can't be used are replaced by others, always by the same, and reported with the batch.

    pairs = load_pairs("pairs/", "train")
    for batch in batches(Segments(pairs, 66150, seed=0), batch_size=6, workers=1): ...
"""

import itertools
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets.exceptions import DatasetGenerationError
from torch.utils.data import DataLoader, Dataset

from .making import decode_pair

FILES = ("clean", "degraded")
COLUMNS = (*FILES, "level", "edge_hz")
SKIPPED_START = 4410  # [samples]: an encoder's first frames are not typical
MARGIN = 300  # [Hz] below the edge of an earlier codec, where it may have removed a little, too
ATTEMPTS = 20  # draws in a row that may fail before all pairs count as unusable
SHUFFLED_ROWS = 256  # rows of a stream that are shuffled in memory: about 100 MB of clips of four seconds
# Files of a stream that are read side by side. With ten, as `datasets` has it, files of 220 MB took 3.5 GB of memory.
MIXED_FILES = 3
ROWS_AHEAD = 32  # rows of a stream that are read ahead, while the network learns
REPLACEMENTS = 4  # rows of a stream that are tried, at least, before a segment counts as unusable

AnySegments = Any  # `Segments`, `StreamedSegments` or `CellSegments`: an item for each of its `keys`
Item = dict[str, Any]  # `input_values`, `labels`, `known_hz` and `failures`, or `failures` alone if no pair can be used
Batch = dict[str, Any]


def load_pairs(name: str, split: str, *, streaming: bool = False) -> "datasets.Dataset | datasets.IterableDataset":
    """Load the `COLUMNS` of a split that training needs, see [`load_split`]."""
    return load_split(name, split, streaming=streaming, needed=COLUMNS).select_columns(list(COLUMNS))


def load_split(
    name: str, split: str, *, streaming: bool = False, needed: Sequence[str] = FILES
) -> "datasets.Dataset | datasets.IterableDataset":
    """Load a split of pairs. Their audio stays encoded.

    Args:
        name (`str`): a folder made by `unlossy-train dataset`, another folder that `datasets` can load, or a Hub id.
        split (`str`): the name of the split.
        streaming (`bool`, defaults to `False`): read the rows one after another, without a local copy.
        needed: columns that the dataset must have.

    Raises:
        ValueError: there is no such dataset or split, it is empty, or it lacks a column.
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
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"the pairs {name} have no column {' and no column '.join(missing)}, only {', '.join(sorted(columns))}: "
            "make them with `unlossy-train dataset`"
        )
    if isinstance(pairs, datasets.Dataset):
        if not len(pairs):
            raise ValueError(f"the pairs {name} are empty (split {split!r})")
        for column in FILES:
            if isinstance(pairs.features[column], datasets.Audio):
                pairs = pairs.cast_column(column, datasets.Audio(decode=False))
    return pairs


def mix_pairs(
    pairs: "datasets.Dataset | datasets.IterableDataset",
    general: "datasets.Dataset | datasets.IterableDataset",
    share: float,
    seed: int,
) -> "datasets.Dataset | datasets.IterableDataset":
    """Mix two sets of pairs, and repeat the one that ends first.

    Args:
        share (`float`): share of the rows that come from `general`, between 0 and 1.
        seed (`int`): decides on the order.

    Raises:
        ValueError: the columns of the two sets have different types.
    """
    probabilities = [1 - share, share]
    return datasets.interleave_datasets([pairs, general], probabilities, seed, stopping_strategy="all_exhausted")


def read_pair(row: dict[str, Any]) -> np.ndarray:
    """Decode the degraded and the clean side of a row: float32 of shape `(2, channels, samples)`, mono or stereo.

    Raises:
        ValueError: a file can't be read or decoded, see [`decode_pair`], or is neither mono nor stereo.
    """
    files = {column: row.get(column) for column in FILES}
    for column, file in files.items():
        if file and file["bytes"] is None and file["path"]:  # a dataset that refers to files beside it
            try:
                files[column] = file | {"bytes": Path(file["path"]).read_bytes()}
            except OSError as error:
                raise ValueError(f"{file['path']} can't be read: {error.strerror}") from error
    pair = np.stack(decode_pair(row | files))
    if pair.shape[1] > 2:
        assert files["degraded"]
        raise ValueError(f"the pair {files['degraded']['path']} has {pair.shape[1]} channels; 1 or 2 are needed")
    return pair


def cut_segment(pair: np.ndarray, length: int, random: np.random.Generator) -> np.ndarray:
    """Cut a random segment, and draw whether its channels are swapped, its polarity, and its level.

    Args:
        pair (`np.ndarray` of shape `(2, channels, samples)`): the degraded and the clean side.
        length (`int`): length of the segment [samples].

    Returns:
        `np.ndarray` of shape `(2, 2, length)`: float32, stereo, filled up with zeros where the pair is too short.
    """
    if pair.shape[1] == 1:
        pair = np.repeat(pair, 2, axis=1)
    start = int(random.integers(SKIPPED_START, max(pair.shape[2] - length, SKIPPED_START + 1)))
    pair = pair[..., start : start + length]
    pair = np.pad(pair, ((0, 0), (0, 0), (0, length - pair.shape[2])))
    pair = pair[:, :: random.choice([-1, 1])] * random.choice([-1, 1]) * 10 ** (random.uniform(-18, 3) / 20)
    return np.ascontiguousarray(pair, dtype=np.float32)


def known_up_to(row: dict[str, Any]) -> float:
    """The frequency up to which the clean side of a row can be learned from [Hz]: just below the edge of an earlier
    codec, or infinity."""
    return float("inf") if row["edge_hz"] is None else row["edge_hz"] - MARGIN


class _SegmentSource(Dataset):
    """What segments of datasets and of streams have in common.

    Args:
        pairs: the dataset, from [`load_pairs`].
        length (`int`): length of a segment [samples].
        seed (`int`): decides which segments are drawn.
        degraded (`float`, defaults to 1.0): share of the segments whose input is the degraded side. The input of the
            others is the clean side, as an autoencoder needs it.
    """

    def __init__(self, pairs: Any, length: int, seed: int, *, degraded: float = 1.0):
        self.pairs, self.length, self.seed, self.degraded = pairs, length, seed, degraded

    def _first_usable(self, rows: Iterable[dict[str, Any]], random: np.random.Generator) -> Item:
        """Cut a segment from the first row that can be decoded.

        Returns:
            `dict`: `input_values` and `labels`, float32 of shape `(2, length)`; `known_hz`, the frequency up to which
                `labels` can be learned from [Hz]; and `failures`, why other rows could not be used. Only the latter if
                no row can be used.
        """
        failures: list[str] = []
        for row in rows:
            try:
                pair = read_pair(row)
            except ValueError as error:
                failures.append(str(error))
                continue
            degraded, clean = torch.from_numpy(cut_segment(pair, self.length, random))
            given = degraded if random.random() < self.degraded else clean
            return {"input_values": given, "labels": clean, "known_hz": known_up_to(row), "failures": failures}
        return {"failures": failures}


class Segments(_SegmentSource):
    """Segments of pairs that are drawn at random, with replacement. For the arguments see [`_SegmentSource`]."""

    def __getitem__(self, index: int) -> Item:
        random = np.random.default_rng((self.seed, index))
        return self._first_usable((self.pairs[int(random.integers(len(self.pairs)))] for _ in range(ATTEMPTS)), random)

    def keys(self, start: int, batch_size: int, process: int = 0, processes: int = 1) -> Iterator[list[int]]:
        """The indices of each batch of a process, without end.

        Args:
            start (`int`): index of the first segment of the first process, counted over the whole run.
            batch_size (`int`): number of segments in a batch.
        """
        for first in itertools.count(start + process * batch_size, processes * batch_size):
            yield list(range(first, first + batch_size))


class StreamedSegments(_SegmentSource):
    """Segments of pairs that can only be read one after another, in an order that is shuffled anew in each epoch.

    In each process, one thread reads all rows, and worker processes decode those that the process needs. So the
    segments are the same whatever the number of workers and processes. A run that resumes reads the rows before its
    position, but does not decode them.

    Attributes:
        epoch_rows (`int`, *optional*): number of rows in an epoch, known once the first one has ended. A run that
            resumes then skips whole epochs without reading them.
    """

    epoch_rows: int | None = None

    def __getitem__(self, key: tuple[int, list[dict[str, Any]]]) -> Item:
        index, rows = key
        return self._first_usable(rows, np.random.default_rng((self.seed, index)))

    def keys(
        self, start: int, batch_size: int, process: int = 0, processes: int = 1
    ) -> Iterator[list[tuple[int, list[dict[str, Any]]]]]:
        """The keys of each batch of a process, without end, see [`Segments.keys`]. A key is the index of a segment and
        its row, followed by rows that replace it if it can't be used."""
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
        """Read the rows from a position on, epoch after epoch, without end.

        Raises:
            ValueError: the dataset is empty.
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
    """Read up to `count` items ahead in a thread, and pass them on in the same order."""
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
    """Make a batch of items: `input_values` and `labels` of shape `(B, 2, length)`, or cells; `known_hz` of shape
    `(B,)`; and all `failures`. If an item has no usable pair, return the failures only."""
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
    """Batches without end, see [`collate`]. Process `p` of `P` gets every `P`-th batch, from the `p`-th on.

    Args:
        segments: where the items come from.
        batch_size (`int`): number of segments in a batch.
        start (`int`, defaults to 0): index of the first segment of the first process, counted over the whole run.
        workers (`int`, defaults to 0): number of processes that decode. With 0 this one does.
        process, processes (`int`, default to 0 and 1): the index of this process, and their number.

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
    """Ignore SIGINT and SIGTERM, which reach the whole process group. The parent still needs its workers then, to end
    its step and save."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
