"""Odd files, made in memory: what old collections, recorders and remuxes have in them."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from signals import RATE, find_lag


def make_music(seconds: float, rate: int = RATE, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise with beats, so that a lag shows, without the treble that encoders put other noise in place of."""
    random = np.random.default_rng(seed)
    samples = round(seconds * rate)
    noise = random.normal(size=(channels, samples + 15))
    low = np.cumsum(noise, axis=1)[:, 15:] - np.cumsum(noise, axis=1)[:, :samples]
    beats = 0.2 + np.exp(-8 * (np.arange(samples) * 3.1 / rate % 1))
    return (0.05 * low * beats).astype(np.float32)


def wav_bytes(samples: np.ndarray, rate: int, mask: int | None = None, kind: int = 1) -> bytes:
    """A WAV file of the samples as they are, of shape `(samples, channels)`, with the mask of its speakers."""
    bits, channels = 8 * samples.itemsize, samples.shape[1]
    block = channels * samples.itemsize
    tail = b""
    if mask is not None:
        tail = struct.pack("<HHIH", 22, bits, mask, kind) + bytes.fromhex("000000001000800000aa00389b71")
    head = struct.pack("<HHIIHH", kind if mask is None else 0xFFFE, channels, rate, rate * block, block, bits) + tail
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", samples.nbytes)
    return b"RIFF" + struct.pack("<I", len(chunks) + samples.nbytes) + chunks + samples.tobytes()


def caf_bytes(samples: np.ndarray, rate: int, layout: int) -> bytes:
    """A CAF file of 16-bit samples of shape `(samples, channels)`, with the tag of its layout of speakers."""
    channels = samples.shape[1]
    sizes = np.array([0, 2 * channels, 1, channels, 16], ">u4")
    description = np.array([rate], ">f8").tobytes() + b"lpcm" + sizes.tobytes()
    chunks = {"desc": description, "chan": np.array([layout << 16 | channels, 0, 0], ">u4").tobytes()}
    chunks["data"] = bytes(4) + samples.astype(">i2").tobytes()
    body = b"".join(name.encode() + len(chunk).to_bytes(8, "big") + chunk for name, chunk in chunks.items())
    return b"caff" + bytes([0, 1, 0, 0]) + body


def find_lag_of_end(audio: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples the end of `audio` is late, from the last 0.4 s of `reference`."""
    last = slice(reference.shape[1] - 2 * RATE // 5, reference.shape[1])
    return find_lag(audio[:, last], reference[:, last])


def encode(
    audio: np.ndarray,
    container: str,
    codec: str,
    rate: int = RATE,
    kind: str = "fltp",
    tags: dict[str, str] | None = None,
    chapters: list[Any] | None = None,
    **options: str,
) -> bytes:
    """A file; `options` are the container's."""
    buffer = io.BytesIO()
    layout = ("mono", "stereo")[len(audio) - 1]
    with av.open(buffer, "w", format=container, options=options) as output:
        output.metadata.update(tags or {})
        output.set_chapters(chapters or [])
        stream: Any = output.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate, stream.codec_context.format = 128_000, kind
        packed = np.ascontiguousarray(audio.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return buffer.getvalue()


def two_tracks(folder: Path, seconds: float = 1) -> Path:
    """A video's file with a quiet commentary first, and the main track second, which is the default one."""
    path = folder / "film.mkv"
    with av.open(str(path), "w", format="matroska") as output:
        streams: list[Any] = []
        for title, disposition in (("Commentary", 0), ("Main", av.stream.Disposition.default)):
            streams.append(output.add_stream("aac", rate=RATE, layout="stereo"))
            streams[-1].metadata["title"] = title
            streams[-1].disposition = disposition
        streams[1].metadata["language"] = "eng"
        for stream, level in zip(streams, (0.02, 1), strict=True):
            packed = np.ascontiguousarray(level * make_music(seconds).T, np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            for packet in (*stream.encode(frame), *stream.encode(None)):
                output.mux(packet)
    return path


def remux(data: bytes, path: Path, container: str, time: Callable[[int], int], **options: str) -> None:
    """The same packets, number n at the time of `time(n)` samples, until the next one."""
    with av.open(io.BytesIO(data), "r") as source, av.open(str(path), "w", format=container, options=options) as output:
        stream = source.streams.audio[0]
        copy = output.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = copy, Fraction(1, stream.rate)
            packet.pts = packet.dts = time(number)
            packet.duration = 1024 if time(number + 1) - time(number) > 2000 else time(number + 1) - time(number)
            output.mux(packet)


def frames_of_mp3(data: bytes) -> list[int]:
    """Where the frames of an MP3 of 128 kbps at 44.1 kHz begin, the last one's end at last; the first is the tag."""
    places = [data.index(b"\xff\xfb")]
    while places[-1] + 4 <= len(data):
        places.append(places[-1] + 417 + (data[places[-1] + 2] >> 1 & 1))
    return places


def damaged_mp3(folder: Path) -> Path:
    """Two seconds of MP3 with a frame in the middle that can't be decoded."""
    data = bytearray(encode(make_music(2), "mp3", "libmp3lame"))
    start, stop = frames_of_mp3(bytes(data))[40:42]
    data[start + 4 : stop] = b"\xff" * (stop - start - 4)
    path = folder / "song.mp3"
    path.write_bytes(data)
    return path


def id3_tag(size: int) -> bytes:
    body = np.random.default_rng(1).bytes(size)
    frame = b"APIC" + _synchsafe(size) + b"\0\0" + body
    return b"ID3\4\0\0" + _synchsafe(len(frame)) + frame


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def with_edits(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    """An M4A with other edits: (samples, first sample)."""
    place = data.find(b"elst") - 4
    size = int.from_bytes(data[place : place + 4], "big")
    entries = b"".join(struct.pack(">IiHH", *edit, 1, 0) for edit in edits)
    box = struct.pack(">I", 16 + len(entries)) + b"elst" + struct.pack(">II", 0, len(edits)) + entries
    changed = bytearray(data[:place] + box + data[place + size :])
    for name in (b"moov", b"trak", b"edts"):
        start = changed.find(name) - 4
        grown = int.from_bytes(changed[start : start + 4], "big") + len(box) - size
        changed[start : start + 4] = struct.pack(">I", grown)
    return bytes(changed)
