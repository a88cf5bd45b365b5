"""The frames of MP3 and FLAC files, found again where FFmpeg's parsers lose them or lose count of them.

The parser of MP3 hands out every byte: what is no frame stands in a packet before one, or is a packet.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

# [kbps] by the bitrate index of a header; ISO 11172-3 and 13818-3.
_LAYER_1 = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_LAYER_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LAYER_1_LOW = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_LAYER_2_3_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SMALLEST_FRAME = 24  # [bytes]


def frame_size(head: bytes) -> int:
    """Bytes of the MPEG frame that begins with these (4 are enough); 0 if it is none, or one of free format."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    low = version != 3
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return (12_000 * (_LAYER_1_LOW if low else _LAYER_1)[bitrate] // hertz + padding) * 4
    kbps = (_LAYER_2_3_LOW if low else _LAYER_2 if layer == 2 else _LAYER_3)[bitrate]
    return (72_000 if low and layer == 3 else 144_000) * kbps // hertz + padding


def tag_size(head: bytes | bytearray) -> int:
    """Bytes of the ID3v2, APEv2 or ID3v1 tag that begins with these (32 are enough); 0 if it is none."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)  # a footer
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        is_header = head[23] & 0x20
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 128 if head[:3] == b"TAG" else 0


def split_frames(packets: Iterable[av.Packet]) -> Iterator[tuple[av.Packet, int]]:
    """Each frame as a packet, and how many bytes before it are neither frame nor tag.

    A packet that is a frame passes as it is, with what the demuxer attached to it. What stands behind the last frame is
    left out.
    """
    held: list[av.Packet] = []
    data, junk = bytearray(), 0
    for packet in packets:
        this = bytes(packet)
        inside_a_tag = len(data) < _behind_tags(data, 0)
        if this and (inside_a_tag or not (frame_size(this) == len(this) or _is_free_format(this))):
            held.append(packet)
            data += this
            continue
        for frame, before in _split(bytes(data)):
            junk += before
            if frame:
                yield _packet(frame, held[-1]), junk
                junk = 0
        held, data = [], bytearray()
        yield packet, junk if this else 0  # an empty one is the end, where the decoder is emptied
        junk = 0


def _behind_tags(data: bytes | bytearray | mmap.mmap, position: int) -> int:
    """Where the tags end that begin at a position; this may be behind the data."""
    while size := tag_size(data[position : position + 32]):
        position += size
    return position


def _is_free_format(head: bytes) -> bool:
    """Whether a frame begins here whose header doesn't say how long it is."""
    return len(head) >= 4 and head[2] < 0x10 and frame_size(head[:2] + bytes([head[2] | 0x10]) + head[3:4]) > 0


def _packet(frame: bytes, original: av.Packet) -> av.Packet:
    packet = av.Packet(frame)
    if bytes(original).endswith(frame):
        for attached in original.iter_sidedata():  # how much padding there is
            packet.set_sidedata(attached)
    return packet


def _split(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Frames, each with the bytes before it that are none; at the end, no frame and the bytes that are left."""
    position = junk = 0
    while position < len(data):
        position = min(_behind_tags(data, position), len(data))
        end = position + frame_size(data[position : position + 4])
        following = data[end : end + 32]
        if end > position and (end == len(data) or frame_size(following) or tag_size(following)):
            yield data[position:end], junk
            position, junk = end, 0
            continue
        found = data.find(b"\xff", position + 1)
        found = len(data) if found < 0 else found
        junk += found - position
        position = found
    yield b"", junk


def mp3_packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[tuple[av.Packet, int]]:
    """Each frame of an MP3 file as a packet, and how many frames were lost before it.

    How many the damaged bytes were is known from the number of frames in the Xing tag, shared out by the bytes
    where there are several places; without a tag, from the mean size of a frame.
    """
    path = Path(container.name)
    plan: Iterator[int] | None = None
    lost = 0
    for packet, junk, is_strange in _with_neighbours(split_frames(container.demux(stream))):
        if junk and plan is None:
            plan = iter(_count_lost(path)) if path.is_file() else itertools.repeat(1)
        lost += next(plan) if junk and plan is not None else 0
        if is_strange:
            lost += 1
            continue
        yield packet, lost
        lost = 0


def _with_neighbours(frames: Iterator[tuple[av.Packet, int]]) -> Iterator[tuple[av.Packet, int, bool]]:
    """Each frame, and whether it is of another format than both that before and that after it: a damaged header."""
    before = this = after = None
    held: tuple[av.Packet, int] | None = None
    for item in itertools.chain(frames, [None]):
        after = None if item is None else format_of(bytes(item[0]))
        if held is not None:
            is_strange = None not in (this, before, after) and this != before == after
            yield *held, is_strange
            before = before if is_strange else this
        held, this = item, after


def format_of(head: bytes) -> tuple[int, ...] | None:
    """What the header of an MPEG frame says of version, layer, rate and number of channels; `None` if it is none."""
    return (head[1] & 0x1E, head[2] & 0x0C, head[3] & 0xC0 == 0xC0) if frame_size(head[:4]) else None


def format_varies(path: Path, container_format: str) -> bool:
    """Whether the frames of an MP3 or a raw AAC file differ in rate or number of channels, by their headers."""
    size_of, kind_of = {"mp3": (frame_size, format_of), "aac": (_adts_size, _adts_format)}[container_format]
    first = None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 0
        while 0 <= position < len(data):
            position = _behind_tags(data, position)
            end = position + size_of(data[position : position + 7])
            if end > position and size_of(data[end : end + 7]):  # followed by another
                kind = kind_of(data[position : position + 7])
                first = first or kind
                if kind != first:
                    return True
                position = end
            else:
                position = data.find(b"\xff", position + 1)
    return False


def _adts_size(head: bytes) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _adts_format(head: bytes) -> tuple[int, ...]:
    return head[2] & 0x3D, head[3] & 0xC0


def _count_lost(path: Path) -> list[int]:
    """How many frames were lost at each damaged place of a file."""
    frames = size = 0
    places: list[int] = []
    with av.open(str(path)) as container:
        for packet, junk in split_frames(container.demux(container.streams.audio[0])):
            frames, size = frames + bool(packet.size), size + packet.size
            if junk:
                places.append(junk)
    missing = xing_frames(path) - frames
    if missing < 0:  # no tag, or another file was joined to that of the tag
        return [round(junk * frames / size) for junk in places]
    shares, so_far, given = [], 0, 0
    for junk in places:
        so_far += junk
        shares.append(round(missing * so_far / sum(places)) - given)
        given += shares[-1]
    return shares


def xing_frames(path: Path) -> int:
    """How many frames an MP3 file has by the Xing tag in its first one; 0 without such a tag."""
    with path.open("rb") as file:
        start = 0
        while size := tag_size(file.read(32)):
            start += size
            file.seek(start)
        file.seek(start)
        head = file.read(4096)
    place = max(head.find(b"Xing"), head.find(b"Info"))
    if place < 0 or len(head) < place + 16 or not head[place + 7] & 1:
        return 0
    frames, size = (int.from_bytes(head[at : at + 4], "big") for at in (place + 8, place + 12))
    # Damage makes millions of them.
    is_possible = frames * _SMALLEST_FRAME <= (size if head[place + 7] & 2 else path.stat().st_size)
    return frames if is_possible else 0


def flac_packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[tuple[av.Packet, int]]:
    """Each frame of a FLAC file as a packet whose time is that in its header; none counts as lost."""
    block = 0
    for packet in container.demux(stream):
        number = _flac_number(bytes(packet)[:11])
        if number is not None and stream.time_base is not None and stream.rate * stream.time_base == 1:
            block = block or packet.duration or 0
            packet.pts = number if bytes(packet)[1] & 1 else number * block
        yield packet, 0


def _flac_number(head: bytes) -> int | None:
    """The number of a FLAC frame, or of its first sample where the blocks differ in length, coded as in UTF-8."""
    if len(head) < 11 or head[0] != 0xFF or head[1] & 0xFC != 0xF8:
        return None
    following = 0
    while head[4] << following & 0x80:
        following += 1
    number = head[4] & (0x7F >> following)
    for byte in head[5 : 4 + following]:
        number = number << 6 | byte & 0x3F
    return number
