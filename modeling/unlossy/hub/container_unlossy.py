"""What containers say about their audio: how long it is, where it begins, and whether all of it is there."""

from __future__ import annotations

import math
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from .gaps_unlossy import LONGEST_GAP, TOLERATED
from .layout_unlossy import is_sorted
from .mpeg_unlossy import xing_frames

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

_LARGEST_OGG_PAGE = 65_307  # [bytes]
_MOST_CHUNKS = 1000  # before the count of samples
_OPUS_RATE = 48_000  # [Hz] that delays are counted at

# How much [s] of what the file declares may be missing before it counts as truncated; other containers don't declare
# it.
_MISSING_ALLOWED = dict.fromkeys(("flac", "wav", "aiff", "au", "caf", "tta", "w64", "wv"), 0.05)
_MISSING_ALLOWED |= dict.fromkeys(("mov,mp4,m4a,3gp,3g2,mj2", "ogg", "matroska,webm", "asf", "avi", "flv", "mp3"), 0.1)
_MOST_PER_BYTE = 10_000  # samples, which even silence takes
_ONE_DURATION = ("matroska,webm", "asf", "flv")  # of all streams together


def open_input(file: Path | BinaryIO | Section) -> av.container.InputContainer:
    """Open a file with FFmpeg. Bytes of its tags that are not UTF-8 come as surrogates."""
    source: Any = os.path.abspath(file) if isinstance(file, Path) else file
    # Playlists are files too: nothing but local files may be opened through them.
    return av.open(source, "r", metadata_errors="surrogateescape", options={"protocol_whitelist": "file"})


def ogg_links(path: Path) -> list[tuple[int, int]]:
    """Where the links of a chained Ogg file begin and end [bytes], each a whole file with headers of its own.

    FFmpeg goes on from one to the next only while rate, channels and codec stay the same.
    """
    starts: list[int] = []
    was_first = False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = data.find(b"OggS")
        while 0 <= position <= len(data) - 27:
            # The streams of a video all begin before any goes on.
            is_first = bool(data[position + 5] & 2) and data[position + 18 : position + 22] == bytes(4)
            if is_first and not was_first:
                starts.append(position)
            was_first = is_first
            segments = data[position + 27 : position + 27 + data[position + 26]]
            position = data.find(b"OggS", position + 27 + len(segments) + sum(segments))
        return list(zip(starts, [*starts[1:], len(data)], strict=True))


class Section:
    """A part of a file, as a file object for FFmpeg.

    Args:
        path (`Path`): the file.
        start, stop (`int`): where the part begins and ends [bytes].
    """

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._file = path.open("rb")
        self._start, self._stop = start, stop
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        left = self._stop - self._file.tell()
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (self._start, self._file.tell(), self._stop)[whence]
        self._file.seek(max(base + offset, self._start))
        return self.tell()

    def tell(self) -> int:
        return self._file.tell() - self._start

    def close(self) -> None:
        self._file.close()


@contextmanager
def open_section(path: Path, start: int, stop: int) -> Iterator[av.container.InputContainer]:
    """Open a part of a file as a file of its own."""
    section = Section(path, start, stop)
    try:
        with open_input(section) as container:
            yield container
    finally:
        section.close()


