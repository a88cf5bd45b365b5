"""Publishes a checkpoint on the Hub: the model with its code and card, and on request its pairs and its Space.

    unlossy-train publish me/unlossy-44khz --space space/ --tag v0.1.0   # and the Space me/unlossy-44khz
    unlossy-train publish me/unlossy-44khz-autoencoder --checkpoint unlossy-44khz-autoencoder --dry-run staged/
    unlossy-train publish me/unlossy-44khz --checkpoint detail/ --results results.json --recordings held-out/ \
        --pairs pairs/                                                   # and me/unlossy-44khz-pairs
    unlossy-train publish me/unlossy-saxophone --checkpoint saxophone/ --base-model me/unlossy-44khz  # a fine-tune

The model's folder is staged, and loaded in a process that can't import this package; what it makes of the example must
be what the package makes of it. Every figure of the card comes from files: the evaluation's JSON and training.json.
The wheel of the package lies in the model's repository, and the Space is built with it: no registry is asked for it.
Each repository gets one commit: it is as it was before, or whole.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars
from transformers import AutoConfig
from transformers.utils.logging import disable_progress_bar

from unlossy import UnlossyAutoencoderConfig
from unlossy_cli import entry

from ..corpus.recordings import find_recordings
from ..evaluation import saved
from ..fit import record
from ..hub_files import SHIPPED, find_checkpoint
from . import staged_space, wheel
from .model_card import Description, write_card
from .staging import check, stage
from .steps import Steps
from .uploading import Upload, prepare, upload_all


def plan(options: argparse.Namespace, checkpoint: Path, folder: Path) -> list[Upload]:
    """What goes where, and in which order: what a card or a Space names is there before it.

    Raises:
        ValueError: something that was asked for is not there, or doesn't go together.
    """
    model, space = folder / "model", folder / "space"
    uploads = [Upload("model", options.repo_id, model)]
    if options.pairs:
        if not (options.pairs / "counts.json").exists():
            raise ValueError(f"{options.pairs} holds no pairs made by `unlossy-train dataset`")
        uploads.insert(0, Upload("dataset", f"{options.repo_id}-pairs", options.pairs))
    if options.space:
        if options.private:
            raise ValueError(
                "a Space is built without a token, and can't install from a private repository: leave --private out"
            )
        if isinstance(AutoConfig.from_pretrained(checkpoint), UnlossyAutoencoderConfig):
            raise ValueError(f"{checkpoint} is an autoencoder, and the Space shows a restorer: leave --space out")
        staged_space.stage(options.space, space, options.repo_id, constants.ENDPOINT)

        def complete(revision: str) -> None:
            staged_space.complete(space, options.repo_id, revision, wheel_url(options.repo_id, revision, model))

        uploads.append(Upload("space", options.repo_id, space, complete))
    return uploads


def wheel_url(repo_id: str, revision: str, folder: Path) -> str:
    """Where the wheel in the staged folder of a model will be."""
    return f"{constants.ENDPOINT}/{repo_id}/resolve/{revision}/{next(folder.glob('*.whl')).name}"


def publish(options: argparse.Namespace, folder: Path) -> None:
    """
    Args:
        folder (`Path`): to stage the repositories of model and Space in.

    Raises:
        ValueError, OSError: something is missing, doesn't fit, doesn't load, or the Hub refuses it.
    """
    checkpoint = find_checkpoint(options.checkpoint)
    evaluation = saved.read(options.results or saved.find(checkpoint), checkpoint)
    if options.recordings:
        evaluation["recordings"] = owners(options.recordings, {row["clip"] for row in evaluation["clips"]})
    base_model = options.base_model or evaluation.get("base_model")
    finetuned = (checkpoint / saved.FINETUNE).exists()
    if finetuned and (base_model is None or base_model.count("/") != 1 or Path(base_model).exists()):
        raise ValueError("this is a fine-tune: give --base-model, the Hub id of what it was made from")
    uploads = plan(options, checkpoint, folder)
    model = folder / "model"
    with Steps(3 if options.dry_run else 4 + len(uploads)) as steps:
        if not options.dry_run:
            with steps.step("asking the Hub whether it takes this"):
                prepare(uploads, options.tag)
        with steps.step("building the wheel"):
            model.mkdir(parents=True)
            wheel.build(model)
        with steps.step("staging the model"):
            stage(checkpoint, model, evaluation, options.recordings)
            description = Description.of(
                checkpoint,
                license=options.license,
                endpoint=constants.ENDPOINT,
                repo_id=options.repo_id,
                wheel_url=wheel_url(options.repo_id, options.tag or "main", model),
                base_model=base_model,
                pairs_id=f"{options.repo_id}-pairs" if options.pairs else None,
                space_id=options.repo_id if options.space else None,
            )
            write_card(model, description, evaluation, record.read(str(checkpoint)))
        with steps.step("loading it without the package"):
            difference = check(checkpoint, model)
        done = [] if options.dry_run else upload_all(uploads, options.tag, steps.step, private=options.private)
    print(f"loads without the package, and restores the example to within {difference:.1g} of it")
    if not options.dry_run:
        print("\n".join(done))
        return
    for upload in uploads:
        if upload.complete:
            upload.complete(options.tag or "main")
        files = upload.sizes()
        total = sum(files.values()) / 1e6
        print(f"\n{upload.repo_type} {upload.repo_id}: {len(files)} files, {total:.1f} MB, from {upload.folder}")
        print("\n".join(f"  {size:>11,}  {name}" for name, size in files.items()))
    print(f"\nnothing was uploaded{f'; the tag would be {options.tag}' if options.tag else ''}")


def owners(recordings: Path, measured: set[str]) -> list[dict[str, str]]:
    """Licence and attribution of the recordings that were measured, from the SOURCES.csv of their folder."""
    found = [one for one in find_recordings("real", recordings) if str(one.path.relative_to(recordings)) in measured]
    return record.merge([], [{"license": one.license, "attribution": one.attribution} for one in found])


def build_parser() -> argparse.ArgumentParser:
    parser = entry.Parser(prog="unlossy-train publish", description=__doc__.split("\n")[0])
    parser.add_argument("repo_id", metavar="USER/NAME", help="the model's repository; made if it isn't there")
    parser.add_argument(
        "--checkpoint", default=next(iter(SHIPPED)), metavar="NAME_OR_FOLDER",
        help=f"one in the package, {' or '.join(SHIPPED)}, or a folder made by `fit` or `finetune` "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, nargs="+", metavar="JSON",
        help="of `unlossy-train evaluate --output`, of these weights (default: the evaluation beside them)",
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
        "--dry-run", type=Path, metavar="FOLDER", help="stage and check all of it there, and only say what would happen"
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
    if options.dry_run:
        publish(options, options.dry_run)
    else:
        with tempfile.TemporaryDirectory() as folder:
            publish(options, Path(folder))
