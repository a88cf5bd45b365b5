"""The cards of the checkpoints in the package: what their files make, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from links import anchors, dead_links

from unlossy_space import page
from unlossy_training.evaluation import saved
from unlossy_training.fit import record
from unlossy_training.hub_files import SHIPPED
from unlossy_training.publish import card
from unlossy_training.publish.model_card import TEMPLATES, readable_card

TOP = Path(__file__).parents[3]


def test_the_card_at_the_top_is_what_the_files_of_the_restorer_make(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    path = TOP / "model_card.md"
    card.main([str(path), "--check"])
    assert not dead_links(path, set())

    changed = tmp_path / "model_card.md"
    shutil.copyfile(path, changed)
    assert "is not what the files in" in refusal("card", changed, "--check")  # its links would lead elsewhere
    card.main([str(changed)])
    card.main([str(changed), "--check"])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_figure_comes_from_the_evaluation_beside_the_weights(name: str, tmp_path: Path) -> None:
    checkpoint = SHIPPED[name]
    evaluation = saved.read(saved.find(checkpoint), checkpoint)
    trained = record.read(str(checkpoint))
    text = readable_card(TOP / "card.md", checkpoint, evaluation, trained)
    assert text.startswith(f"# {name}\n")
    assert "{{" not in text
    assert "{%" not in text
    for row in evaluation["summary"]:
        for version, means in row["means"].items():
            cell = f"{means['si_sdr']:.2f}"
            assert cell in text, (row["codec"], row["kbps"], version)
    assert ("added discriminators" in text) == any(run["stage"] == "B" for run in trained["runs"])
    for owner in trained["data"]:
        assert owner["attribution"].split(" + ")[0] in text
    assert str(TOP) not in json.dumps(evaluation)

    other = json.loads(json.dumps(evaluation))
    other["summary"][0]["means"]["input"]["si_sdr"] += 7
    assert readable_card(TOP / "card.md", checkpoint, other, trained) != text


def test_the_page_links_to_a_heading_that_every_restorer_has() -> None:
    assert page.LIMITS in anchors((TEMPLATES / "restorer.md").read_text())
