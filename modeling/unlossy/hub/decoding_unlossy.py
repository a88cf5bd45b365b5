"""Decoding an audio stream in time: what can't be decoded and what its times leave out becomes time without audio.

Times trim the two ends of a stream and never its middle: packets decode whole, however unevenly a recorder or a remux
has timed them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .gaps_unlossy import LONGEST_GAP
from .mpeg_unlossy import flac_packets, mp3_packets

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

# Containers whose times are their own. In the others they only count what was decoded.
_TIMED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "flv", "asf", "mpegts", "mpeg", "flac")
_PACKETS = {"mp3": mp3_packets, "flac": flac_packets}
_LOOK = 8  # frames before and after a step in the times that must agree on it, since recorders time unevenly
_ROUNDING = 0.001  # [s] of the times in an edit list
_TRIES = 16  # how often a demuxer may fail at one place before the rest counts as lost
_PLANES = 8
LOUDEST = 100  # times full scale: a float source may exceed full scale by 20 dB, and nothing true by 40 dB


class Decoded(NamedTuple):
    """A frame as the decoder gives it."""

    frame: av.AudioFrame
    lost: int  # frames before it that could not be decoded
    edited: bool  # whether an edit list left something out before it


class Piece(NamedTuple):
    """Audio, and the time without audio before it, in samples at the rate of the frame."""

    frame: av.AudioFrame
    length: int  # how much of the frame counts
    missing: int
    damaged: bool  # whether what is missing was there and could not be decoded


def decode_stream(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[Decoded]:
    """Decode an audio stream frame by frame. Failures at the very end are passed over, since many MP3 files end in
    foreign tags. A frame that comes out of a lossy codec beyond all levels counts as one that can't be decoded.

    Raises:
        av.FFmpegError: the container can't be read any further.
    """
    decoder = stream.codec_context
    if decoder.name == "opus":
        # FFmpeg's own Opus decoder puts what was coded in the speech modes (noise-like stereo below 56 kbps, say) 3 or
        # 4 samples too early, and leaves 312 samples of padding on short files; libopus does neither.
        decoder = av.CodecContext.create("libopus", "r")
        decoder.options = {"request_sample_fmt": "flt", "pkt_timebase": str(_time_base(stream))}
        decoder.extradata = stream.codec_context.extradata
        decoder.sample_rate = stream.rate
        decoder.layout = stream.layout
    if decoder.name == "alac" and container.format.name == "caf":
        # A last block that is not full says so by itself: what a CAF file counts as filled is not in it.
        decoder.flags2 |= av.codec.context.Flags2.skip_manual
    packets = _PACKETS.get(container.format.name, _packets)
    is_lossy = not stream.codec_context.codec.lossless
    count = size = lost = 0
    edited = False
    for packet, lost_before in packets(container, stream):
        lost += lost_before
        edited = edited or packet.is_discard
        try:
            frames = decoder.decode(packet if packet.size else None)
        except av.FFmpegError:
            # A packet that a parser has cut out has in it what stands before the next frame that it finds.
            frames_in_it = round(packet.size * count / size) if packets is _packets and size else 1
            lost += max(frames_in_it, 1)
            continue
        count, size = count + 1, size + packet.size
        for frame in frames:
            if is_lossy and _is_beyond_all_levels(frame):
                lost += 1
                continue
            yield Decoded(frame, lost, edited)
            lost, edited = 0, False


def _is_beyond_all_levels(frame: av.AudioFrame) -> bool:
    """Whether samples are so high, or no numbers, as only the decoding of damaged bytes makes them."""
    is_float = frame.format.packed.name in ("flt", "dbl")
    return is_float and not np.abs(to_float(frame)).max(initial=0) <= LOUDEST


def _packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[tuple[av.Packet, int]]:
    """Each packet; how many were lost before it, the container's times tell."""
    failures = 0
    while True:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet, 0
            return
        except IndexError:
            pass  # a packet of a stream that a recording has only from here on, which PyAV doesn't know
        except av.InvalidDataError:
            failures += 1
            if failures == _TRIES:
                raise


def keep_time(
    decoded: Iterator[Decoded], container: av.container.InputContainer, stream: av.AudioStream, counted: int = 0
) -> Iterator[Piece]:
    """Put frames in time.

    Args:
        counted (`int`, defaults to 0): samples that the file has by its header, if that is less than the last frame
            fills.
    """
    if container.format.name in _TIMED:
        yield from _by_times(decoded, stream, is_mov="mp4" in container.format.name)
        return
    longest = position = 0
    damaged = False
    current = next(decoded, None)
    while current is not None:
        following = next(decoded, None)
        frame, lost, _ = current
        longest, damaged = max(longest, frame.samples), damaged or lost > 0
        missing = lost * longest
        if missing > LONGEST_GAP * frame.sample_rate:
            missing = longest  # what counted them is damaged, too
        position += missing
        length = frame.samples
        if following is None and counted and position <= counted < position + length:
            length = counted - position
        if damaged and following is None and stream.duration is not None and stream.start_time:
            # FFmpeg counts packets up to where the padding of an MP3 begins, and there were fewer.
            end = round(stream.duration * _time_base(stream) * frame.sample_rate)
            length = end - position if 0 < end - position < length else length
        yield Piece(frame, length, missing, lost > 0)
        position += length
        current = following


