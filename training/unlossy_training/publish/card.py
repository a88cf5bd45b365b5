"""Writes the card of a checkpoint for people who find it in the package's repository, not on the Hub.

unlossy-train card model_card.md            # of the restorer in the package
unlossy-train card model_card.md --check    # is it still the one that its evaluation and training.json make?
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from unlossy_cli import entry

from ..evaluation import saved
from ..fit import record
from ..hub_files import SHIPPED, find_checkpoint
from .model_card import readable_card


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train card", description=__doc__.split("\n")[0])
    parser.add_argument("card", type=Path, metavar="FILE", help="Markdown file to write; its links are relative to it")
    parser.add_argument(
        "--checkpoint", default=next(iter(SHIPPED)), metavar="NAME_OR_FOLDER",
        help=f"one in the package, {' or '.join(SHIPPED)}, or a folder (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs from the card")
    options = parser.parse_args(arguments)
    disable_progress_bar()
    checkpoint = find_checkpoint(options.checkpoint)
    evaluation = saved.read(saved.find(checkpoint), checkpoint)
    text = readable_card(options.card, checkpoint, evaluation, record.read(str(checkpoint)))
    if not options.check:
        options.card.write_text(text)
    elif options.card.read_text() != text:
        raise ValueError(
            f"{options.card} is not what the files in {checkpoint} make: write it anew with `unlossy-train card "
            f"{options.card}`, and change its words in the template"
        )
