"""Pairs of clean and degraded audio as a `datasets` dataset.

    unlossy-train dataset --clips clips/ --output pairs/
    unlossy-train dataset --output pairs/ --push-to-hub me/pairs --private  # or both at once
    datasets.load_dataset("pairs/")  # splits "train" and "validation"

The clean side is stored losslessly. The degraded side is stored as the compressed file itself, which is small, and
decoded when it is loaded (`unlossy_training.pairs.making.decode_pair`). What is slow to compute is computed here, once:
the encoding, and what is measured of each pair. In some pairs both sides are the same, so that a model learns to leave
good audio alone.

A dataset is complete or not there: it is written to `pairs.unfinished`, which is renamed when everything is in it. Only
the clips and the seed decide what it contains, apart from the serial numbers of Ogg files.
"""

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Audio, Dataset, Features, Value
from datasets.utils.logging import disable_progress_bar
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from unlossy_cli import entry

from ..corpus.recordings import UnusableError
from ..files import whole_folder
from ..pool import run
from .dataset_card import write_card
from .making import make_pair

FILE = {"bytes": Value("binary"), "path": Value("string")}
FEATURES = Features(
    {
        "clean": FILE,
        "degraded": FILE,
        "codec": Value("string"),  # "mp3", "aac", "vorbis", "opus", or "identity"
        "bitrate_kbps": Value("int32"),  # the nominal bitrate, or the file's mean where it has none; 0 for identity
        "mode": Value("string"),  # see `Recipe.mode`
        "offset_samples": Value("int32"),  # measured lag of the decoded degraded side
        "cutoff_hz": Value("float32"),  # measured end of the degraded side's spectrum; null if it is full
        "level": Value("float32"),  # measured factor of the codec on the whole signal, see `making.level`
        "edge_hz": Value("float32"),  # measured edge of an earlier codec in the clean side; null if there was none
        "genre": Value("string"),
        "title": Value("string"),
        "source": Value("string"),
        "license": Value("string"),
        "split": Value("string"),
    }
)
SPLITS = ("train", "validation", "test")
CLIP_COLUMNS = ("file", "source", "title", "license", "split")  # needed; genre and attribution are used if given
SHARD_ROWS = 500
VARIATIONS = (
    "make N more training pairs of each clip, at other speeds and through equalisers and low-passes (default 0)"
)


def read_clips(folder: Path) -> list[dict[str, str]]:
    """Read the rows of a folder's clips.csv.

    Raises:
        ValueError: there is no such file, it is empty, or it lacks a column or a value.
    """
    table = folder / "clips.csv"
    if not table.exists():
        raise ValueError(
            f"there is no clips.csv in {folder}: make the clips, or go on with them, with `unlossy-train corpus`"
        )
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{table} lists no clips")
    for number, row in enumerate(rows, start=2):
        missing = [name for name in CLIP_COLUMNS if not row.get(name)]
        if missing:
            raise ValueError(f"{table}, line {number}, has no {', '.join(missing)}")
        if row["split"] not in SPLITS:
            raise ValueError(f"{table}, line {number}: the split is {', '.join(SPLITS)}, not {row['split']!r}")
    return rows


def vary_clips(clips: Sequence[dict[str, str]], variations: int) -> list[dict[str, str]]:
    """Add rows for variations of each clip in the training split, see [`make_pair`].

    Args:
        clips: rows of clips.csv.
        variations (`int`): number of variations of each clip.

    Raises:
        ValueError: `variations` is below 0.
    """
    if variations < 0:
        raise ValueError(f"variations must be 0 or more, got {variations}")
    varied = [
        clip | {"variation": str(number)}
        for number in range(1, variations + 1)
        for clip in clips
        if clip["split"] == "train" and not clip.get("degraded")
    ]
    return [*clips, *varied]


def try_pair(clip: dict[str, str], folder: Path, seed: int) -> dict[str, Any] | UnusableError:
    """Like [`make_pair`], but return the reason why a clip can't be used instead of raising it."""
    try:
        return make_pair(clip, folder, seed)
    except UnusableError as error:
        return error


def refuse_duplicates(pairs: Iterable[dict[str, Any] | UnusableError]) -> Iterator[dict[str, Any] | UnusableError]:
    """Replace each pair whose clean samples an earlier pair has, too, by an error that says so."""
    seen: dict[str, str] = {}
    for pair in pairs:
        if isinstance(pair, dict):
            name = pair["clean"]["path"]
            fingerprint = pair.pop("fingerprint")
            if fingerprint in seen:
                pair = UnusableError("duplicate", f"{name} has the samples of {seen[fingerprint]}")
            seen.setdefault(fingerprint, name)
        yield pair


