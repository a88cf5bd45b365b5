"""Writing tags, pictures and chapters with mutagen into what FFmpeg has encoded, in each format's own way."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .tags_unlossy import FFMPEG_NAMES, FRONT_COVER, ID3_ROLES, Picture, Tags, id3_names, mp4_names

try:
    import mutagen
    from mutagen import flac, id3, mp3, mp4, oggopus, wave
except ImportError:
    mutagen = None  # type: ignore[assignment]

_LARGEST = 2**24 - 2**12  # [bytes] of a picture, and of all text: what a block of FLAC holds
_ALL_PICTURES = 5 * _LARGEST  # [bytes] in base64, an Opus header of more than 120 MiB may be refused (RFC 7845, 5)
_LARGEST_WAV = 2**32 - 2 * _ALL_PICTURES  # [bytes] what is larger has no room for a chunk of tags
_MP4_PICTURES = {"image/jpeg": 13, "image/png": 14, "image/bmp": 27}
_NUMBERS = 999  # of chapters: they have three digits
_LISTED = 200  # chapters in a table of contents of ID3, which holds 255 with the tables that follow it
_FREEFORM = "----:com.apple.iTunes:"


def fit_tags(tags: Tags, format: str) -> tuple[Tags, list[str]]:
    """What of the tags a format ("wav", "flac", "mp3", "opus" or "m4a") holds, and a remark on each thing left out."""
    remarks: list[str] = []
    fields = dict(tags.fields)
    if mutagen is None:
        # mypy has found it.
        remark = "its tags are left out, which mutagen writes: pip install mutagen"  # type: ignore[unreachable]
        return Tags(), [remark] if tags else []

    def size(name: str) -> int:
        return sum(len(name) + len(value.encode()) + 8 for value in fields[name])

    while sum(map(size, fields)) > _LARGEST:
        longest = max(fields, key=size)
        remarks.append(f"{longest!r} is left out, which is too long")
        del fields[longest]
    pictures: list[Picture] = []
    for picture in tags.pictures:
        if len(picture.data) > _LARGEST or sum(len(kept.data) for kept in (*pictures, picture)) > _ALL_PICTURES:
            remarks.append(f"a picture of {len(picture.data) / 1e6:.0f} MB is left out, which is too large")
        elif format == "m4a" and picture.mime not in _MP4_PICTURES:
            remarks.append(f"a picture is left out, since M4A holds no {picture.mime}")
        else:
            pictures.append(picture)
    chapters = tags.chapters
    if format in ("flac", "opus") and len(chapters) > _NUMBERS:
        remarks.append(f"only {_NUMBERS} of {len(chapters)} chapters fit in")
        chapters = chapters[:_NUMBERS]
    return Tags(fields, tuple(pictures), chapters), remarks


def flatten(tags: Tags) -> dict[str, str]:
    """The tags that FFmpeg writes into a WAV file, for programs that read no ID3 there."""
    names = ("title", "artist", "album", "genre", "date", "comment", "copyright", "track")
    values = {name: tags.fields.get(FFMPEG_NAMES[name], []) for name in names}
    return {name: "; ".join(texts) for name, texts in values.items() if texts}


def write_tags(file: Path | BinaryIO, format: str, tags: Tags) -> str | None:
    """Put tags that fit into a finished file ("wav", "flac", "mp3", "opus" or "m4a"); the chapters of M4A are FFmpeg's.

    Returns:
        a remark if there was no room.

    Raises:
        OSError: the file can't be written.
    """
    if not tags:
        return None
    if format == "wav" and isinstance(file, Path) and file.stat().st_size > _LARGEST_WAV:
        return "all but the basic tags are left out, since a WAV file of 4 GB has no room for them"
    kind, write = {
        "wav": (wave.WAVE, _write_id3),
        "flac": (flac.FLAC, _write_flac),
        "mp3": (mp3.MP3, _write_id3),
        "opus": (oggopus.OggOpus, _write_opus),
        "m4a": (mp4.MP4, _write_mp4),
    }[format]
    try:
        audio: Any = kind(file)
        if audio.tags is None:
            audio.add_tags()
        write(audio, tags)
        if not isinstance(file, Path):
            file.seek(0)
        audio.save(file)
    except mutagen.MutagenError as error:
        raise OSError(f"its tags: {error}") from error
    return None


def _write_flac(audio: Any, tags: Tags) -> None:
    _write_comments(audio, tags)
    for picture in tags.pictures:
        audio.add_picture(_flac_picture(picture))


def _write_opus(audio: Any, tags: Tags) -> None:
    _write_comments(audio, tags)
    blocks = [base64.b64encode(_flac_picture(picture).write()).decode() for picture in tags.pictures]
    if blocks:
        audio.tags["METADATA_BLOCK_PICTURE"] = blocks


def _write_comments(audio: Any, tags: Tags) -> None:
    for name, values in tags.fields.items():
        audio.tags[re.sub(r"[^ -<>-}]", "_", name).upper()] = values
    for number, chapter in enumerate(tags.chapters, 1):
        minutes, seconds = divmod(chapter.start, 60)
        audio.tags[f"CHAPTER{number:03}"] = f"{minutes // 60:02.0f}:{minutes % 60:02.0f}:{seconds:06.3f}"
        audio.tags[f"CHAPTER{number:03}NAME"] = chapter.title


def _flac_picture(picture: Picture) -> Any:
    block = flac.Picture()
    block.data, block.mime, block.type, block.desc = picture.data, picture.mime, picture.kind, picture.description
    block.width, block.height, block.depth = picture.width, picture.height, 24
    return block


def _write_id3(audio: Any, tags: Tags) -> None:
    names, frames = id3_names(), audio.tags
    fields = _join_totals(tags.fields)
    if lyrics := fields.pop("lyrics", []):
        frames.add(id3.USLT(encoding=3, lang="XXX", desc="", text="\n\n".join(lyrics)))
    if comments := fields.pop("comment", []):
        frames.add(id3.COMM(encoding=3, lang="XXX", desc="", text=comments))
    players = [re.fullmatch(r"(.*) \(([^()]*)\)", text, re.DOTALL) for text in fields.get("performer", [])]
    if players and all(players):
        del fields["performer"]
        frames.add(id3.TMCL(encoding=3, people=[[player[2], player[1]] for player in players if player]))
    people = [[role, person] for role, name in ID3_ROLES.items() for person in fields.pop(name, [])]
    if people:
        frames.add(id3.TIPL(encoding=3, people=people))
    for name, values in fields.items():
        try:
            names.Set[name](frames, name, values)
        except (KeyError, ValueError):
            kind = id3.Frames.get(name.upper())
            if kind is not None and issubclass(kind, id3.UrlFrame) and kind is not id3.WXXX:
                frames.add(kind(url=values[0]))
            elif kind is not None and issubclass(kind, id3.TextFrame) and kind not in (id3.TXXX, id3.COMM):
                frames.add(kind(encoding=3, text=values))
            else:
                frames.add(id3.TXXX(encoding=3, desc=name.upper(), text=values))
    descriptions: Counter[str] = Counter()
    for picture in tags.pictures:
        # What tells pictures apart is their descriptions, which are mostly empty.
        description = picture.description + " " * descriptions[picture.description]
        descriptions[picture.description] += 1
        frames.add(id3.APIC(encoding=3, mime=picture.mime, type=picture.kind, desc=description, data=picture.data))
    for number, chapter in enumerate(tags.chapters):
        title = id3.TIT2(encoding=3, text=[chapter.title])
        start, end = round(1000 * chapter.start), round(1000 * chapter.end)
        frames.add(id3.CHAP(element_id=f"ch{number}", start_time=start, end_time=end, sub_frames=[title]))
    names_of_chapters = [f"ch{number}" for number in range(len(tags.chapters))]
    flags = id3.CTOCFlags.ORDERED
    parts = [names_of_chapters[start : start + _LISTED] for start in range(0, len(tags.chapters), _LISTED)]
    for number, part in enumerate(parts[1:], 1):
        frames.add(id3.CTOC(element_id=f"toc{number}", flags=flags, child_element_ids=part, sub_frames=[]))
    if parts:
        children = [*parts[0], *(f"toc{number}" for number in range(1, len(parts)))]
        flags |= id3.CTOCFlags.TOP_LEVEL
        frames.add(id3.CTOC(element_id="toc", flags=flags, child_element_ids=children, sub_frames=[]))


def _write_mp4(audio: Any, tags: Tags) -> None:
    names = mp4_names()
    for name, values in _join_totals(tags.fields).items():
        try:
            names.Set[name](audio.tags, name, values)
        except (KeyError, ValueError):
            audio.tags[_FREEFORM + name.upper()] = [value.encode() for value in values]
    # The first is what players show.
    pictures = sorted(tags.pictures, key=lambda picture: picture.kind != FRONT_COVER)
    if pictures:
        audio.tags["covr"] = [mp4.MP4Cover(picture.data, _MP4_PICTURES[picture.mime]) for picture in pictures]


def _join_totals(fields: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """ "3" of "12" as "3/12"."""
    joined = dict(fields)
    for name in ("track", "disc"):
        totals = [joined.pop(key) for key in (f"{name}total", f"total{name}s") if key in joined]
        if totals:
            joined[f"{name}number"] = [f"{joined.get(f'{name}number', ['0'])[0]}/{totals[0][0]}"]
    return joined


__all__ = ["fit_tags", "flatten", "write_tags"]
