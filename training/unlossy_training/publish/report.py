"""Fills in the tables of documents from the evaluations of the checkpoints in the package, or checks them.

    unlossy-train report README.md docs/results.md            # write the tables anew
    unlossy-train report README.md docs/results.md --check    # are they still what the evaluations make?

A document marks where a table goes; what stands between the marks is replaced:

    <!-- table: restorer -->
    <!-- end of table -->
"""

import re
from collections.abc import Sequence
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from unlossy_cli import entry

from ..evaluation import saved
from ..evaluation.summary import markdown, worst_clips
from ..hub_files import SHIPPED
from .model_card import expectation, harmed, lowered, ordered, rates

MARKED = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def make_tables() -> dict[str, str]:
    """The tables by their names in the documents, as Markdown.

    Raises:
        ValueError: a checkpoint has no evaluation, or one of other weights.
    """
    restorer, autoencoder = (saved.read(saved.find(checkpoint), checkpoint) for checkpoint in SHIPPED.values())
    summary = ordered(restorer["summary"])
    harm, lower = harmed(restorer["clips"]), lowered(summary)
    return {
        "restorer": expectation(summary),
        "restorer, all figures": markdown(summary),
        "restorer, where it falls": "\n".join(
            [
                f"Of {harm['of']} measured clips, {harm['count']} lost more than {harm['by']} of {harm['metric']} by "
                "restoration. These means fall:",
                "",
                *(f"- {line}" for line in lower or ["none"]),
                "",
                worst_clips(summary),
            ]
        ),
        "autoencoder": rates(ordered(autoencoder["summary"])),
    }


def fill(document: Path, tables: dict[str, str]) -> str:
    """The text of a document with its tables as they should be.

    Raises:
        ValueError: it marks no table, or one that there is not, or not where it ends.
    """
    text = document.read_text()
    names = [found[2] for found in MARKED.finditer(text)]
    if not names:
        raise ValueError(f"{document} marks no table: write `<!-- table: restorer -->` and `<!-- end of table -->`")
    if text.count("<!-- table: ") != len(names):
        raise ValueError(f"{document} marks a table without `<!-- end of table -->` after it")
    for name in names:
        if name not in tables:
            raise ValueError(f"{document} marks a table {name!r}; there are {', '.join(map(repr, tables))}")
    return MARKED.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}", text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train report", description=__doc__.split("\n")[0])
    parser.add_argument("documents", nargs="+", type=Path, metavar="FILE", help="Markdown files that mark their tables")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table differs")
    options = parser.parse_args(arguments)
    disable_progress_bar()
    tables = make_tables()
    for document in options.documents:
        text = fill(document, tables)
        if not options.check:
            document.write_text(text)
        elif document.read_text() != text:
            raise ValueError(
                f"the tables of {document} are not what the evaluations make: write them anew with `unlossy-train "
                f"report {document}`"
            )
