"""What is uploaded as a Space."""

import json
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard

from unlossy_training.publish.staged_space import complete, stage

SPACE = Path(__file__).parents[3] / "space"
WHEEL = "https://hub/me/mine/resolve/v1/unlossy-0.1.0-py3-none-any.whl"


def test_everything_in_it_names_the_model_that_was_published(tmp_path: Path) -> None:
    staged = tmp_path / "space"
    stage(SPACE, staged, "me/mine", "https://hub")
    complete(staged, "me/mine", "v1", WHEEL)
    card = SpaceCard.load(staged / "README.md")
    source = SpaceCard.load(SPACE / "README.md")
    assert card.data.models == ["me/mine"]
    assert {**card.data.to_dict(), "models": None} == {**source.data.to_dict(), "models": None}
    assert "[model card](https://hub/me/mine)" in card.text
    assert json.loads((staged / "published.json").read_text()) == {"model": "me/mine", "revision": "v1"}
    lines = (staged / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"unlossy[space] @ {WHEEL}"]


def test_what_trying_it_has_left_stays_behind_and_other_requirements_stay(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "app.pyc").touch()
    (source / "song.restored.flac").touch()
    (source / "README.md").write_text("---\nsdk: gradio\n---\nunlossy\n")
    (source / "requirements.txt").write_text("spaces")
    stage(source, tmp_path / "space", "me/mine", "https://hub")
    complete(tmp_path / "space", "me/mine", "v1", WHEEL)
    names = {path.name for path in (tmp_path / "space").rglob("*")}
    assert names == {"README.md", "requirements.txt", "published.json"}
    lines = (tmp_path / "space" / "requirements.txt").read_text().splitlines()
    assert lines == ["spaces", f"unlossy[space] @ {WHEEL}"]


def test_a_folder_without_a_header_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no Space"):
        stage(tmp_path, tmp_path / "space", "me/mine", "https://hub")
