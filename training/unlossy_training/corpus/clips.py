"""Makes one render, one sequence of samples or one clip of the corpus, from the materials, the seed and a number.

Nothing else decides what they are, so that a corpus can be extended: clip n is cut from renders with numbers around
n · RENDERS_PER_CLIP, which a longer corpus has, too.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from .arranging import vary
from .materials import Materials
from .mixing import finish, remix
from .recordings import SAMPLING_RATE, VALIDATION_SHARE, Recording, cut, is_silent, joined, write_flac
from .samples import arrange_samples
from .synthesis import synthesize

CLIP_SECONDS = 4.0
RENDER_SECONDS = 16.0
RENDERS_PER_CLIP = 0.15
SEQUENCES_PER_CLIP = 0.03
FIRST = 6  # renders, and sequences, that the first clips choose from
WINDOW = 200  # renders, and sequences, that a later clip chooses from
# Half of a corpus is mastered music, if it has any, because treble is best learned from that. Recordings are few and
# renders many, so recordings are drawn more often than their length would suggest.
SOURCE_SHARES = {
    **{"music": 1.0, "real": 0.13, "singing": 0.13, "speech": 0.12, "solo": 0.07},
    **{"rendered": 0.40, "remix": 0.15},
}
FOREGROUNDS = ("singing", "speech", "solo", "real")
LIMITED = {"remix": 0.7}  # probability of a limiter, where it is not the default of `finish`
ATTEMPTS = 10  # draws that may be silent before a clip is skipped


def renders_for(clips: int, rate: float) -> int:
    """How many renders (or sequences) some clips need, if each adds `rate` of them."""
    return FIRST + math.ceil(rate * clips) if clips else 0


def make_render(number: int, materials: Materials, work: Path) -> dict[str, Any]:
    """Play an arrangement of a piece into `work`/renders, and return its row of the journal: what it is, or why it was
    `skipped`."""
    piece = materials.piece(number)
    rng = np.random.default_rng([materials.seed, 6, number])
    shares = np.array([soundfont.share for soundfont in materials.soundfonts])
    soundfont = materials.soundfonts[int(rng.choice(len(shares), p=shares / shares.sum()))]
    try:
        arrangement = vary(piece.midi(work / "scores"), RENDER_SECONDS, rng)
        reverb, chorus = bool(rng.random() < 0.6), bool(rng.random() < 0.4)
        audio = synthesize(arrangement, soundfont.path, RENDER_SECONDS, reverb=reverb, chorus=chorus)
    except ValueError as error:
        return {"number": number, "skipped": "unplayable score", "reason": f"{piece.origin}: {error}"}
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < 1e-3:
        return {"number": number, "skipped": "silent render", "reason": f"{piece.origin}: a silent render"}
    name = f"render_{number:06d}.flac"
    write_flac(work / "renders" / name, audio * (10 ** (-1 / 20) / peak))
    return {
        "number": number,
        "file": name,
        "title": piece.title,
        "group": piece.group,
        "license": joined([piece.license, soundfont.license]),
        "attribution": joined([piece.attribution, soundfont.attribution]),
        "origin": joined([piece.origin, soundfont.path.name]),
    }


def make_sequence(number: int, materials: Materials, work: Path) -> dict[str, Any]:
    """Arrange samples in time into `work`/renders, and return the row of the journal that describes the result."""
    rng = np.random.default_rng([materials.seed, 7, number])
    held = [sample for sample in materials.samples if sample.group in materials.held]
    # A clip for validation needs a sequence of samples that are all held back: every eighth, so that it finds some.
    chosen = held if held and number % 8 == 7 else [one for one in materials.samples if one not in held]
    audio, used = arrange_samples(chosen, rng)
    name = f"sequence_{number:06d}.flac"
    write_flac(work / "renders" / name, audio * np.float32(10 ** (-1 / 20) / max(float(np.abs(audio).max()), 1e-6)))
    return {
        "number": number,
        "file": name,
        "title": joined(sample.title for sample in used),
        "group": used[0].group,
        "license": joined(sample.license for sample in used),
        "attribution": joined(sample.attribution for sample in used),
        "origin": joined(sample.origin for sample in used),
    }


def made(rows: dict[int, dict[str, Any]], clip: int, rate: float, source: str, work: Path) -> list[Recording]:
    """The renders (or sequences) that a clip chooses from.

    Args:
        rows (`dict`): rows of the journal of all renders (or sequences), by number.
        clip (`int`): number of the clip.
        rate (`float`): how many renders (or sequences) each clip adds.
        source (`str`): what they count as, see `SOURCE_SHARES`.
    """
    end = renders_for(clip + 1, rate)
    found = [rows[number] for number in range(max(0, end - WINDOW), end) if number in rows]
    return [
        Recording(
            path=work / "renders" / row["file"],
            source=source,
            title=row["title"],
            license=row["license"],
            group=row["group"],
            attribution=row["attribution"],
            origin=row["origin"],
        )
        for row in found
        if "file" in row
    ]


def make_clip(
    number: int,
    materials: Materials,
    renders: dict[int, dict[str, Any]],
    sequences: dict[int, dict[str, Any]],
    work: Path,
    output: Path,
) -> dict[str, Any]:
    """Make a clip, and return its row of the journal: what clips.csv needs, or why it was `skipped`."""
    rng = np.random.default_rng([materials.seed, 2, number])
    frames = int(CLIP_SECONDS * SAMPLING_RATE)
    available = [
        *materials.recordings,
        *made(renders, number, RENDERS_PER_CLIP, "rendered", work),
        *made(sequences, number, SEQUENCES_PER_CLIP, "real", work),
    ]
    # The number decides and not chance, so that the smallest corpus has some, too.
    split = "validation" if materials.held and number % round(1 / VALIDATION_SHARE) == 0 else "train"
    usable = [one for one in available if (one.group in materials.held) == (split == "validation")]
    if not usable:
        split, usable = ("train", available) if split == "validation" else ("validation", available)
    by_source = {source: [one for one in usable if one.source == source] for source in SOURCE_SHARES}
    shares = source_shares(by_source)
    if not shares:
        return {"number": number, "skipped": "nothing to cut from", "reason": f"clip {number} has nothing to cut from"}
    source = str(rng.choice(list(shares), p=np.array(list(shares.values()))))
    foregrounds = {name: shares[name] for name in FOREGROUNDS if name in shares}

    def draw(source: str) -> tuple[Recording, np.ndarray]:
        weights = np.array([recording.weight for recording in by_source[source]])
        recording = by_source[source][int(rng.choice(len(weights), p=weights / weights.sum()))]
        return recording, cut(recording.path, frames, rng)

    for _ in range(ATTEMPTS):
        if source == "remix":
            voice_source = str(rng.choice(list(foregrounds)))
            (voice_from, voice), (backing_from, backing) = draw(voice_source), draw("rendered")
            if is_silent(voice) or is_silent(backing):
                continue
            audio, parts = remix(voice, backing, rng), [voice_from, backing_from]
        else:
            recording, audio = draw(source)
            if is_silent(audio):
                continue
            parts = [recording]
        audio = finish(audio, rng, limited=LIMITED.get(source, 0.3))
        if is_silent(audio):  # as channels of opposite polarity are in mono
            continue
        name = f"{number:06d}.flac"
        write_flac(output / name, audio)
        columns = ("title", "license", "genre", "attribution", "origin")
        cells = {column: joined(getattr(part, column) for part in parts) for column in columns}
        return {"number": number, "file": name, "source": source, "split": split, **cells}
    return {"number": number, "skipped": "silent", "reason": f"clip {number}, {source}: {ATTEMPTS} draws were silent"}


def source_shares(by_source: dict[str, list[Recording]]) -> dict[str, float]:
    """The probability of each source that has recordings.

    The weights of its recordings count, so that a folder with weight 2 is drawn twice as often as with weight 1 even if
    it is the only one of its source.
    """
    shares = {
        source: SOURCE_SHARES[source] * sum(one.weight for one in found) / len(found)
        for source, found in by_source.items()
        if found
    }
    if "rendered" in shares and set(shares) & set(FOREGROUNDS):
        shares["remix"] = SOURCE_SHARES["remix"]
    total = sum(shares.values())
    return {source: share / total for source, share in shares.items()}