def _time_base(stream: av.AudioStream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)


def _by_times(decoded: Iterator[Decoded], stream: av.AudioStream, is_mov: bool) -> Iterator[Piece]:
    decoded = iter(decoded)
    following = deque(itertools.islice(decoded, 1))
    if not following:
        return
    first = following[0].frame
    rate, start = first.sample_rate, first.pts
    if following[0].lost and stream.start_time is not None:
        start = stream.start_time
    unit = float(_time_base(stream) * rate)  # [samples] of the times
    if unit > first.samples:
        # No container counts so coarsely: the unit is damaged, and would make pauses of all its packets.
        start = None
    position = 0.0  # [samples]

    def time_of(frame: av.AudioFrame) -> float | None:
        return None if frame.pts is None or start is None else (frame.pts - start) * unit

    def lateness(following: Iterable[Decoded]) -> list[float]:
        """How much later [samples] frames are than they would be without a gap."""
        place = position
        late: list[float] = []
        for frame, _, edited in following:
            if edited and late:
                break
            time = time_of(frame)
            if time is not None:
                late.append(time - place)
            place += frame.samples * rate / frame.sample_rate
        return late

    earlier: deque[float] = deque([0.0], _LOOK)
    shortest: float = np.inf  # duration of a packet but for the first and the last
    for number in itertools.count():
        following.extend(itertools.islice(decoded, _LOOK + 1 - len(following)))
        if not following:
            return
        frame, lost, edited = following[0]
        scale = rate / frame.sample_rate  # of the units here to samples of the frame, whose rate may have changed
        late, missing = lateness([following[0]]), 0
        if late and late[0] - max(earlier) > frame.samples * scale / 4:
            gap = round(min(lateness(following)) - max(earlier))
            if frame.samples * scale / 4 < gap <= LONGEST_GAP * rate:
                missing = gap
        if missing or edited:
            earlier.clear()
        earlier.append(late[0] - missing if late else 0.0)
        position += missing
        following.popleft()
        length = frame.samples
        if following and following[0].edited:
            time = time_of(following[0].frame)
            if time is not None and 0 < time - position < length * scale:
                length = round((time - position) / scale)
        if is_mov and frame.duration and scale == 1:
            duration = frame.duration * unit
            if not following:
                ends = None if stream.duration is None else stream.duration * unit
                length = _last_length(length, duration, shortest, time_of(frame), ends, _ROUNDING * rate)
            elif number:
                shortest = min(shortest, duration)
        yield Piece(frame, length, round(missing / scale), lost > 0)
        position += length * scale


def _last_length(
    length: int, duration: float, shortest: float, time: float | None, ends: float | None, rounding: float
) -> int:
    """How many samples of a stream's last frame count.

    Frames decode to whole blocks. A last packet that is shorter than every other tells where the sound ends; if others
    are as short, all of them are timed unevenly. An edit list may end the stream before its last packet does.

    Args:
        length, duration (`float`): the frame's by its samples and by its packet [samples].
        shortest (`float`): duration of the shortest other packet [samples].
        time, ends (`float`, *optional*): when the frame begins and the stream ends [samples].
        rounding (`float`): how exact that is [samples].
    """
    kept = min(length, round(duration)) if duration < shortest else length
    if time is not None and ends is not None:
        beyond = time + min(duration, length) - ends
        if rounding < beyond < length:
            kept = min(kept, round(min(duration, length) - beyond))
    return max(kept, 0)


def to_float(frame: av.AudioFrame) -> np.ndarray:
    """Samples of a frame of any sample format as float32 of shape `(channels, samples)`, full scale ±1."""
    if frame.format.is_planar and frame.layout.nb_channels == _PLANES:
        # PyAV counts planes up to a null pointer, for which eight leave no room in FFmpeg's array, and crashes.
        frame = av.AudioResampler(frame.format.packed).resample(frame)[0]
    if frame.format.packed.name == "s64":  # which PyAV has no array for
        frame = av.AudioResampler("dbl").resample(frame)[0]
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        # In double precision, because 32 bits don't fit into float32.
        return (samples / 2.0 ** (8 * samples.itemsize - 1)).astype(np.float32)
    return samples.astype(np.float32, copy=False)
