"""The scores of a corpus: public-domain ones in the package music21, folders of MIDI files, and composed pieces.

    for piece in [*corpus_pieces(), *midi_pieces(Path("tunes/"), "CC-BY-4.0")]:
        midi = piece.midi(cache)

music21 (https://music21.org) carries a corpus of some 3,000 scores "distributed with the permission of the encoders
…; some encodings may not be used for commercial uses or have other restrictions: please see the licenses embedded in
individual compositions or directories" (its corpus/license.txt). So only those are taken

- whose composer has been dead for 70 years or is unknown, and
- whose file itself states a licence that lets everybody redistribute and sell what is made of it.

These are few (`CORPUS`, below). What is left out (state of music21 10.5):

| collection | what is stated |
|---|---|
| bach (chorales) | "© 2004 Margaret Greentree, used by permission"; 3 by CCARH, "rights … reserved" |
| essenFolksong | "permission for non-commercial distribution and use" |
| palestrina | "Rights to all derivative electronic formats reserved", under a licensing agreement |
| monteverdi | nothing, or "© UT Orpheus Edizioni 2003" |
| josquin | GPL-2.0-or-later: a licence for programs, whose duties (source code) a mix of recordings can't fulfil |
| airdsAirs, miscFolk, nottingham-dataset, oneills1850, ryansMammoth | nothing beyond the transcribers' names |
| beethoven, chopin, cpebach, handel, haydn, joplin, mozart | nothing |
| schubert, schumann_clara/…/movement3, schumann_robert, trecento, verdi | nothing, or "©" and no licence |
| demos, leadSheet/berlin…, schoenberg, theoryExercises | no music; "All Rights Reserved"; nothing; no music |
"""

import hashlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mido

from ..files import write_whole
from .arranging import DRUMS, Event, midi_file
from .composing import compose
from .recordings import group_of
from .sources_table import read_sources

BEAT = 0.6  # [s]: length of a quarter note if a score has no tempo
SUFFIXES = (".mid", ".midi")
FEWEST = 150  # pieces in a corpus. If there are fewer scores, pieces are composed


@dataclass(frozen=True)
class Piece:
    """A score that can be played: a MIDI file, a score of music21's corpus, or the seed of a composed piece."""

    title: str
    group: str  # all pieces of a group are in the same split
    license: str
    attribution: str
    origin: str
    file: Path | None = None  # without one, the piece is composed from `seed`
    seed: tuple[int, ...] = ()
    weight: float = 1.0  # how often it is drawn, compared with others

    def midi(self, cache: Path) -> mido.MidiFile:
        """Read or compose the notes. A score that takes long to parse is stored as MIDI in the folder `cache`.

        Raises:
            ValueError: the file is damaged or can't be parsed.
        """
        if self.file is None:
            return compose(self.seed)
        if self.file.suffix.lower() in SUFFIXES:
            return read_midi(self.file)
        kept = cache / f"{hashlib.sha256(str(self.origin).encode()).hexdigest()[:16]}.mid"
        if not kept.exists():
            data = io.BytesIO()
            convert(self.file).save(file=data)
            cache.mkdir(parents=True, exist_ok=True)
            write_whole(kept, data.getvalue())
        return mido.MidiFile(kept)


@dataclass(frozen=True)
class Entry:
    """A score of music21's corpus that is used, with what its file states."""

    path: str  # below music21/corpus
    work: str  # the same for all movements and parts of a work
    title: str
    license: str
    attribution: str


CUTHBERT = "encoded by Michael Scott Asato Cuthbert"
POLONAISES = "typeset by Cypressdome for IMSLP"
CORPUS = (
    # Amy Beach died in 1944; "Original out of Copyright (1915 …), most uses allowed for free (CC-SA-BY)"
    Entry("beach/prayer_of_a_tired_child.musicxml", "beach op. 75", "Beach: Prayer", "CC-BY-SA", CUTHBERT),
    # about 1370 to 1412; "freely distributed under a CC-BY-SA 3.0 license", both
    Entry("ciconia/quod_jactatur.xml", "ciconia", "Ciconia: Quod jactatur", "CC-BY-SA-3.0", CUTHBERT),
    Entry("luca/gloria.xml", "luca", "D. Luca: Gloria", "CC-BY-SA-3.0", CUTHBERT),
    # Corelli died in 1713; "© 2014, Creative Commons License (CC-BY)"
    Entry("corelli/opus3no1/1grave.xml", "corelli op. 3 no. 1", "Corelli: Grave", "CC-BY", CUTHBERT),
    # J. Rosamond Johnson died in 1954, James Weldon Johnson in 1938; "Public Domain (Encoding by MSAC: CC0)"
    Entry("johnson_j_r/lift_every_voice.mxl", "johnson lift", "Johnson: Lift every voice", "CC0-1.0", CUTHBERT),
    # Stephen Foster died in 1864; "Public Domain"
    Entry("leadSheet/fosterBrownHair.mxl", "foster jeanie", "Foster: Jeanie", "public domain", "encoded by Wikifonia"),
    # Liliʻuokalani died in 1917; "Now, Public Domain; Encoding by MSAC, CC0"
    Entry("liliuokalani/aloha_oe.mxl", "liliuokalani aloha", "Liliʻuokalani: Aloha ʻOe", "CC0-1.0", CUTHBERT),
    # Lusitano died after 1561; "released as CC0/Public Domain"
    Entry("lusitano/allor_che_ignuda.mxl", "lusitano allor", "Lusitano: Allor che ignuda", "CC0-1.0", CUTHBERT),
    # Clara Schumann died in 1896; "released under the CC BY-SA 4.0 license"
    *(
        Entry(
            f"schumann_clara/polonaise_op1n{number}.mxl",
            "clara schumann op. 1",
            f"Clara Schumann: Polonaise {number}",
            "CC-BY-SA-4.0",
            POLONAISES,
        )
        for number in range(1, 5)
    ),
    # Weber died in 1826; "Copyright © 1998 by Oliver Seely and assigned to the public domain"
    Entry(
        "weber/concertino_clarinet.mxl", "weber concertino", "Weber: Concertino", "public domain", "arr. Oliver Seely"
    ),
    # Webern died in 1945; "P.D. (Canada, EU), US from 2023; The edition CC-BY-SA"
    Entry("webern/webern_dormi_jesu_op_16_no_2.mxl", "webern op. 16", "Webern: Dormi Jesu", "CC-BY-SA", CUTHBERT),
)


