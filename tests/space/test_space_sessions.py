"""Sessions keep their files apart, and take them along when they end."""

from pathlib import Path

from unlossy_space.sessions import Sessions, is_stopped


def upload(root: Path, name: str) -> Path:
    """A file where Gradio puts it: in a folder that is named after its content."""
    path = root / f"hash-of-{name}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
    return path


def test_an_end_takes_its_own_files_only(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    mine, shared = upload(tmp_path, "mine.mp3"), upload(tmp_path, "shared.mp3")
    sessions.keep("one", mine)
    sessions.keep("one", shared)
    sessions.keep("two", shared)
    first, second = sessions.new_folder("one"), sessions.new_folder("two")
    sessions.close("one")
    assert not mine.exists()
    assert not first.exists()
    assert shared.exists()
    assert second.is_dir()
    sessions.close("two")
    assert not list(tmp_path.iterdir())


def test_stopping_ends_what_runs_in_one_session(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    first, second = sessions.new_folder("one"), sessions.new_folder("two")
    assert not is_stopped(first)
    sessions.stop("one")
    assert is_stopped(first)
    assert not is_stopped(second)
    assert not is_stopped(sessions.new_folder("one"))  # what starts afterwards
    sessions.close("two")
    assert is_stopped(second)


def test_a_session_s_name_leads_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    sessions = Sessions(root)
    folder = sessions.new_folder("../../elsewhere")
    assert folder.resolve().parents[1] == root
    sessions.close("../..")
    assert tmp_path.exists()
    assert folder.exists()
