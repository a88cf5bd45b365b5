"""The open training corpus, from scores and recordings to mixed clips of 4 s and the clips.csv that `dataset` reads.

    unlossy-train corpus --output clips/ --hours 6
    unlossy-train corpus --output clips/ --hours 6 --midi tunes/=CC-BY-4.0 --source real=recordings/@2

With nothing but --output it is made of free packages: public-domain scores of music21 and made-up pieces, arranged
anew and played by FluidSynth with Debian's soundfonts, and Debian's CC0 samples. Files depend on the inputs, the seed
and their own number only. clips.csv appears when all is there; whatever interrupts a build, the same command goes on
with it, and the same command with more --hours extends it. What that needs (renders, journals) lies in clips/work.

In clips/: the clips; clips.csv (a row for each); materials.csv (origin, licence and split of every piece, recording
and soundfont in them); summary.json (counts, and what was left out and why).
"""

import argparse
import contextlib
import csv
import errno
import functools
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlossy_cli import entry

from ..files import write_whole
from ..pool import Journal, run
from .clips import (
    CLIP_SECONDS,
    RENDERS_PER_CLIP,
    SEQUENCES_PER_CLIP,
    make_clip,
    make_render,
    make_sequence,
    renders_for,
)
from .materials import Materials, Request, describe, gather, parse_place, parse_source
from .recordings import SHORTEST, Recording, UnusableError, examine, validation_groups
from .scores import Piece

COLUMNS = ("file", "source", "title", "license", "split", "genre", "attribution", "origin")
SHORTEST_SAMPLE = 0.05  # [s]: shorter samples are not used