def corpus_pieces() -> list[Piece]:
    """Find the scores of `CORPUS`.

    Raises:
        ValueError: music21 is not installed.
    """
    package = importlib.util.find_spec("music21")  # importing it takes seconds
    if package is None or package.origin is None:
        raise ValueError("the package music21, which carries the scores, is missing: pip install 'unlossy[train]'")
    folder = Path(package.origin).parent / "corpus"
    return [
        Piece(
            title=entry.title,
            group=f"music21 {entry.work}",
            license=entry.license,
            attribution=f"{entry.title.partition(':')[0]}, {entry.attribution}",
            origin=f"music21/corpus/{entry.path}",
            file=folder / entry.path,
        )
        for entry in CORPUS
    ]


def midi_pieces(folder: Path, license: str = "", weight: float = 1.0) -> list[Piece]:
    """Find the MIDI files of a folder, and describe them by the nearest table, see `sources_table`.

    Args:
        license (`str`, *optional*): licence of the files that no table describes. Without it, it is "unknown".

    Raises:
        ValueError: there are no MIDI files in the folder.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"there are no MIDI files in {folder}")
    described = read_sources(paths)
    pieces = []
    for path in paths:
        row = described.get(path.resolve(), {})
        pieces.append(
            Piece(
                title=path.stem,
                group=group_of(path.stem),
                license=row.get("license") or license or "unknown",
                attribution=row.get("attribution") or "",
                origin=row.get("origin") or f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}",
                file=path,
                weight=weight,
            )
        )
    return pieces


def composed_pieces(count: int, seed: int) -> list[Piece]:
    """Describe pieces that are composed when they are played, see `composing`."""
    return [
        Piece(
            title=f"made-up piece {seed}-{number:03d}",
            group=f"made-up piece {seed}-{number:03d}",
            license="CC0-1.0",
            attribution="",
            origin=f"unlossy_training.corpus.composing {seed}-{number:03d}",
            seed=(seed, 4, number),
        )
        for number in range(count)
    ]


def read_midi(path: Path) -> mido.MidiFile:
    """Read a MIDI file.

    Raises:
        ValueError: it is damaged, or of a kind that can't be played: independent tracks, or SMPTE time.
    """
    try:
        piece = mido.MidiFile(path, clip=True)
    except Exception as error:  # mido raises OSError, EOFError, LookupError and others
        raise ValueError(f"{path.name} is no MIDI file, or damaged: {error!r}") from error
    if piece.type == 2 or piece.ticks_per_beat <= 0:
        raise ValueError(f"{path.name} has independent tracks, or no beats (SMPTE time)")
    return piece


def convert(path: Path) -> mido.MidiFile:
    """Convert a score that music21 can read to MIDI.

    Each part gets a channel, and the first tempo holds throughout, or 100 beats a minute if the score has none.

    Raises:
        ValueError: the score can't be parsed, or has no notes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # music21 warns of unusual notation
        try:
            from music21 import converter

            score: Any = converter.parse(path, forceSource=True, storePickle=False)
            events = list(note_events(score))
        except Exception as error:  # music21's parsers raise all kinds of errors
            raise ValueError(f"music21 can't parse {path.name}: {type(error).__name__} {error}") from error
    if not events:
        raise ValueError(f"{path.name} has no notes")
    return midi_file(events)


def note_events(score: Any) -> Iterator[Event]:
    """Yield the starts and ends of the notes of a music21 score."""
    marks = [mark.getQuarterBPM() for mark in score.recurse().getElementsByClass("MetronomeMark")]
    beat = 60 / marks[0] if marks and marks[0] else BEAT
    channels = [channel for channel in range(16) if channel != DRUMS]
    for number, part in enumerate(score.parts or [score]):
        channel = channels[number % len(channels)]
        for element in part.flatten().stripTies().notes:
            start, end = (float(element.offset) * beat, float(element.offset + element.quarterLength) * beat)
            velocity = element.volume.velocity or 85
            for pitch in element.pitches if element.classes[0] != "ChordSymbol" else ():
                note = int(pitch.midi)
                yield start, mido.Message("note_on", channel=channel, note=note, velocity=int(velocity))
                # Grace notes have no length of their own.
                yield max(end, start + 0.08), mido.Message("note_off", channel=channel, note=note)
