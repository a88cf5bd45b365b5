"""Music out of Debian's packages: licences are found for each file, and artists that are measured with are left out."""

import csv
from pathlib import Path

import pytest
import soundfile
from signals import RATE, noise

pytest.importorskip("debian")

from unlossy.codecs import encode
from unlossy_training.corpus.games import PACKAGES, describe

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2010 The Team
License: GPL-2+

Files: data/music/forest.flac
Copyright: 2012 Ann Artist <ann@example.org>
License: CC-BY-3.0

Files: data/music/held.flac
Copyright: 2013 Held Out <held@example.org>
License: CC0-1.0
"""


def make_package(folder: Path, package: str, copyright: str) -> Path:
    music = folder / "usr/share/games/game/data/music"
    music.mkdir(parents=True)
    (folder / "usr/share/doc" / package).mkdir(parents=True)
    (folder / "usr/share/doc" / package / "copyright").write_text(copyright)
    hiss = noise(5 * RATE).T
    for name in ("forest.flac", "held.flac", "other.flac"):
        soundfile.write(music / name, hiss, RATE)
    soundfile.write(music / "click.flac", hiss[:10_000], RATE)  # an effect
    return folder


def test_licences_and_excluded_artists(tmp_path: Path) -> None:
    """Each file has the licence that the copyright file states, and files by excluded artists are deleted."""
    folder = make_package(tmp_path, "naev-data", COPYRIGHT)
    rows = {Path(row["file"]).name: row for row in describe("naev-data", folder, ["held out"])}
    assert set(rows) == {"forest.flac", "other.flac"}
    assert rows["forest.flac"]["license"] == "CC-BY-3.0"
    assert "Ann Artist" in rows["forest.flac"]["attribution"]
    assert "@" not in rows["forest.flac"]["attribution"]
    assert rows["other.flac"]["license"] == "GPL-2+"


def test_copyright_file_in_prose(tmp_path: Path) -> None:
    """The licence is then that of the table in the code."""
    package = next(name for name, license in PACKAGES.items() if license)
    folder = make_package(tmp_path, package, "This package was debianized by Somebody.\n")
    rows = list(describe(package, folder, []))
    assert len(rows) == 3
    assert {row["license"] for row in rows} == {PACKAGES[package]}


def test_the_table_is_what_a_corpus_reads(tmp_path: Path) -> None:
    from unlossy_training.corpus.games import main
    from unlossy_training.corpus.recordings import find_recordings

    for package in PACKAGES:  # what is there is not downloaded again
        (tmp_path / package / "usr/share/doc" / package).mkdir(parents=True)
        (tmp_path / package / "usr/share/doc" / package / "copyright").write_text("prose\n")
    make_package(tmp_path / "more", "more", COPYRIGHT)
    (tmp_path / "more" / "usr/share/games").rename(tmp_path / "naev-data" / "usr/share/games")
    (tmp_path / "naev-data/usr/share/doc/naev-data/copyright").write_text(COPYRIGHT)
    main(["--output", str(tmp_path), "--exclude", "held out"])
    with (tmp_path / "SOURCES.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == 2
    licenses = {one.title: one.license for one in find_recordings("music", tmp_path / "naev-data")}
    assert licenses["forest"] == "CC-BY-3.0"
    assert "held" not in licenses  # what lies there is trained on


def test_tags_in_a_code_page_stop_nothing(tmp_path: Path) -> None:
    folder = make_package(tmp_path, "naev-data", COPYRIGHT)
    song = folder / "usr/share/games/game/data/music/forest.mp3"
    tag = b"TAG" + "Müller".encode("latin-1").ljust(125, b"\0")
    song.write_bytes(encode(noise(30 * RATE), RATE, "mp3", 128) + tag)
    assert "forest.mp3" in {Path(row["file"]).name for row in describe("naev-data", folder, [])}
