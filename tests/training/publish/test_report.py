"""The tables of the documents: what the evaluations beside the weights make, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from unlossy_training.evaluation import saved
from unlossy_training.hub_files import SHIPPED
from unlossy_training.publish import report

TOP = Path(__file__).parents[3]
DOCUMENTS = [TOP / "README.md", TOP / "docs" / "results.md", TOP / "docs" / "autoencoder.md"]


def test_the_tables_of_the_documents_are_what_the_evaluations_make(tmp_path: Path, refusal: Callable[..., str]) -> None:
    report.main([*map(str, DOCUMENTS), "--check"])

    stale = tmp_path / "README.md"
    stale.write_text(DOCUMENTS[0].read_text().replace("→", "->"))
    assert "are not what the evaluations make" in refusal("report", stale, "--check")
    report.main([str(stale)])
    assert stale.read_text() == DOCUMENTS[0].read_text().replace(
        "the mean of the MP3 → the mean", "the mean of the MP3 -> the mean"
    )


def test_results_have_every_figure_of_both_evaluations() -> None:
    text = DOCUMENTS[1].read_text()
    for checkpoint in SHIPPED.values():
        for row in saved.read(saved.find(checkpoint), checkpoint)["summary"]:
            for version, means in row["means"].items():
                if (row["codec"], version) != ("lossless", "input"):  # an original beside itself
                    cell = f"{means['si_sdr']:.2f}"
                    assert cell in text, (checkpoint.name, row["codec"], row["kbps"], version)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words alone", "marks no table"),
        ("<!-- table: nonsense -->\n<!-- end of table -->", "'nonsense'; there are"),
        ("<!-- table: restorer -->\n<!-- table: restorer -->\n<!-- end of table -->", "without"),
    ],
)
def test_a_document_without_a_table_that_there_is_is_refused(text: str, message: str, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(text)
    with pytest.raises(ValueError, match=message):
        report.fill(document, {"restorer": "| |"})
    assert document.read_text() == text
