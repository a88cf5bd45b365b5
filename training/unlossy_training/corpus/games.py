"""Music of free games, out of Debian's packages: recordings for `corpus --source music=games/ --lossy`.

    unlossy-train games --output games/ --exclude NAME …    # downloads 3.8 GB, keeps 1.4 GB, some 20 hours of music

Free full-band music is rare, and most of it lies in games, as Vorbis or MP3 of a high bitrate. Nothing is installed:
packages are downloaded with apt-get (Debian, Ubuntu), their music is unpacked, and SOURCES.csv names licence and origin
of every file. A package that is there already is not downloaded again.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
from debian.copyright import Copyright, NotMachineReadableError
from tqdm import tqdm

from unlossy_cli import entry

from .build import write_table
from .recordings import LOSSY_SUFFIXES, SUFFIXES

# The packages, with the licence that Debian's copyright file states for the music where it is not machine-readable. All
# of Debian's main section may be used for any purpose.
PACKAGES = {
    **dict.fromkeys(
        (
            *("ardentryst", "colobot-common-sounds", "extremetuxracer-data", "flare-game", "freedroidrpg-data"),
            *("freeorion-data", "frozen-bubble-data", "hedgewars-data", "hex-a-hop-data", "lincity-ng-data"),
            *("marsshooter-data", "megaglest-data", "naev-data", "redeclipse-data", "starfighter-data"),
            *("supertux-data", "supertuxkart-data", "unknown-horizons", "widelands-data", "xmoto-data"),
        ),
        "",
    ),
    "enigma-data": "GPL-2+",
    "fretsonfire-songs-muldjord": "CC-BY-SA-3.0",
    "fretsonfire-songs-sectoid": "MIT",
    "openclonk-data": "CC-BY-3.0 or CC0-1.0",
    "singularity-music": "CC-BY-SA-3.0",
    "warmux-data": "GPL-2+",
    "wesnoth-1.16-music": "GPL-2+",
}
SHORTEST_FILE = 400_000  # [bytes], which is half a minute. Smaller files are effects and no music


def unpack(package: str, output: Path) -> Path:
    """Download a package, and unpack its music and its copyright file into a folder of `output`.

    Returns:
        `Path`: that folder. If it is there already, nothing is downloaded.

    Raises:
        ValueError: the package can't be downloaded or unpacked.
    """
    folder = output / package
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=output) as temporary:
        everything = Path(temporary, "everything")
        try:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=temporary, check=True)
            subprocess.run(["dpkg-deb", "--extract", *Path(temporary).glob("*.deb"), everything], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ValueError(f"Debian's package {package} can't be downloaded and unpacked: {error}") from error
        for file in [path for path in everything.rglob("*") if path.is_file() or path.is_symlink()]:
            if not (_is_music(file) or file.name == "copyright"):
                file.unlink()
        everything.rename(folder)
    return folder


def describe(package: str, folder: Path, excluded: Sequence[str]) -> Iterator[dict[str, str]]:
    """Describe the music of an unpacked package: a row of SOURCES.csv for each file.

    Files by an excluded artist are deleted, because all that is in the folder is trained on.

    Args:
        package (`str`): name of the package.
        folder (`Path`): where it is unpacked.
        excluded (sequence of `str`): artists, whose names are looked for in a file's path, in its tags and in the
            copyright file's paragraph on it.
    """
    stated = (folder / "usr/share/doc" / package / "copyright").read_text(errors="replace")
    try:
        paragraphs = Copyright(stated.splitlines(), strict=False)
    except NotMachineReadableError:
        paragraphs = None
    for file in sorted(path for path in folder.rglob("*") if _is_music(path)):
        name = file.relative_to(folder).as_posix()
        license, holder = PACKAGES[package], package
        if paragraphs is not None:
            paragraph = _paragraph(paragraphs, name)
            license = paragraph.license.synopsis
            # E-mail addresses are left out.
            holder = re.sub(r" ?<\S+@\S+>", "", " ".join(paragraph.copyright.split()))
        with av.open(str(file), metadata_errors="replace") as container:
            tags = {**container.metadata, **container.streams.audio[0].metadata}
        said = " ".join([name, holder, *tags.values()]).lower()
        if any(artist.lower() in said for artist in excluded):
            file.unlink()
        else:
            yield {
                "file": f"{package}/{name}",
                "license": license,
                "attribution": holder,
                "origin": f"{package}: {name}",
            }


def _is_music(file: Path) -> bool:
    return (
        file.suffix.lower() in SUFFIXES | LOSSY_SUFFIXES
        and not file.is_symlink()
        and file.stat().st_size >= SHORTEST_FILE
    )


def _paragraph(paragraphs: Copyright, name: str) -> Any:
    """Find the paragraph of a copyright file on an installed file. The copyright file has the paths of the source
    package, so the longest end of the installed path that it names decides."""
    parts = name.split("/")
    for start in range(len(parts)):
        for source in ("/".join(parts[start:]), "./" + "/".join(parts[start:])):
            found = paragraphs.find_files_paragraph(source)
            if found is not None and "*" not in found.files:
                return found
    return paragraphs.find_files_paragraph(name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train games", description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder for the music")
    parser.add_argument(
        "--exclude", nargs="+", action="extend", default=[], metavar="ARTIST",
        help="delete music that names one of these artists, such as those that you evaluate with",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for package in tqdm(sorted(PACKAGES), unit="package"):
        try:
            rows += describe(package, unpack(package, options.output), options.exclude)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not rows:
        raise ValueError("no package could be had; apt-get and dpkg-deb are needed")
    write_table(options.output / "SOURCES.csv", rows)
    print(f"{len(rows)} pieces of music in {options.output}")
