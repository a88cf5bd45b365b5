"""Reading tags, pictures and chapters with mutagen, in terms of no format.

What mutagen doesn't read (Matroska, WMA, the tags of WAV and AIFF that are not ID3), FFmpeg does, with one value a
field. What belongs to the old file, such as its encoder, stays with it.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from .container_unlossy import open_input
from .tags_unlossy import (
    FFMPEG_NAMES,
    FRONT_COVER,
    ID3_ROLES,
    Chapter,
    Picture,
    Tags,
    id3_names,
    inspect_picture,
    mp4_names,
)

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]
try:
    import mutagen
    from mutagen import apev2, flac, id3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave
    from mutagen.aiff import AIFF
except ImportError:
    mutagen = None  # type: ignore[assignment]
try:
    import chardet
except ImportError:
    chardet = None  # type: ignore[assignment]

_OTHER = 0
_ID3V1_SIZES = (28, 30)  # [bytes] of its fields
_NAMED = 4  # how many fields that are left out a sentence names

# Fields that describe the file they came from and would be wrong in another one. (FFmpeg has `language` from a stream,
# mostly as "und"; that of other sources is the music's.)
_OF_THE_FILE = {
    *("encoder", "encodersettings", "encoder_options", "tsse", "tlen", "length", "tden", "tflt", "tdly", "tsiz"),
    *("itunsmpb", "itunpgap", "encoding params", "metadata_block_picture", "waveformatextensible_channel_mask"),
}
_OF_FFMPEG = {"major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "creation_time"}
_OF_FFMPEG |= {"language", "duration", "bps", "number_of_frames", "number_of_bytes", "isvbr"}
_OF_FFMPEG |= {"wmfsdkversion", "wmfsdkneeded", "deviceconformancetemplate", "uniquefileidentifier", "wmcontentid"}
_OF_FFMPEG |= {"mediaclassprimaryid", "mediaclasssecondaryid", "wmcollectionid", "wmcollectiongroupid", "provider"}
_LOUDNESS = re.compile("replaygain_|r128_|mp3gain_|itunnorm|rva[d2]|rgad|xrva|peakvalue|averagelevel")
_CHAPTER = re.compile(r"chapter\d{3}(name|url)?")
_PRIVATE = ("id3v2_priv.", "_statistics")  # how names of FFmpeg's begin that mean nothing to others
_APE = {"track": "tracknumber", "disc": "discnumber", "year": "date", "album artist": "albumartist"}
_APE |= {"mixartist": "remixer", "weblink": "website"}


class _Found:
    """What has been read so far."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}
        self.pictures: list[Picture] = []
        self.left_out: list[str] = []  # data of other programs, by name
        self.remarks: list[str] = []
        self.has_loudness = False

    def add(self, name: str, values: Iterable[object]) -> None:
        name = name.lower()
        if _LOUDNESS.match(name):
            self.has_loudness = True
        elif name and name not in _OF_THE_FILE and not _CHAPTER.fullmatch(name):
            texts = [text for text in (str(value).strip("\0") for value in values) if text.strip()]
            known = self.fields.get(name, [])
            if texts:
                self.fields[name] = list(dict.fromkeys([*known, *texts]))

    def add_picture(self, data: bytes, kind: int = FRONT_COVER, description: str = "") -> None:
        try:
            self.pictures.append(inspect_picture(data, kind, description.strip()))
        except ValueError:
            self.remarks.append("a damaged picture is left out")

    def complete(self, other: _Found) -> None:
        """Take what another kind of tags has and this one hasn't."""
        new = {name: values for name, values in other.fields.items() if name not in self.fields}
        self.fields |= new
        if new:
            self.remarks += other.remarks
        self.pictures = self.pictures or other.pictures
        self.left_out += other.left_out
        self.has_loudness = self.has_loudness or other.has_loudness

    def leave_out(self, name: str) -> None:
        if _LOUDNESS.match(name.lower()):
            self.has_loudness = True
        else:
            self.left_out.append(name)


