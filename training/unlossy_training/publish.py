"""Publishes a checkpoint on the Hub: the model with its code and card, and on request its pairs and its Space.

    unlossy-train publish me/unlossy-44khz --results results.json --recordings held-out/ --dry-run staged/
    unlossy-train publish me/unlossy-44khz --results results.json --recordings held-out/ --tag v0.1.0 \
        --pairs pairs/ --space space/                  # also me/unlossy-44khz-pairs and the Space me/unlossy-44khz
    unlossy-train publish me/unlossy-saxophone --checkpoint saxophone/ --base-model me/unlossy-44khz  # a fine-tune

The model's folder is staged, and loaded in a process that can't import this package; what it makes of the example must
be what the package makes of it. Every figure of the card comes from files: the evaluation's JSON and training.json.
Each repository gets one commit: it is as it was before, or whole.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.utils import disable_progress_bars
from transformers.utils.logging import disable_progress_bar

from unlossy import SHIPPED_MODEL, load_model

from . import training_record
from .measuring import fingerprint
from .model_card import Description, write_card
from .recordings import find_recordings
from .staging import check, stage
from .uploading import Upload, prepare, upload_all

FINETUNE = "finetune.json"  # what `finetune` leaves beside its checkpoint


def read_evaluation(files: Iterable[Path], checkpoint: str) -> dict[str, Any]:
    """One evaluation from one or several files of `evaluate` or `finetune`; a later file's rows replace an earlier's.

    Raises:
        ValueError: a file isn't an evaluation, or is one of other weights than the checkpoint's.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            found = json.loads(file.read_text())
            measured, summary, clips = found["fingerprint"], found["summary"], found["clips"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is no result of `unlossy-train evaluate --output`: {error!r}") from error
        if measured != fingerprint(load_model(checkpoint, device="cpu")):
            raise ValueError(f"{file} was measured with other weights than those of {checkpoint}: evaluate these")
        if merged:
            conditions = {(row["codec"], row["kbps"]) for row in summary}
            for name, rows in (("summary", summary), ("clips", clips)):
                kept = [row for row in merged[name] if (row["codec"], row["kbps"]) not in conditions]
                found[name] = kept + rows
        merged |= found
    return {name: value for name, value in merged.items() if name != "model"}  # a path on this machine


def publish(options: argparse.Namespace, folder: Path) -> None:
    """
    Args:
        folder (`Path`): to stage the model's repository in.

    Raises:
        ValueError, OSError: something is missing, doesn't fit, doesn't load, or the Hub refuses it.
    """
    checkpoint = str(options.checkpoint)
    finetune = Path(checkpoint, FINETUNE)
    results = options.results or ([finetune] if finetune.exists() else [])
    if not results:
        raise ValueError("give --results, the JSON of `unlossy-train evaluate --output`: the card is made from it")
    evaluation = read_evaluation(results, checkpoint)
    if options.recordings:
        owners = [{"license": one.license, "attribution": one.attribution}
                  for one in find_recordings("real", options.recordings)]  # fmt: skip
        evaluation["recordings"] = training_record.merge([], owners)
    base_model = options.base_model or evaluation.get("base_model")
    if finetune.exists() and (base_model is None or base_model.count("/") != 1 or Path(base_model).exists()):
        raise ValueError("this is a fine-tune: give --base-model, the Hub id of what it was made from")
    pairs_id = f"{options.repo_id}-pairs" if options.pairs else None
    uploads = [Upload("model", options.repo_id, folder)]
    if pairs_id:
        if not (options.pairs / "counts.json").exists():
            raise ValueError(f"{options.pairs} holds no pairs made by `unlossy-train dataset`")
        uploads.insert(0, Upload("dataset", pairs_id, options.pairs))  # before the card that names it
    if options.space:
        if not (options.space / "README.md").exists():
            raise ValueError(f"{options.space} is no Space: it has no README.md with the Space's header")
        uploads.append(Upload("space", options.repo_id, options.space))
    if not options.dry_run:
        prepare(uploads, options.tag)

    stage(checkpoint, folder, evaluation, options.recordings)
    description = Description(
        repo_id=options.repo_id,
        license=options.license,
        parameters=sum(parameter.numel() for parameter in load_model(checkpoint, device="cpu").parameters()),
        base_model=base_model,
        pairs_id=pairs_id,
        space_id=options.repo_id if options.space else None,
    )
    write_card(folder, description, evaluation, training_record.read(checkpoint))
    difference = check(checkpoint, folder)
    print(f"loads without the package, and restores the example to within {difference:.1g} of it")
    if not options.dry_run:
        print("\n".join(upload_all(uploads, options.tag, private=options.private)))
        return
    for upload in uploads:
        files = upload.sizes()
        total = sum(files.values()) / 1e6
        print(f"\n{upload.repo_type} {upload.repo_id}: {len(files)} files, {total:.1f} MB, from {upload.folder}")
        print("\n".join(f"  {size:>11,}  {name}" for name, size in files.items()))
    print(f"\nnothing was uploaded{f'; the tag would be {options.tag}' if options.tag else ''}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unlossy-train publish", description=__doc__.split("\n")[0])
    parser.add_argument("repo_id", metavar="USER/NAME", help="the model's repository; made if it isn't there")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path(SHIPPED_MODEL),
        help="folder made by `fit` or `finetune` (default: the checkpoint in the package)",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, nargs="+", metavar="JSON",
        help="of `unlossy-train evaluate --output`, of these weights; a fine-tune has its own",
    )  # fmt: skip
    parser.add_argument(
        "--recordings", type=Path, help="the folder that was evaluated on, for spectrograms of its best and worst clips"
    )
    parser.add_argument("--pairs", type=Path, help="also publish these pairs, as USER/NAME-pairs")
    parser.add_argument("--space", type=Path, help="also publish this folder as the Space USER/NAME")
    parser.add_argument("--base-model", metavar="ID", help="what a fine-tune was made from (default: as it remembers)")
    parser.add_argument("--license", default="apache-2.0", help="of the weights (default: %(default)s)")
    parser.add_argument("--tag", help="name for the new revision of each repository, such as v0.1.0")
    parser.add_argument("--private", action="store_true", help="make new repositories private")
    parser.add_argument(
        "--dry-run", type=Path, metavar="FOLDER", help="stage and check the model there, and only say what would happen"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.repo_id.count("/") != 1 or not all(options.repo_id.split("/")):
        parser.error(f"{options.repo_id!r} is no id of a repository: write USER/NAME")
    if options.dry_run and options.dry_run.exists() and any(options.dry_run.iterdir()):
        parser.error(f"{options.dry_run} is not empty: choose another folder or delete it")
    disable_progress_bar()
    disable_progress_bars()
    try:
        if options.dry_run:
            publish(options, options.dry_run)
        else:
            with tempfile.TemporaryDirectory() as folder:
                publish(options, Path(folder))
    except (ValueError, OSError) as error:
        parser.exit(1, f"unlossy-train publish: {error}\n")
