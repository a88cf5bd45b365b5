"""What a file says about its music: tags, pictures and chapters, in terms of no format, and the names of fields.

Fields have the names that taggers use in Vorbis comments (https://picard-docs.musicbrainz.org/en/appendices/
tag_mapping.html).
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]
try:
    from mutagen import easyid3, easymp4
except ImportError:
    easyid3 = easymp4 = None  # type: ignore[assignment]

FRONT_COVER = 3  # of the kinds of pictures that ID3 and FLAC number alike
_MIMES = {"mjpeg": "image/jpeg"}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?Z?)?)?)?")

# FFmpeg's names, which are also looked for where mutagen has found tags: WAV and AIFF may have two kinds.
FFMPEG_NAMES = {name: name for name in ("title", "artist", "album", "genre", "date", "comment", "composer")}
FFMPEG_NAMES |= {"track": "tracknumber", "disc": "discnumber", "album_artist": "albumartist", "encoded_by": "encodedby"}
FFMPEG_NAMES |= {name: name for name in ("copyright", "description", "originator", "originator_reference", "umid")}
FFMPEG_NAMES |= {name: name for name in ("origination_date", "origination_time", "time_reference", "coding_history")}
FFMPEG_NAMES |= {"author": "artist", "artist-sort": "artistsort", "album-sort": "albumsort", "title-sort": "titlesort"}

# What mutagen's tables lack, or call otherwise than the taggers.
_ID3_TEXT = {
    "initialkey": "TKEY", "label": "TPUB", "remixer": "TPE4", "originalalbum": "TOAL", "originalartist": "TOPE",
    "originalfilename": "TOFN", "movementname": "MVNM", "movement": "MVIN", "releasedate": "TDRL",
}  # fmt: skip
_NOT_IN_ID3 = ("organization", "arranger", "performer:*", "replaygain_*_gain", "replaygain_*_peak")
ID3_ROLES = {
    "arranger": "arranger", "engineer": "engineer", "producer": "producer", "mix": "mixer", "DJ-mix": "djmixer",
}  # fmt: skip
_MP4_TEXT = {
    "composer": "©wrt", "lyrics": "©lyr", "conductor": "©con", "narrator": "©nrt", "work": "©wrk",
    "movementname": "©mvn", "show": "tvsh", "showsort": "sosn", "longdescription": "ldes", "keyword": "keyw",
    "podcasturl": "purl", "category": "catg",
}  # fmt: skip
_MP4_NUMBERS = {"movement": "©mvi", "movementtotal": "©mvc"}
_MP4_FLAGS = {"compilation": "cpil", "gapless": "pgap", "podcast": "pcst"}
_MP4_FREEFORM = {
    "musicbrainz_releasegroupid": "MusicBrainz Release Group Id", "musicbrainz_workid": "MusicBrainz Work Id",
    "musicbrainz_releasetrackid": "MusicBrainz Release Track Id", "musicbrainz_discid": "MusicBrainz Disc Id",
    "acoustid_id": "Acoustid Id", "acoustid_fingerprint": "Acoustid Fingerprint",
    "releasecountry": "MusicBrainz Album Release Country",
}  # fmt: skip


class Picture(NamedTuple):
    """A picture, as [`inspect_picture`] makes it."""

    data: bytes
    mime: str  # "image/jpeg", "image/png" …
    width: int  # [pixels]
    height: int
    kind: int = FRONT_COVER  # of ID3 and FLAC: 4 is the back cover, 8 the artist …
    description: str = ""


class Chapter(NamedTuple):
    """A part of a recording."""

    start: float  # [s]
    end: float  # [s]
    title: str


@dataclass(frozen=True)
class Tags:
    """What a file says about its music.

    Attributes:
        fields (`dict[str, list[str]]`): each with all its values. Names are lower-case, and those of Vorbis comments:
            "title", "artist", "albumartist", "tracknumber", "tracktotal", "date", "musicbrainz_albumid" …
        pictures (`tuple[Picture, ...]`), chapters (`tuple[Chapter, ...]`).
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields or self.pictures or self.chapters)


def inspect_picture(data: bytes, kind: int = FRONT_COVER, description: str = "") -> Picture:
    """
    Raises:
        ValueError: not a picture, or a damaged one.
    """
    try:
        with av.open(io.BytesIO(data), "r") as image:
            context = image.streams.video[0].codec_context
            mime = _MIMES.get(context.name, f"image/{context.name}")
            if context.width:
                return Picture(data, mime, context.width, context.height, kind, description)
    except (av.FFmpegError, IndexError):
        pass
    raise ValueError(f"{len(data)} bytes are not a picture, or a damaged one")


# Names of frames and atoms.


@functools.cache
def id3_names() -> Any:
    """mutagen's names of ID3's frames, and how to get and set them."""

    class Names(easyid3.EasyID3):
        Get, Set, Delete = dict(easyid3.EasyID3.Get), dict(easyid3.EasyID3.Set), dict(easyid3.EasyID3.Delete)

    for name in _NOT_IN_ID3:
        del Names.Get[name], Names.Set[name]
    for name, frame in _ID3_TEXT.items():
        Names.RegisterTextKey(name, frame)
    for name in ("date", "originaldate", "releasedate"):
        Names.RegisterKey(name, setter=functools.partial(_set_date, Names.Set[name]))
    return Names


def _set_date(setter: Callable[..., None], frames: Any, name: str, values: list[str]) -> None:
    if not all(_DATE.fullmatch(value) for value in values):
        raise ValueError(f"not all of {values} are dates of ID3")
    setter(frames, name, values)


@functools.cache
def mp4_names() -> Any:
    """mutagen's names of MP4's atoms, and how to get and set them."""

    class Names(easymp4.EasyMP4Tags):
        Get, Set = dict(easymp4.EasyMP4Tags.Get), dict(easymp4.EasyMP4Tags.Set)
        Delete = dict(easymp4.EasyMP4Tags.Delete)

    for name, atom in _MP4_TEXT.items():
        Names.RegisterTextKey(name, atom)
    for name, atom in _MP4_NUMBERS.items():
        Names.RegisterIntKey(name, atom)
    for name, key in _MP4_FREEFORM.items():
        Names.RegisterFreeformKey(name, key)
    for name, atom in _MP4_FLAGS.items():
        Names.RegisterKey(
            name,
            lambda tags, _, atom=atom: ["1"] if tags[atom] else [],
            lambda tags, _, values, atom=atom: tags.__setitem__(atom, values[0] not in ("0", "")),
            lambda tags, _, atom=atom: tags.__delitem__(atom),
        )
    return Names


__all__ = [
    "FFMPEG_NAMES", "FRONT_COVER", "ID3_ROLES", "Chapter", "Picture", "Tags", "id3_names", "inspect_picture",
    "mp4_names",
]  # fmt: skip