def codec_tag(path: Path) -> str:
    """What FFmpeg's log calls the codec, " (0x1234)" for instance; PyAV has no name for it."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as messages, open_input(path):
            pass
    finally:
        av.logging.set_level(level)
    found = re.search(r"Audio: \w+ (\([^)]*\))", " ".join(message for _, _, message in messages))
    return f" {found[1]}" if found else ""


def name_track(number: int, stream: av.AudioStream) -> str:
    """The number of a track and what its file calls it: "2 (Main, eng)"."""
    texts = [" ".join(stream.metadata.get(name, "").split()) for name in ("title", "language")]
    called = ", ".join(text for text in texts if text not in ("", "und"))
    return f"{number} ({called})" if called else str(number)


def rank_track(stream: av.AudioStream) -> tuple[bool, bool]:
    """Orders tracks by how likely they are meant: the default one, and none for the blind, the deaf or the curious."""
    kinds = av.stream.Disposition
    special = kinds.comment | kinds.visual_impaired | kinds.hearing_impaired
    return not stream.disposition & kinds.default, bool(stream.disposition & special)


def take_unsorted_speakers(stream: av.AudioStream) -> list[str] | None:
    """FFmpeg's names of the channels of a stream that doesn't have them in the order of masks.

    PyAV frees such a layout once with the frame and once by itself, which ends the process: it is taken out of the
    decoder before there are frames.
    """
    layout = stream.codec_context.layout
    names = [channel.name for channel in layout.channels]
    if is_sorted(names):
        return None
    stream.codec_context.layout = f"{len(names)} channels"
    return names


def seconds_after_picture(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    """How much later [s] the sound of a video begins than the picture."""
    is_video = any(not video.disposition & av.stream.Disposition.attached_pic for video in container.streams.video)
    if not is_video or stream.start_time is None or container.start_time is None or stream.time_base is None:
        return 0.0
    later = float(stream.start_time * stream.time_base) - container.start_time / av.time_base
    return later if 0 < later <= LONGEST_GAP else 0.0


def itunes_length(container: av.container.InputContainer, stream: av.AudioStream, rate: int) -> int | None:
    """The samples that count by the tag of iTunes, which has them where there is no edit list, after priming."""
    numbers = container.metadata.get("iTunSMPB", "").split()
    try:
        priming, _, valid = (int(number, 16) for number in numbers[1:4])
    except ValueError:
        return None
    seconds = [float((time or 0) * (stream.time_base or 0)) for time in (stream.start_time, stream.duration)]
    starts, whole = round(seconds[0] * rate), round(seconds[1] * rate) - priming
    # In a file that was edited or converted since, the tag is no longer true.
    return valid if starts == priming and (1 - TOLERATED) * whole <= valid else None


def declared_frames(
    container: av.container.InputContainer, stream: av.AudioStream, rate: int, delay: int
) -> int | None:
    """The samples a channel that a container declares, with the delay [samples] before them."""
    if stream.duration is not None and stream.time_base is not None:
        frames = round(stream.duration * stream.time_base * rate) + delay
        if container.format.name == "ogg" and stream.codec_context.codec.canonical_name == "opus":
            # FFmpeg counts from zero, also for a recording of a stream, which starts somewhere in it.
            skipped = stream.codec_context.delay + (stream.start_time or 0)
            frames -= round(skipped * rate / _OPUS_RATE)
        return frames
    if container.duration is not None:
        return round(container.duration * rate / av.time_base)
    return None


def counted_samples(path: Path, container: av.container.InputContainer, stream: av.AudioStream) -> int:
    """The samples a channel that count by a header where a codec fills up its last block, or AIFF its last byte; 0
    elsewhere."""
    # For ADPCM, AIFF counts packets.
    fills = ("gsm", "pcm") if container.format.name == "aiff" else ("adpcm", "gsm")
    return _header_count(path) if stream.codec_context.codec.canonical_name.startswith(fills) else 0


def _header_count(path: Path) -> int:
    """How many samples a channel a WAV, W64 or AIFF file has by its own count; 0 without one."""
    with path.open("rb") as file:
        head = file.read(16)
        is_w64 = head.startswith(b"riff")
        order: Literal["little", "big"] = "big" if head.startswith(b"FORM") else "little"
        if not is_w64 and head[:4] not in (b"RIFF", b"RF64", b"FORM"):
            return 0
        # W64 has 16 bytes for every name, and counts the 24 of name and size with the rest.
        file.seek(40 if is_w64 else 12)
        for _ in range(_MOST_CHUNKS):
            header = file.read(24 if is_w64 else 8)
            name, size = header[:4], int.from_bytes(header[16 if is_w64 else 4 :], order)
            if name == b"fact":
                return int.from_bytes(file.read(4), order)
            if name == b"COMM":
                return int.from_bytes(file.read(6)[2:], order)
            size = -(-size // 8) * 8 - 24 if is_w64 else size + size % 2
            if len(header) < 8 or not 0 <= size < path.stat().st_size:
                break
            file.seek(size, os.SEEK_CUR)
    return 0


def undelivered(
    path: Path,
    container: av.container.InputContainer,
    stream: av.AudioStream,
    declared: int | None,
    position: int,
    rate: int,
) -> tuple[int | None, bool]:
    """What a file declares, where that is more than there is in it.

    Args:
        declared (`int`, *optional*): by its header [samples].
        position (`int`): how much could be decoded [samples].
        rate (`int`): [Hz].

    Returns:
        how many samples a channel it would have, `None` if there are about so many, and whether it has been cut, rather
        than declared too much.
    """
    kind, size, is_cut = container.format.name, path.stat().st_size, True
    codec = stream.codec_context.codec.canonical_name
    missing, bit_rate = missing_bytes(path), stream.bit_rate or container.bit_rate
    missing_samples = 8 * missing * rate // bit_rate if bit_rate else 0
    if kind in ("wav", "w64", "caf"):
        # FFmpeg takes the length of these from their size, and that of what stands behind the samples with it.
        counted = position if codec.startswith("pcm") else max(position, declared or 0)
        declared = counted + missing_samples
        is_cut = not is_made_up(missing + size)
    elif kind == "aiff":
        declared = max(declared or 0, position + missing_samples)
        is_cut = missing > 0
    elif kind == "avi":
        is_cut = missing > 0
    others = [other for other in container.streams if other is not stream]
    if declared is None or (kind in _ONE_DURATION and others):
        return None, False
    if declared > _MOST_PER_BYTE * size:
        is_cut = False  # so much audio never was in it
    if kind == "mp3":
        # Without a Xing tag, or with something appended to the file of the tag, FFmpeg estimates.
        declared = min(declared, xing_frames(path) * stream.codec_context.frame_size)
    is_short = position < declared - _MISSING_ALLOWED.get(kind, math.inf) * rate
    return (declared, is_cut) if is_short else (None, False)


def missing_bytes(path: Path) -> int:
    """How many bytes fewer a WAV, RF64, W64, AVI, AIFF or CAF file has than its header says."""
    with path.open("rb") as file:
        head = file.read(28)
    # A program that writes to a pipe doesn't know the length and declares the largest, or zero.
    declared, largest = 0, 2**62
    if head[:4] in (b"RIFF", b"FORM"):
        declared = 8 + int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        largest = 2**31 - 2**16
    elif head[:4] == b"RF64" and head[12:16] == b"ds64":
        declared = 8 + int.from_bytes(head[20:28], "little")
    elif head[:4] == b"riff":
        declared = int.from_bytes(head[16:24], "little")
    elif head[:4] == b"caff":
        declared = _end_of_caf(path)
    return max(declared - path.stat().st_size, 0) if declared < largest else 0


def _end_of_caf(path: Path) -> int:
    """Where the samples of a CAF file end by its header [bytes]; 0 if it doesn't say."""
    with path.open("rb") as file:
        file.seek(8)
        for _ in range(_MOST_CHUNKS):
            header = file.read(12)
            size = int.from_bytes(header[4:], "big", signed=True)
            if len(header) < 12 or size < 0:
                break
            if header[:4] == b"data":
                return file.tell() + size
            file.seek(size, os.SEEK_CUR)
    return 0


def is_made_up(size: int) -> bool:
    """Whether a file of so many bytes is one of unknown length: a round number with or without a header."""
    return size > 10**9 - 2**16 and min(size % unit for unit in (10**6, 2**20)) < 2**10


def ends_within_a_page(path: Path) -> bool:
    """Whether an Ogg file has been cut: what is left of its last page is shorter than the page's header says."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LARGEST_OGG_PAGE, 0))
        tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return False  # something else stands behind the last page
    page = tail[start:]
    header, segments = 27, page[26] if len(page) > 26 else 0
    return len(page) < header + segments + sum(page[header : header + segments])