def read_tags(
    file: Path | BinaryIO, container: av.container.InputContainer, stream: av.AudioStream
) -> tuple[Tags, list[str]]:
    """Read what a file says about its music.

    Args:
        file (`Path` or a seekable file object, which keeps its place).
        container, stream: of PyAV, of the same file.

    Returns:
        [`Tags`], and a remark on each thing that is left out, or might be read wrongly.
    """
    # A track of Matroska has a title of its own, such as "Stereo"; Ogg has all its tags there.
    both = {**stream.metadata, **container.metadata}
    flat = {name.lower().removeprefix("wm/"): text for name, text in both.items()}
    flat = {name: text for name, text in flat.items() if name not in _OF_FFMPEG and not name.startswith(_PRIVATE)}
    if mutagen is None:
        # mypy has found it.
        is_empty = not flat.keys() - _OF_THE_FILE  # type: ignore[unreachable]
        return Tags(), [] if is_empty else ["its tags are left out, which mutagen reads: pip install mutagen"]
    place = None if isinstance(file, Path) else file.tell()
    found = _Found()
    reader = _READERS.get(container.format.name)
    try:
        if reader is not None:
            reader(file, found)
    except (mutagen.MutagenError, MemoryError) as error:  # mutagen reads as much as a damaged length says
        reason = error if isinstance(error, mutagen.MutagenError) else "they claim more than there is memory for"
        found.remarks.append(f"some of its tags may be lost, which are damaged: {reason}")
        reader = None
    texts, code_page = _decode(flat.values())
    _complete(found, dict(zip(flat, texts, strict=True)))
    if reader is None:
        _read_attached(file, found)
    if place is not None and not isinstance(file, Path):
        file.seek(place)
    if code_page:
        found.remarks.append(_describe_code_page(code_page))
    if len(found.pictures) == 1 and found.pictures[0].kind == _OTHER:
        found.pictures = [found.pictures[0]._replace(kind=FRONT_COVER)]
    return Tags(found.fields, tuple(found.pictures), _read_chapters(container)), _describe(found)


def _complete(found: _Found, flat: dict[str, str]) -> None:
    """Add from FFmpeg's dictionary what mutagen hasn't found or couldn't decode, and split "3/12"."""
    is_only_source = not found.fields
    found.has_loudness = found.has_loudness or any(map(_LOUDNESS.match, flat))
    for ffmpeg_name, text in flat.items():
        name = FFMPEG_NAMES.get(ffmpeg_name, ffmpeg_name)
        if "\ufffd" in "".join(found.fields.get(name, [])):
            del found.fields[name]
        is_new = name not in found.fields and ffmpeg_name not in found.fields
        if is_new and (is_only_source or ffmpeg_name in FFMPEG_NAMES):
            found.add(name, [text])
    for name in ("track", "disc"):
        number, slash, total = found.fields.get(f"{name}number", [""])[0].partition("/")
        if slash:
            found.fields[f"{name}number"] = [number.strip()]
            found.fields.setdefault(f"{name}total", [total.strip()])


def _describe(found: _Found) -> list[str]:
    remarks = list(dict.fromkeys(found.remarks))
    if found.has_loudness:
        remarks.append("its ReplayGain is left out, since the restored audio may have another level")
    if found.left_out:
        remarks.append(f"data of other programs is left out: {_enumerate(list(dict.fromkeys(found.left_out)))}")
    return remarks


