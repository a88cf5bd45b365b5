"""Run generators of odd files, restore what they make, and print a table of what comes of it, in Markdown.

    python tests/cases_table.py FOLDER_OF_GENERATORS

A generator is `caseNN_name.py`, which writes files and folders into the folder it is given, or `caseNN_name.sh`, which
is given the command and a song or a folder. What version 0.1.0 did with each is in `BEFORE`.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import av
import soundfile

# What the cases are, and what 0.1.0 did with them.
BEFORE = {
    1: ("AAC in MP4 with uneven times", "cut each frame to the duration in the container: a click every 23 ms"),
    2: ("two MP3s joined, a tag between them", "refused as damaged"),
    3: ("one bad MP3 frame", "refused, or restored 73 ms shorter without a word"),
    4: ("a pause in the times of an MP4", "refused as truncated"),
    5: ("M4A of iTunes without an edit list", "refused up to 16 kHz; at 44.1 kHz the padding stayed in"),
    6: ("a codec that nothing decodes", "traceback"),
    7: ("WAV of 64-bit integers", "a library's sentence, without the file's name"),
    8: ("ID3v1 in a Cyrillic code page", "each letter became a replacement character"),
    9: ("fields with several values", "kept the first only, or joined them"),
    10: ("back cover before front cover", "kept the back cover only"),
    11: ("chapters", "lost them without a word"),
    12: ("speaker layouts 2.1, 3.1, 4.0, 4.1", "wrote the default layout of as many channels"),
    13: ("`song.mp3` beside `song.wav`", "restored nothing of the folder"),
    14: ("a folder of WebM, MP4, MKV and 3GP", "found no audio files"),
    15: ("the default track is the second", "restored the first, without a word"),
    16: ("ten good runs of a folder", "now and then a traceback after a good run"),
    17: ("a link to nowhere, in `similar`", "stopped without a list"),
    18: ("MP3 with one silent channel", "filled the silent channel with noise at -60 dBFS"),
    19: ("private frames and ReplayGain", "binary data as text, stale gains; 5 MB failed after all the work"),
    20: ("APEv2 tags only", "lost them without a word"),
    21: ("rate or channels change inside", "refused, the Ogg as truncated"),
    22: ("a header that declares too much", "refused as truncated"),
    23: ("an end named by an edit list", "left up to 23 ms of padding in"),
    24: ("inputs in Python", "errors from deep inside"),
    25: ("`-`, a URL, `-o -`, a name with a dot", "no such file; a folder named `-`; no format ` 2`"),
    26: ("sound later than the picture, muted gaps", "left out delay and gap: out of sync"),
    27: ("ADPCM and GSM", "90 to 1,203 samples too many"),
    28: ("one of three folders has no audio", "restored nothing"),
}


class Row(NamedTuple):
    """What came of a case, each as text of a cell."""

    code: str
    sentences: str
    lengths: str
    result: str


class Run(NamedTuple):
    """A run of the command."""

    code: int
    output: str
    error: str


def run(*command: str) -> Run:
    from unlossy_cli import main

    output, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            code = main(command)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Run(code, output.getvalue(), error.getvalue())


def restore_all(folder: Path) -> Row:
    """Restore each thing that a generator has made."""
    output = folder / "restored"
    made = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    codes, sentences, lengths, results = [], defaultdict(list), [], []
    for given in made:
        below = sorted(given.iterdir()) if given.is_dir() else []
        named = (
            below if below and all(path.is_dir() for path in below) else [given]
        )  # albums, as a shell has them for */
        done = run("restore", *map(str, named), "-o", f"{output / given.name}{os.sep}", "--device", "cpu")
        codes.append(done.code)
        for line in done.error.splitlines():
            sentences[_anonymous(line, folder, given)].append(given.name)
        inputs = [given] if given.is_file() else sorted(path for path in given.rglob("*") if path.is_file())
        restored = sorted((output / given.name).rglob("*.flac"))
        if given.is_file() and restored:
            lengths.append(f"{_seconds(given):.3f} → {_seconds(restored[0]):.3f}")
        elif given.is_dir():
            lengths.append(f"{len(inputs)} files → {len(restored)}")
        results += [_describe(path) for path in restored]
    told = [text if len(names) == len(made) else f"{', '.join(names)}: {text}" for text, names in sentences.items()]
    return Row(_join(map(str, codes)), _join(told), _join(lengths), _join(results))


def find_similar(folder: Path) -> Row:
    query = next(path for path in folder.iterdir() if path.is_file())
    library = next(path for path in folder.iterdir() if path.is_dir())
    done = run("similar", str(query), str(library), "--device", "cpu")
    found = [line.split()[-1].replace(str(library) + os.sep, "") for line in done.output.splitlines()]
    return Row(str(done.code), _anonymous(done.error, folder, library), "", f"lists {', '.join(found)}")


def run_shell(case: Path, songs: Path, folder: Path) -> Row:
    text = case.read_text()
    given = songs if "FOLDER" in text else sorted(songs.iterdir())[0]
    wrapper = folder / "unlossy"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m unlossy_cli "$@"\n')
    wrapper.chmod(0o755)
    done = subprocess.run(["sh", str(case), str(wrapper), str(given)], cwd=folder, capture_output=True)
    lines = [line for line in done.stdout.splitlines() if re.fullmatch(rb"[ -~]{10,}", line)]  # without audio
    lines += done.stderr.splitlines()
    printed = [re.sub(r"^run \d+: ", "", _anonymous(line.decode(), folder, given)) for line in lines]
    return Row(
        str(done.returncode), _join(printed), "", _join(sorted({path.name for path in folder.iterdir()} - {"unlossy"}))
    )


def _anonymous(text: str, folder: Path, given: Path) -> str:
    """Without paths of this machine, on one line."""
    for path in (given, folder, given.parent):
        text = text.replace(f"{path}{os.sep}", "").replace(f"{path}:", "").replace(f"{path} ", "")
    text = re.sub(r"\S*/restored/", "", text)
    return " ".join(text.replace("unlossy: ", "").split())


def _seconds(path: Path) -> float:
    """How long a file is by its own header, or the decoder that wrote it."""
    if path.suffix == ".flac":
        return soundfile.info(path).duration
    with av.open(str(path), metadata_errors="replace") as container:
        return (container.duration or 0) / av.time_base


def _describe(path: Path) -> str:
    """The layout and the tags of a result."""
    from unlossy.hub.audio_unlossy import AudioReader

    with AudioReader(path) as reader:
        tags = reader.tags
        parts = ["+".join(reader.speakers)] if reader.channels > 2 else []
        parts += [f"{name} {' / '.join(values)}" for name, values in tags.fields.items()]
        parts += [f"picture of kind {picture.kind}" for picture in tags.pictures]
        parts += [f"{len(tags.chapters)} chapters"] if tags.chapters else []
    return ", ".join(parts)


def _join(parts: Iterable[str]) -> str:
    return "<br>".join(dict.fromkeys(part.replace("|", "\\|") for part in parts if part))


def make_row(case: Path, songs: Path) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if case.suffix == ".sh":
            return run_shell(case, songs, folder)
        made = subprocess.run([sys.executable, str(case), name], capture_output=True, text=True)
        if made.returncode:
            return Row("", f"the generator failed: {made.stderr.splitlines()[-1]}", "", "")
        if made.stdout:  # it has done all by itself
            return Row(
                str(made.returncode),
                _join(_anonymous(line, folder, folder) for line in made.stdout.splitlines()),
                "",
                "",
            )
        return find_similar(folder) if "similar" in case.stem else restore_all(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="FOLDER_OF_GENERATORS")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of cases")
    arguments = parser.parse_args()
    print("| | case | before | exit code | what it says | length [s] | in the result |\n|--:|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        songs = Path(name)
        for number in range(2):
            soundfile.write(songs / f"song{number}.mp3", [[0.1 * number, 0.1]] * 44_100, 44_100)
        for case in sorted(arguments.folder.glob("case[0-9]*")):
            number = int(re.findall(r"\d+", case.stem)[0])
            if arguments.only and number not in arguments.only:
                continue
            title, before = BEFORE.get(number, (case.stem, ""))
            row = make_row(case.absolute(), songs)
            print(f"| {number} | {title} | {before} | {' | '.join(cell or '–' for cell in row)} |", flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
