"""Sessions keep their files apart, and take them along when they end."""

import os
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock

from unlossy_space import remove_leftovers
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


def make_old(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_everybody_forgot_goes_after_an_hour(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    old, used, new = (upload(tmp_path, name) for name in ("old.mp3", "used.mp3", "new.mp3"))
    folder = sessions.new_folder("gone without a word")
    broken, running = tmp_path / "tmp1", tmp_path / "tmp2"
    for part in (broken, running):
        part.write_text("a part of an upload")
    for path in (old.parent, used.parent, folder.parent):
        make_old(path, 4000)
    make_old(broken, 400)
    sessions.keep("one", old)
    make_old(old.parent, 4000)
    sessions.keep("another", used)
    sessions.sweep(3600)
    assert {path.name for path in tmp_path.iterdir()} == {used.parent.name, new.parent.name, running.name}
    sessions.close("one")  # knows of what is gone


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print(flush=True)
    time.sleep(600)
"""


def test_the_next_start_removes_what_a_killed_demo_left(tmp_path: Path) -> None:
    killed, running, starting = (tmp_path / f"unlossy-demo-{name}" for name in ("killed", "running", "starting"))
    for folder in (killed, running, starting):
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "song.mp3").write_text("a song")
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(killed / "running")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "unlossy-demo-link").symlink_to(other)
    with FileLock(running / "running"):
        for path in (killed, running, other):
            make_old(path, 100)
        remove_leftovers(tmp_path)
        assert killed.exists()
        process.kill()
        process.wait()
        remove_leftovers(tmp_path)
    assert not killed.exists()
    assert (running / "files" / "song.mp3").exists()
    assert starting.exists()
    assert other.exists()