def _enumerate(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _decode(texts: Iterable[str], encoding: str = "utf-8") -> tuple[list[str], str | None]:
    """Decode texts anew of which some were not in their encoding.

    Args:
        texts: as decoded by it; where that failed, with surrogates in place of bytes.
        encoding (`str`, defaults to `"utf-8"`): the wrong one.

    Returns:
        the texts, and the code page if it is a guess.
    """
    texts = list(texts)
    raw: dict[str, bytes] = {}
    for text in texts:
        try:
            text.encode("ascii" if encoding == "latin-1" else encoding)
        except UnicodeEncodeError:
            raw[text] = text.encode(encoding, "surrogateescape")
    for code_page in (*_candidates(b" ".join(raw.values())), "latin-1"):
        try:
            decoded = {text: _decode_bytes(data, code_page) for text, data in raw.items()}
        except (UnicodeDecodeError, LookupError):
            continue
        is_guess = code_page not in ("utf-8", "cp1252", "latin-1")
        return [decoded.get(text, text) for text in texts], code_page if is_guess else None
    raise AssertionError("Latin-1 decodes everything")


def _decode_bytes(data: bytes, code_page: str) -> str:
    try:
        return data.decode(code_page)
    except UnicodeDecodeError:
        if len(data) not in _ID3V1_SIZES:
            raise
        text = codecs.getincrementaldecoder(code_page)().decode(data)  # the last letter may be cut
        if text.isascii():
            raise
        return text


def _candidates(raw: bytes) -> list[str]:
    """Encodings to try. That which chardet guesses is one only where four letters that are not ASCII follow upon one
    another: in a Western language that hardly happens, and a few bytes of one often look like something else."""
    guess = None
    if chardet is not None and re.search(rb"[\x80-\xff]{4}", raw):
        guess = chardet.detect(raw)["encoding"]
    return ["utf-8", *([guess] if guess else []), "cp1252"]


def _describe_code_page(code_page: str) -> str:
    return f"its tags don't say in which code page they are: taken for {code_page}"


# Reading with mutagen: one function for each kind of tags.


def _read_flac(file: Path | BinaryIO, found: _Found) -> None:
    audio = flac.FLAC(_at_start(file))
    _take_comments(audio.tags, audio.pictures, found)


def _read_ogg(file: Path | BinaryIO, found: _Found) -> None:
    kinds = [oggvorbis.OggVorbis, oggopus.OggOpus, oggspeex.OggSpeex, oggflac.OggFLAC]
    audio = mutagen.File(_at_start(file), options=kinds)
    if audio is not None:
        _take_comments(audio.tags, [], found)


def _take_comments(tags: Any, pictures: list[Any], found: _Found) -> None:
    comments = {} if tags is None else tags.as_dict()
    for name, texts in comments.items():
        found.add(name, texts)
    pictures = list(pictures)
    for text in comments.get("metadata_block_picture", []):
        try:
            pictures.append(flac.Picture(base64.b64decode(text)))
        except (ValueError, flac.error):
            found.remarks.append("a damaged picture is left out")
    for picture in pictures:
        found.add_picture(picture.data, picture.type, picture.desc)


def _read_mp4(file: Path | BinaryIO, found: _Found) -> None:
    tags: Any = mp4.MP4(_at_start(file)).tags or {}
    for number, picture in enumerate(tags.pop("covr", [])):
        found.add_picture(bytes(picture), _OTHER if number else FRONT_COVER)  # MP4 doesn't say which is which
    names = mp4_names()
    for name in list(names.Get):
        try:
            found.add(name, names.Get[name](tags, name))
            names.Delete[name](tags, name)
        except KeyError:
            continue
    for atom, values in tags.items():
        name = atom.split(":", 2)[-1]
        try:
            if not atom.startswith("----:"):
                raise UnicodeError
            found.add(name, [value.decode() for value in values])
        except UnicodeError:
            if atom != "©too":  # the encoder
                found.leave_out(name)


def _read_wav(file: Path | BinaryIO, found: _Found) -> None:
    _read_chunk(wave.WAVE, file, found)


def _read_aiff(file: Path | BinaryIO, found: _Found) -> None:
    _read_chunk(AIFF, file, found)


def _read_chunk(kind: Callable[[Any], Any], file: Path | BinaryIO, found: _Found) -> None:
    try:
        tags = kind(_at_start(file)).tags
    except mutagen.MutagenError:  # mostly for what is odd in the other chunks
        _read_attached(file, found)
        return
    if tags is not None:
        _take_id3(tags, found)


def _read_id3_or_ape(file: Path | BinaryIO, found: _Found) -> None:
    """The tags of MP3 and of formats that have none of their own: ID3v2, and what only APEv2 or ID3v1 has."""
    ape, both = _Found(), _Found()
    with contextlib.suppress(id3.ID3NoHeaderError):
        _take_id3(id3.ID3(_at_start(file), load_v1=False), found)
    with contextlib.suppress(apev2.APENoHeaderError):
        _take_ape(apev2.APEv2(_at_start(file)), ape)
    with contextlib.suppress(id3.ID3NoHeaderError):
        _take_id3(id3.ID3(_at_start(file)), both)
    found.complete(ape)
    found.complete(both)


def _take_id3(tags: Any, found: _Found) -> None:
    _decode_latin_1(tags, found)
    names = id3_names()
    for name in list(names.Get):
        try:
            found.add(name, names.Get[name](tags, name))
            names.Delete[name](tags, name)
        except (KeyError, ValueError):
            continue
    frame: Any
    for frame in tags.values():
        kind = frame.FrameID
        if kind == "APIC":
            found.add_picture(frame.data, int(frame.type), frame.desc)
        elif kind == "COMM":
            found.add("comment" if frame.desc in ("", "ID3v1 Comment") else frame.desc, frame.text)
        elif kind == "USLT":
            found.add("lyrics", [frame.text])
        elif kind in ("TMCL", "TIPL"):
            for role, person in frame.people:
                if kind == "TIPL" and role in ID3_ROLES:
                    found.add(ID3_ROLES[role], [person])
                else:
                    found.add("performer", [f"{person} ({role})"])
        elif kind == "TXXX":
            found.add(frame.desc, frame.text)
        elif kind == "WXXX":
            found.add(frame.desc or "url", [frame.url])
        elif issubclass(type(frame), id3.TextFrame):
            found.add(kind, frame.text)
        elif issubclass(type(frame), id3.UrlFrame):
            found.add(kind, [frame.url])
        elif kind in ("CHAP", "CTOC"):
            for part in frame.sub_frames.values():
                if part.FrameID != "TIT2":
                    found.leave_out(f"{part.FrameID} of chapters")
        else:
            of_whom = getattr(frame, "owner", "") or getattr(frame, "desc", "")
            found.leave_out(f"{kind} ({of_whom})" if of_whom else kind)


def _decode_latin_1(tags: Any, found: _Found) -> None:
    """Many programs have put their own code page where Latin-1 belongs."""
    frames = [frame for frame in tags.values() if getattr(frame, "encoding", None) == id3.Encoding.LATIN1]
    places = [(frame, frame.text) for frame in frames if getattr(frame, "text", None)]
    texts = [text for _, value in places for text in ([value] if isinstance(value, str) else value)]
    texts = [text for text in texts if isinstance(text, str)]
    decoded, code_page = _decode(texts, "latin-1")
    right = dict(zip(texts, decoded, strict=True))
    for frame, value in places:
        if isinstance(value, str):
            frame.text = right[value]
        else:
            frame.text = [right.get(text, text) if isinstance(text, str) else text for text in value]
    if code_page:
        found.remarks.append(_describe_code_page(code_page))


def _take_ape(tags: Any, found: _Found) -> None:
    for key, value in tags.items():
        name = _APE.get(key.lower(), key.lower())
        if value.kind == apev2.BINARY:
            if key.lower().startswith("cover art"):
                title, _, data = value.value.partition(b"\0")
                kind = {"cover art (front)": FRONT_COVER, "cover art (back)": FRONT_COVER + 1}.get(key.lower(), _OTHER)
                found.add_picture(data, kind, title.decode(errors="replace"))
            else:
                found.leave_out(key)
        else:
            found.add(name, value)


_READERS: dict[str, Callable[[Path | BinaryIO, _Found], None]] = {  # by FFmpeg's names
    "flac": _read_flac,
    "ogg": _read_ogg,
    "mov,mp4,m4a,3gp,3g2,mj2": _read_mp4,
    "wav": _read_wav,
    "aiff": _read_aiff,
    **dict.fromkeys(("mp3", "aac", "ac3", "eac3", "tta", "ape", "wv", "mpc", "mpc8", "tak"), _read_id3_or_ape),
}


def _at_start(file: Path | BinaryIO) -> Path | BinaryIO:
    if not isinstance(file, Path):
        file.seek(0)
    return file


# Reading with FFmpeg.


def _read_attached(file: Path | BinaryIO, found: _Found) -> None:
    with contextlib.suppress(av.FFmpegError), open_input(_at_start(file)) as container:
        attached = av.stream.Disposition.attached_pic
        pictures = [stream for stream in container.streams.video if stream.disposition & attached]
        if not pictures:
            return
        for number, packet in enumerate(itertools.islice(container.demux(pictures), len(pictures))):
            found.add_picture(bytes(packet), _OTHER if number else FRONT_COVER)


def _read_chapters(container: av.container.InputContainer) -> tuple[Chapter, ...]:
    chapters = sorted(container.chapters(), key=lambda chapter: chapter["start"] * (chapter["time_base"] or 0))
    titles, _ = _decode(chapter["metadata"].get("title", "") for chapter in chapters)
    return tuple(
        Chapter(float(chapter["start"] * unit), float(chapter["end"] * unit), title)
        for chapter, title in zip(chapters, titles, strict=True)
        if (unit := chapter["time_base"])
    )


__all__ = ["read_tags"]