def write_shards(pairs: Iterable[dict[str, Any]], folder: Path) -> None:
    """Write rows into Parquet files, one split each, with names that `load_dataset` recognises splits by."""
    waiting: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    shards: Counter[str] = Counter()

    def flush(split: str) -> None:
        # Encoding with the feature Audio needs torchcodec, but casting to it does not.
        shard = Dataset.from_list(waiting[split], features=FEATURES)
        for name in ("clean", "degraded"):
            shard = shard.cast_column(name, Audio(decode=False))
        shard.to_parquet(folder / f"{split}-{shards[split]:05d}.parquet", batch_size=50)
        shards[split] += 1
        waiting[split] = []

    for pair in pairs:
        rows = waiting[pair["split"]]
        rows.append({name: pair[name] for name in FEATURES})
        if len(rows) == SHARD_ROWS:
            flush(pair["split"])
    for split in SPLITS:
        if waiting[split]:
            flush(split)


def build(clips: Path, output: Path, *, seed: int = 0, workers: int = 2, variations: int = 0) -> dict[str, Any]:
    """Encode the clips of a folder and write the pairs, their card and `counts.json`.

    Args:
        clips (`Path`): folder with the clips and clips.csv.
        output (`Path`): folder for the dataset, new or empty.
        seed (`int`, defaults to 0): decides how each clip is encoded.
        workers (`int`, defaults to 2): number of processes.
        variations (`int`, defaults to 0): number of further training pairs of each clip, see [`varied`].

    Returns:
        `dict`: the content of counts.json: the pairs counted by split, source, codec and mode; the owners of the
            recordings in them; the rejected clips counted by kind, and the reason for each (`reasons`).

    Raises:
        ValueError: there are no clips, none of them can be used, `variations` is below 0, or `output` is not empty.
    """
    rows = vary_clips(read_clips(clips), variations)
    kept: list[dict[str, Any]] = []
    rejected: list[UnusableError] = []

    def usable(pairs: Iterable[dict[str, Any] | UnusableError]) -> Iterator[dict[str, Any]]:
        for pair in refuse_duplicates(pairs):
            if isinstance(pair, UnusableError):
                rejected.append(pair)
            else:
                kept.append({name: value for name, value in pair.items() if name not in ("clean", "degraded")})
                yield pair

    made = run(partial(try_pair, folder=clips, seed=seed), rows, workers, "pairs", ordered=True)
    with whole_folder(output) as folder, contextlib.closing(made):
        write_shards(usable(made), folder)
        if not kept:
            raise ValueError(f"{clips} gives no pairs: the first of {len(rejected)} reasons is that {rejected[0]}")
        counts: dict[str, Any] = {
            name: dict(sorted(Counter(pair[name] for pair in kept).items()))
            for name in ("split", "source", "codec", "mode")
        }
        counts["rejected"] = dict(sorted(Counter(error.kind for error in rejected).items()))
        owners = sorted({(pair["license"], pair["attribution"]) for pair in kept})
        counts["owners"] = [{"license": license, "attribution": attribution} for license, attribution in owners]
        # The folder's name is left out, because the file may be published.
        counts["reasons"] = [str(error).replace(f"{clips}/", "") for error in rejected]
        (folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n")
        write_card(folder / "README.md", kept, counts["rejected"], output.resolve().name)
    return counts


def push_to_hub(folder: Path, repo_id: str, *, private: bool = False) -> str:
    """Upload a dataset in one commit, so that nobody can load half of it, and return its address.

    The same commit deletes files of an earlier build that the new one does not have.

    Raises:
        ValueError: there is no dataset in `folder`.
    """
    if not (folder / "counts.json").exists():
        raise ValueError(f"{folder} holds no dataset that `build` has finished")
    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    present = api.list_repo_files(repo_id, repo_type="dataset")
    operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
    operations += [CommitOperationDelete(n) for n in present if n.endswith(".parquet") and n not in files]
    api.create_commit(repo_id, operations, commit_message="Add pairs", repo_type="dataset")
    return str(url)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train dataset", description="Encode clips into training pairs.")
    parser.add_argument("--clips", type=Path, help="folder made by `unlossy-train corpus`")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to; without --clips, to upload")
    parser.add_argument("--push-to-hub", metavar="ID", help="upload the dataset to this repository")
    parser.add_argument("--private", action="store_true", help="make that repository private if it is new")
    parser.add_argument("--variations", metavar="N", type=entry.whole(0), default=0, help=VARIATIONS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=entry.whole(), default=2, help="processes (default 2)")
    options = parser.parse_args(arguments)
    if not (options.clips or options.push_to_hub):
        parser.error("give --clips to build a dataset, --push-to-hub to upload one, or both")
    disable_progress_bar()
    if options.clips:
        counts = build(
            options.clips,
            options.output,
            seed=options.seed,
            workers=options.workers,
            variations=options.variations,
        )
        for name in ("split", "source", "codec", "mode", "rejected"):
            print(f"{name}: {', '.join(f'{kind} {count}' for kind, count in counts[name].items()) or 'none'}")
        print(f"reasons and all counts: {options.output / 'counts.json'}")
    if options.push_to_hub:
        print(push_to_hub(options.output, options.push_to_hub, private=options.private))