def begin(output: Path, description: dict[str, Any], hours: float) -> Path:
    """Make sure that a folder is new or holds a part of the same corpus, and return its sub-folder for the work.

    Args:
        description (`dict`): what decides on the files of the corpus, see `describe`.
        hours (`float`): the length that is asked for [h].

    Raises:
        ValueError: the folder holds something else, or a longer corpus.
    """
    work = output / "work"
    plan = work / "plan.json"
    if plan.exists():
        begun = json.loads(plan.read_text())
        for name, value in description.items():
            if begun.get(name) != value:
                was, now = (f" ({given})" if name.startswith("--") else "" for given in (begun.get(name), value))
                raise ValueError(
                    f"{output} was begun with other {name}{was} than now{now}; choose another folder or delete it"
                )
        if begun["hours"] > hours:
            raise ValueError(f"{output} was begun with --hours {begun['hours']:g}; {hours:g} is less")
    elif output.exists() and any(path.suffix != ".part" for path in output.rglob("*") if path.is_file()):
        raise ValueError(f"{output} is not empty; choose another folder or delete it")
    for folder in ("renders", "scores"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    forget_torn(output)
    if not plan.exists() or json.loads(plan.read_text())["hours"] < hours:
        (output / "clips.csv").unlink(missing_ok=True)  # not whole any more
        write_whole(plan, json.dumps(description | {"hours": hours}, indent=1).encode())
    return work


def forget_torn(output: Path) -> None:
    """Remove the half-written files of a build that was killed. Its processes may end some time after it."""
    for torn in output.rglob("*.part"):
        torn.unlink(missing_ok=True)


def build(output: Path, request: Request, *, hours: float, workers: int = 1) -> dict[str, Any]:
    """Build a corpus, or go on with one.

    Args:
        output (`Path`): folder for the clips.
        request (`Request`): what the corpus is made of.
        hours (`float`): length of all clips together [h].
        workers (`int`, defaults to 1): number of processes.

    Returns:
        `dict`: the content of summary.json: clips counted by source, split and licence, what was left out counted by
            kind, and the reasons.

    Raises:
        ValueError: something is missing or doesn't fit, see `gather` and `begin`, or not a single clip could be made.
        OSError: a file can't be written. The same call goes on from there.
    """
    if not CLIP_SECONDS / 3600 <= hours < 1e6:  # false for NaN, too
        raise ValueError(f"{hours:g} hours are less than a clip of {CLIP_SECONDS:g} s, or more than there is time for")
    count = round(hours * 3600 / CLIP_SECONDS)
    materials, remarks = gather(request)
    work = begin(output, describe(request, materials), hours)
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)

    recordings, bad_recordings = examined(materials.recordings, SHORTEST, workers, request.lossy)
    samples, bad_samples = examined(materials.samples, SHORTEST_SAMPLE, workers)
    items = [("rendered", piece.group) for piece in materials.pieces]
    items += [(recording.source, recording.group) for recording in [*recordings, *samples]]
    held = frozenset(validation_groups(items, request.seed))
    materials = replace(materials, recordings=recordings, samples=samples, held=held)

    renders, sequences, clips = (Journal(work / f"{name}.jsonl") for name in ("renders", "sequences", "clips"))
    needed = range(renders_for(count, RENDERS_PER_CLIP) if request.rendering else 0)
    parse_scores(materials, needed, work, workers)
    render = functools.partial(make_render, materials=materials, work=work)
    go_on(render, needed, renders, work / "renders", workers, "renders")
    if samples:
        needed = range(renders_for(count, SEQUENCES_PER_CLIP))
        sequence = functools.partial(make_sequence, materials=materials, work=work)
        go_on(sequence, needed, sequences, work / "renders", workers, "samples")
    clip = functools.partial(
        make_clip, materials=materials, renders=renders.rows, sequences=sequences.rows, work=work, output=output
    )
    go_on(clip, range(count), clips, output, workers, "clips")

    rows = [row for _, row in sorted(clips.rows.items()) if "file" in row]
    bad = [(error.kind, str(error)) for error in [*bad_recordings, *bad_samples]]
    for journal in (renders, sequences, clips):
        bad += [(row["skipped"], row["reason"]) for _, row in sorted(journal.rows.items()) if "skipped" in row]
    if not rows:
        raise ValueError(f"no clip could be made: {bad[0][1] if bad else 'there is nothing to cut from'}")
    summary = count_clips(rows, bad)
    write_table(output / "materials.csv", list_materials(rows, materials))
    write_whole(output / "summary.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    forget_torn(output)
    write_table(output / "clips.csv", [{name: row[name] for name in COLUMNS} for row in rows])  # last: all is there
    return summary


def rejection(job: tuple[Path, float, bool]) -> tuple[Path, UnusableError | None]:
    """Like `examine`, but return the reason against a file instead of raising it."""
    try:
        examine(*job)
    except UnusableError as error:
        return job[0], error
    return job[0], None


def examined(
    recordings: Sequence[Recording], shortest: float, workers: int, lossy: bool = False
) -> tuple[list[Recording], list[UnusableError]]:
    """Examine recordings, and return those that can be used and the errors of the others."""
    jobs = [(recording.path, shortest, lossy) for recording in recordings]
    errors = dict(run(rejection, jobs, workers, "recordings"))
    usable = [recording for recording in recordings if errors[recording.path] is None]
    return usable, [error for _, error in sorted(errors.items()) if error is not None]


def parse_scores(materials: Materials, renders: Sequence[int], work: Path, workers: int) -> None:
    """Convert the scores that the renders need to MIDI, so that no two renders parse the same score."""
    drawn = {piece.origin: piece for piece in map(materials.piece, renders) if piece.file is not None}
    for _ in run(functools.partial(parse_score, cache=work / "scores"), list(drawn.values()), workers, "scores"):
        pass


def parse_score(piece: Piece, cache: Path) -> None:
    """Convert a score into the cache. An error is left to the renders that need the score."""
    with contextlib.suppress(ValueError):
        piece.midi(cache)


def go_on(work: Any, needed: Sequence[int], journal: Journal, folder: Path, workers: int, title: str) -> None:
    """Do the jobs that the journal does not have, or whose file is gone.

    Args:
        work (callable): does the job of a number, and returns its row of the journal.
        folder (`Path`): where the files are.
    """
    there = {path.name for path in folder.iterdir()}
    done = {number for number, row in journal.rows.items() if "skipped" in row or row["file"] in there}
    for row in run(work, [number for number in needed if number not in done], workers, title):
        journal.add(row)


def count_clips(rows: Sequence[dict[str, Any]], bad: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Count clips by source, split and licence, and what was left out by kind, see `build`."""
    bad = list(dict.fromkeys(bad))  # all renders of a damaged score give the same reason
    summary: dict[str, Any] = {"clips": len(rows), "hours": round(len(rows) * CLIP_SECONDS / 3600, 4)}
    for name in ("source", "split", "license"):
        summary[name] = dict(Counter(row[name] for row in rows).most_common())
    summary["skipped"] = dict(Counter(kind for kind, _ in bad).most_common())
    summary["reasons"] = [reason for _, reason in bad]
    return summary


def list_materials(rows: Sequence[dict[str, Any]], materials: Materials) -> list[dict[str, Any]]:
    """Describe every piece, recording, sample and soundfont that is in a clip: the rows of materials.csv."""
    uses: dict[str, Counter[str]] = {}
    for row in rows:
        for origin in row["origin"].split(" + "):
            uses.setdefault(origin, Counter())[row["split"]] += 1
    known: list[tuple[str, str, str, str, str]] = [
        (piece.origin, "score", piece.title, piece.license, piece.attribution) for piece in materials.pieces
    ]
    known += [(one.origin, one.source, one.title, one.license, one.attribution)
              for one in [*materials.recordings, *materials.samples]]  # fmt: skip
    known += [(one.path.name, "soundfont", one.path.stem, one.license, one.attribution) for one in materials.soundfonts]
    names = ("origin", "kind", "title", "license", "attribution", "split", "clips")
    return [
        dict(zip(names, (*one, " + ".join(sorted(uses[one[0]])), sum(uses[one[0]].values())), strict=True))
        for one in known
        if one[0] in uses
    ]


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows, which all have the same keys, as a CSV file."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue().encode())


def build_parser() -> argparse.ArgumentParser:
    parser = entry.Parser(
        prog="unlossy-train corpus",
        description="Build a corpus of clean clips of 4 s from free packages and your own files; goes on where an "
        "interrupted run stopped.",
        epilog="PLACE is a file or folder, followed by =LICENSE (of what no SOURCES.csv describes) and @WEIGHT (how "
        "often it is drawn; default 1) as needed: tunes/, tunes/=CC-BY-4.0, tunes/=CC-BY-4.0@2, tunes/@0.5.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the clips go")
    parser.add_argument(
        "--hours", type=entry.positive, default=6.0, help="of clips (default 6); more may be asked for later"
    )
    parser.add_argument(
        "--midi", type=parse_place, action="append", default=[], metavar="PLACE", help="MIDI files to play; repeatable"
    )
    parser.add_argument(
        "--source", type=parse_source, action="append", default=[], metavar="NAME=PLACE",
        help="lossless recordings from 44.1 kHz up; NAME is music, real, singing, speech, solo or rendered; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--soundfont", type=parse_place, action="append", default=[], metavar="PLACE",
        help="General MIDI soundfonts beside those of Debian's packages; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", nargs="+",
        action="extend", default=[], metavar="NAME",
        help="names of files, or patterns of names (loop_*), to leave out, such as those that you evaluate with",
    )  # fmt: skip
    parser.add_argument(
        "--lossy", action="store_true",
        help="take lossy recordings from 46 kbps a channel up, too, such as the music of free games: the treble above "
        "the edge that their codec left is not learned",
    )  # fmt: skip
    parser.add_argument(
        "--no-rendering", action="store_true",
        help="cut clips from the recordings of --source alone: without FluidSynth, and several times as fast",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="another one gives another corpus (default 0)")
    parser.add_argument("--workers", type=entry.whole(), default=os.cpu_count(), help="processes (default: one a core)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = build_parser().parse_args(arguments)
    request = Request(
        options.midi, options.source, options.soundfont, options.exclude, options.seed, options.lossy,
        rendering=not options.no_rendering,
    )  # fmt: skip
    try:
        summary = build(options.output, request, hours=options.hours, workers=options.workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = error.filename or options.output
        raise OSError(f"the disk with {full} is full; with some space freed the same command goes on") from error
    for name, value in summary.items():
        if name == "reasons":
            continue
        words = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        print(f"{name}: {words or 'nothing'}")
    print(f"reasons and all counts: {options.output / 'summary.json'}")
