"""Reading and writing audio files block by block: everything FFmpeg reads (through PyAV), with tags and cover art.

Arrays are float32 of shape `(channels, samples)` with full scale ±1. Nothing here holds more than a block in memory.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

try:
    import av
    import soxr
except ImportError:
    av = soxr = None  # type: ignore[assignment]

MAX_CHANNELS = 8
SAMPLING_RATES = (8_000, 192_000)  # [Hz] lowest and highest that is read

# Tags that describe the file they came from and would be wrong in another one.
_FILE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "encoded_by", "handler_name", "vendor_id"}
_FILE_TAGS |= {
    "creation_time",
    "language",
    "duration",
    "itunsmpb",
    "itunnorm",
    "metadata_block_picture",
    "tlen",
    "tsse",
}

# How much [s] of what the header declares may be missing before a file counts as truncated; other containers don't
# declare it.
_MISSING_ALLOWED = {"flac": 0.05, "wav": 0.05, "aiff": 0.05, "au": 0.05, "mov,mp4,m4a,3gp,3g2,mj2": 0.1}


class AudioError(ValueError):
    """An audio file that cannot be read or written; the message names the file and the reason."""


class Cover(NamedTuple):
    """An attached picture."""

    data: bytes
    mime: str  # "image/jpeg", "image/png" …


class AudioReader:
    """Reads the first audio stream of a file, once, block by block.

    The encoder's delay and padding are taken off where the file tells them (MP3 with a LAME tag, M4A, Ogg).

    Args:
        path (`str` or `os.PathLike`): any file that FFmpeg decodes; the picture of a video is ignored.

    Attributes:
        path (`Path`): the file.
        sampling_rate (`int`): in Hz.
        channels (`int`): 1 to 8.
        codec (`str`): FFmpeg's name of the format: "mp3", "aac", "vorbis", "opus", "flac", "pcm_s16le" …
        bit_rate (`int` or `None`): in bit/s, of the stream or else of the whole file.
        num_frames (`int` or `None`): samples a channel as the header has it; an estimate for raw AAC and for MP3
            without a LAME tag.
        bits_per_sample (`int` or `None`): of lossless formats.
        tags (`dict[str, str]`): lower-case names, such as "title" and "artist".
        cover (`Cover` or `None`): the attached picture.

    Raises:
        AudioError: no such file, a folder, empty, not audio, no samples, more than 8 channels, or a rate outside
            8 to 192 kHz.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if av is None:
            raise ImportError("reading audio files needs PyAV: pip install av soxr")
        self.path = Path(path)
        if not self.path.exists():
            raise AudioError(f"no such file: {self.path}")
        if self.path.is_dir():
            raise AudioError(f"{self.path} is a folder, not an audio file")
        try:
            if self.path.stat().st_size == 0:
                raise AudioError(f"{self.path} is empty")
            self._container = _open_input(self.path)
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, PermissionError):
                raise AudioError(f"{self.path} cannot be read: permission denied") from error
            raise AudioError(f"{self.path} is not an audio file, or is damaged at its beginning") from error
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        if not self._container.streams.audio:
            raise AudioError(f"{self.path} has no audio in it")
        stream = self._container.streams.audio[0]
        self._stream = stream
        self._frames: Iterator[av.AudioFrame] | None = decode_stream(self._container, stream)
        try:
            # What the decoder delivers counts: headers miss the doubled rate of HE-AAC, for instance.
            self._first = next(self._frames, None)
        except av.FFmpegError as error:
            raise AudioError(f"{self.path} is damaged: decoding failed at its beginning") from error
        if self._first is None:
            raise AudioError(f"{self.path} has no samples that can be decoded")

        self.sampling_rate = self._first.sample_rate
        self.channels = self._first.layout.nb_channels
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"{self.path} has {self.channels} channels: at most {MAX_CHANNELS} can be read")
        if not SAMPLING_RATES[0] <= self.sampling_rate <= SAMPLING_RATES[1]:
            raise AudioError(f"{self.path} has a sampling rate of {self.sampling_rate} Hz: 8 to 192 kHz can be read")
        self.codec = stream.codec_context.codec.canonical_name
        self.bit_rate = stream.bit_rate or self._container.bit_rate or None
        self.bits_per_sample = _bits_per_sample(self.codec, self._first.format.name)
        self.num_frames = self._declared_frames()
        tags = {**self._container.metadata, **stream.metadata}
        self.tags = {name.lower(): text for name, text in tags.items() if name.lower() not in _FILE_TAGS}
        self.cover = _read_cover(self.path)

    def _declared_frames(self) -> int | None:
        stream, container = self._stream, self._container
        if stream.duration is not None and stream.time_base is not None:
            frames = round(stream.duration * stream.time_base * self.sampling_rate)
            if self.codec == "opus" and container.format.name == "ogg":
                frames -= stream.codec_context.delay
        elif container.duration is not None:
            frames = round(container.duration * self.sampling_rate / av.time_base)
        else:
            return None
        return frames if frames > 0 else None

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Decode from the beginning to the end; possible once.

        Args:
            frames (`int`): samples a channel of every block but the last, which may be shorter.

        Yields:
            `np.ndarray` of shape `(channels, samples)`: float32, full scale ±1 (lossy formats may exceed it).

        Raises:
            AudioError: truncated or damaged data, or samples that are not finite.
        """
        if frames < 1:
            raise ValueError(f"a block needs at least one frame, not {frames}")
        pending: list[np.ndarray] = []
        available = 0
        for samples in self._decoded():
            pending.append(samples)
            available += samples.shape[1]
            if available < frames:
                continue
            joined = np.concatenate(pending, axis=1)
            whole = available - available % frames
            for start in range(0, whole, frames):
                yield joined[:, start : start + frames]
            pending, available = [joined[:, whole:]], available - whole
        if available:
            yield np.concatenate(pending, axis=1)

    def _decoded(self) -> Iterator[np.ndarray]:
        if self._frames is None:
            raise RuntimeError(f"{self.path} has been read already: open it again")
        frames, self._frames = self._frames, None
        position = 0
        try:
            for frame in _chain(self._first, frames):
                seconds = position / self.sampling_rate
                if (frame.sample_rate, frame.layout.nb_channels) != (self.sampling_rate, self.channels):
                    raise AudioError(f"{self.path} changes its sampling rate or channels after {seconds:.1f} s")
                samples = to_float(frame)[:, : self._true_length(frame)]
                if not np.isfinite(samples).all():
                    raise AudioError(
                        f"{self.path} has samples that are not finite (NaN or infinity) after {seconds:.1f} s"
                    )
                position += samples.shape[1]
                yield samples
        except av.FFmpegError as error:
            seconds = position / self.sampling_rate
            raise AudioError(f"{self.path} is truncated or damaged: decoding failed after {seconds:.1f} s") from error
        self._check_complete(position)

    def _true_length(self, frame: av.AudioFrame) -> int:
        # AAC in MP4 always decodes to whole frames: how much of the last one counts is only told by its duration.
        if self.codec != "aac" or "mp4" not in self._container.format.name or not (frame.duration and frame.time_base):
            return frame.samples
        return min(frame.samples, round(frame.duration * frame.time_base * self.sampling_rate))

    def _check_complete(self, position: int) -> None:
        declared = self.num_frames
        if self._container.format.name == "wav":
            # FFmpeg takes the length of a WAV file from its size, and that of what stands behind the samples with it.
            bits = self.bit_rate if self.codec.startswith("pcm") else None
            declared = position + (8 * _missing_bytes(self.path) * self.sampling_rate // bits if bits else 0)
        if declared is None:
            return
        allowed = _MISSING_ALLOWED.get(self._container.format.name, math.inf) * self.sampling_rate
        if self.codec == "mp3" and self._stream.start_time:
            # There is a LAME tag, whose length is lost for an estimate when something is appended to the file.
            allowed = 0.1 * declared
        if position < declared - allowed:
            there, whole = position / self.sampling_rate, declared / self.sampling_rate
            raise AudioError(f"{self.path} is truncated or damaged: {there:.1f} s of {whole:.1f} s can be decoded")

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decode_stream(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Decode an audio stream frame by frame.

    A failure at the very end is passed over, since many MP3 files end in foreign tags; one in the middle raises
    FFmpeg's error.
    """
    decoder = stream.codec_context
    if decoder.name == "opus":
        # FFmpeg's own Opus decoder puts what was coded in the speech modes (noise-like stereo below 56 kbps, say) 3 or
        # 4 samples too early, and leaves 312 samples of padding on short files; libopus does neither.
        decoder = av.CodecContext.create("libopus", "r")
        decoder.options = {"request_sample_fmt": "flt"}
        decoder.extradata = stream.codec_context.extradata
        decoder.sample_rate = stream.rate
        decoder.layout = stream.layout
    failure: av.FFmpegError | None = None
    for packet in container.demux(stream):
        try:
            frames = decoder.decode(packet if packet.size else None)
        except av.FFmpegError as error:
            failure = failure or error
            continue
        if frames and failure is not None:
            raise failure
        yield from frames


def to_float(frame: av.AudioFrame) -> np.ndarray:
    """Samples of a frame of any sample format as float32 of shape `(channels, samples)`, full scale ±1."""
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        # In double precision, because 32 bits don't fit into float32.
        return (samples / 2.0 ** (8 * samples.itemsize - 1)).astype(np.float32)
    return samples.astype(np.float32, copy=False)


def _open_input(path: Path) -> av.container.InputContainer:
    # Playlists are files too: nothing but local files may be opened through them.
    return av.open(os.path.abspath(path), "r", metadata_errors="replace", options={"protocol_whitelist": "file"})


def _missing_bytes(path: Path) -> int:
    """How many bytes fewer a WAV file has than its header says."""
    with path.open("rb") as file:
        head = file.read(12)
    declared = 8 + int.from_bytes(head[4:8], "little")
    # A program that writes to a pipe doesn't know the length and declares the largest.
    if head[:4] != b"RIFF" or head[8:] != b"WAVE" or declared >= 2**31 - 2**16:
        return 0
    return max(declared - path.stat().st_size, 0)


def _chain(first: av.AudioFrame | None, rest: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    if first is not None:
        yield first
    yield from rest


def _bits_per_sample(codec: str, sample_format: str) -> int | None:
    if match := re.match(r"pcm_[suf](\d+)", codec):
        return int(match[1])
    if codec in ("flac", "alac", "wavpack", "tta", "ape"):
        return {"u8": 8, "s16": 16, "s32": 24}.get(sample_format.removesuffix("p"))
    return None


def _read_cover(path: Path) -> Cover | None:
    with _open_input(path) as container:
        for stream in container.streams.video:
            if stream.disposition & av.stream.Disposition.attached_pic:
                mime = {"mjpeg": "image/jpeg"}.get(stream.codec_context.name, f"image/{stream.codec_context.name}")
                data = bytes(next(iter(container.demux(stream))))
                return Cover(data, mime) if data else None
    return None


class Resampler:
    """Streaming resampling (soxr, very high quality), aligned with its input; how the input is cut makes no difference.

    Args:
        from_rate (`int`): in Hz.
        to_rate (`int`): in Hz; samples pass through untouched if it equals `from_rate`.
        channels (`int`): of all blocks.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self.from_rate, self.to_rate, self.channels = from_rate, to_rate, channels
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")
        self._received = self._sent = 0

    def process(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next block.

        Args:
            block (`np.ndarray` of shape `(channels, samples)`): float32; may have no samples.
            last (`bool`, defaults to `False`): whether nothing follows: what is still inside comes out too.

        Returns:
            `np.ndarray` of shape `(channels, samples)`: with `last`, ceil(received · to_rate / from_rate)
                samples have come out in all.
        """
        if self._stream is None:
            return block
        self._received += block.shape[1]
        block = block.astype(np.float32, copy=False)
        if last:
            # soxr rounds the length to the nearest: silence at the end gives it enough for rounding up.
            silence = np.zeros((self.channels, 1 + self.from_rate // self.to_rate), np.float32)
            block = np.concatenate((block, silence), axis=1)
        resampled = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T
        if last:
            resampled = resampled[:, : -(-self._received * self.to_rate // self.from_rate) - self._sent]
        self._sent += resampled.shape[1]
        return np.ascontiguousarray(resampled)


# FFmpeg's names for 1, 2 … 8 channels, in the order of FLAC, Vorbis and Opus.
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")


class Encoder:
    """Encodes float32 blocks into a file or a seekable file object with FFmpeg.

    Args:
        file (`str` or `BinaryIO`): where to.
        container_format (`str`), codec (`str`): FFmpeg's names.
        sampling_rate (`int`), channels (`int`): of the blocks, as the codec takes them.
        sample_format (`str`, defaults to `"fltp"`): "s16", "s32" (24 bits in it), "flt" or "fltp".
        bit_rate (`int`, *optional*): in bit/s.
        options (`dict[str, str]`, *optional*): the codec's.
        container_options (`dict[str, str]`, *optional*): the container's.
        tags (`dict[str, str]`, *optional*), cover (`Cover`, *optional*): what to attach.
    """

    def __init__(
        self,
        file: str | BinaryIO,
        container_format: str,
        codec: str,
        sampling_rate: int,
        channels: int,
        *,
        sample_format: str = "fltp",
        bit_rate: int | None = None,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        cover: Cover | None = None,
    ) -> None:
        self.sampling_rate, self.sample_format = sampling_rate, sample_format
        self._layout = _LAYOUTS[channels - 1]
        self._position = 0
        self._container = av.open(file, "w", format=container_format, options=container_options or {})
        self._container.metadata.update(tags or {})
        stream: Any = self._container.add_stream(codec, rate=sampling_rate, layout=self._layout, options=options or {})
        stream.codec_context.format = sample_format  # FLAC would be 16 bits by default
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        self._stream = stream
        if cover is not None:
            self._attach(cover)

    def _attach(self, cover: Cover) -> None:
        codec, width, height = _inspect_picture(cover)
        if self._container.format.name in ("ogg", "opus"):
            self._container.metadata["METADATA_BLOCK_PICTURE"] = _picture_block(cover, width, height)
            return
        stream = self._container.add_mux_stream(codec, width=width, height=height)
        stream.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover.data)
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 90_000)
        self._container.start_encoding()
        self._container.mux(packet)

    def write(self, block: np.ndarray) -> None:
        """Encode the next block of shape `(channels, samples)`."""
        samples = _from_float(block, self.sample_format)
        frame = av.AudioFrame.from_ndarray(samples, format=self.sample_format, layout=self._layout)
        frame.sample_rate = self.sampling_rate
        # Without a time FFmpeg writes no edit list into M4A, and AAC comes back 1,024 samples late.
        frame.pts, frame.time_base = self._position, Fraction(1, self.sampling_rate)
        self._position += block.shape[1]
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Encode what is left and finish the file."""
        context = self._stream.codec_context
        for packet in self._stream.encode(None):
            # LAME may end with a frame of padding only, and FFmpeg would then declare up to 46 samples too many.
            padding = context.name == "libmp3lame" and not packet.duration and self._position >= context.frame_size
            if not padding:
                self._container.mux(packet)
        self._container.close()

    def abort(self) -> None:
        """Let go of the file, finished or not."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()


def _from_float(block: np.ndarray, sample_format: str) -> np.ndarray:
    """To what FFmpeg takes: (channels, samples) in a planar format, (1, samples · channels) in a packed one."""
    if sample_format == "fltp":
        return np.ascontiguousarray(block, dtype=np.float32)
    packed = np.ascontiguousarray(block.T, dtype=np.float32).reshape(1, -1)
    if sample_format == "flt":
        return packed
    bits = {"s16": 16, "s32": 24}[sample_format]
    scale = 2 ** (bits - 1)
    rounded = np.clip(np.rint(packed * np.float32(scale)), -scale, scale - 1)
    return rounded.astype(np.int16) if bits == 16 else rounded.astype(np.int32) << 8


def _inspect_picture(cover: Cover) -> tuple[str, int, int]:
    with av.open(io.BytesIO(cover.data), "r") as image:
        context = image.streams.video[0].codec_context
        return context.name, context.width, context.height


def _picture_block(cover: Cover, width: int, height: int) -> str:
    """FLAC's picture block in base64: how Ogg keeps covers (https://wiki.xiph.org/VorbisComment#METADATA_BLOCK_PICTURE)."""
    mime = cover.mime.encode()
    front_cover, depth, palette = 3, 24, 0
    head = struct.pack(">II", front_cover, len(mime)) + mime + struct.pack(">I", 0)  # no description
    size = struct.pack(">IIIII", width, height, depth, palette, len(cover.data))
    return base64.b64encode(head + size + cover.data).decode()


class _Format(NamedTuple):
    container: str
    codec: str
    max_channels: int
    rates: tuple[int, ...] | None  # [Hz] ascending; None: any
    kbps_per_channel: int | None  # None: lossless
    options: dict[str, str]  # of the container


FORMATS = {
    # "rf64" lets a WAV grow beyond 4 GB.
    "wav": _Format("wav", "pcm", 8, None, None, {"rf64": "auto"}),
    "flac": _Format("flac", "flac", 8, None, None, {}),
    "mp3": _Format(
        "mp3", "libmp3lame", 2, (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000), 160, {}
    ),
    "opus": _Format("opus", "libopus", 8, (48_000,), 128, {}),
    "m4a": _Format(
        "mp4",
        "aac",
        8,
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000),
        128,
        {},
    ),
}
BIT_DEPTHS = ("16", "24", "32f")


class AudioWriter:
    """Writes an audio file block by block; it appears under its name only when all is well.

    A temporary file beside it takes the blocks. It is renamed when the `with` block ends, and removed when that ends
    with an exception. Decoding the file gives the written samples at offset 0 and at the same length. A sampling rate
    that the format does not take (all but 48 kHz for Opus, 96 kHz for MP3) is converted to the next one that it takes.

    Args:
        path (`str` or `os.PathLike`): the file.
        sampling_rate (`int`): of the blocks, in Hz.
        channels (`int`): of the blocks, 1 to 8 (MP3: 2).
        format (`str`, *optional*): "wav", "flac", "mp3" (320 kbps), "opus" or "m4a" (AAC; both 256 kbps in stereo).
            The suffix of `path` by default.
        bit_depth (`str`, defaults to `"24"`): "16", "24" or, for WAV only, "32f" (float). Integers are rounded and
            clipped to full scale, without dither. No meaning for MP3, Opus and M4A.
        tags (`Mapping[str, str]`, *optional*): names as in `AudioReader.tags`. M4A keeps the usual ones only.
        cover (`Cover`, *optional*): a JPEG or PNG picture; WAV has no place for one.
        overwrite (`bool`, defaults to `False`): whether an existing file may be replaced.

    Raises:
        AudioError: the file exists or cannot be written, or the format does not take this.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sampling_rate: int,
        channels: int,
        *,
        format: str | None = None,
        bit_depth: str = "24",
        tags: Mapping[str, str] | None = None,
        cover: Cover | None = None,
        overwrite: bool = False,
    ) -> None:
        if av is None:
            raise ImportError("writing audio files needs PyAV: pip install av soxr")
        self.path = Path(path)
        name = _format_name(self.path, format)
        chosen = FORMATS[name]
        if bit_depth not in BIT_DEPTHS:
            raise AudioError(f"unknown bit depth {bit_depth!r}: choose one of {', '.join(BIT_DEPTHS)}")
        if bit_depth == "32f" and name != "wav":
            raise AudioError(f"{name} cannot hold 32-bit float samples: write wav, or choose a bit depth of 16 or 24")
        if not 1 <= channels <= chosen.max_channels:
            others = [other for other, its in FORMATS.items() if channels <= its.max_channels]
            way_out = f": write {' or '.join(others)}" if others else ""
            raise AudioError(f"{name} cannot hold {channels} channels{way_out}")

        rate = sampling_rate
        if chosen.rates is not None and sampling_rate not in chosen.rates:
            rate = next((allowed for allowed in chosen.rates if allowed > sampling_rate), chosen.rates[-1])
        self.channels = channels
        self._resampler = Resampler(sampling_rate, rate, channels)
        self._num_frames = 0
        self._temporary = TemporaryFile(self.path, overwrite)
        codec, sample_format, bit_rate = chosen.codec, "flt" if name == "opus" else "fltp", None
        if chosen.kbps_per_channel is None:
            sample_format = {"16": "s16", "24": "s32", "32f": "flt"}[bit_depth]
            if name == "wav":
                codec = {"16": "pcm_s16le", "24": "pcm_s24le", "32f": "pcm_f32le"}[bit_depth]
        else:
            # Mono gets the rate of stereo: it is small anyway.
            bit_rate = chosen.kbps_per_channel * 1000 * max(2, channels)
        options = dict(chosen.options)
        if name == "m4a":
            # The edit list counts in this unit: with the default of a millisecond the length would be rounded.
            options["movie_timescale"] = str(rate)
        if cover is not None and (name == "wav" or cover.mime not in ("image/jpeg", "image/png")):
            cover = None
        try:
            with self._explained():
                self._encoder = Encoder(
                    str(self._temporary.path),
                    chosen.container,
                    codec,
                    rate,
                    channels,
                    sample_format=sample_format,
                    bit_rate=bit_rate,
                    container_options=options,
                    tags=tags,
                    cover=cover,
                )
        except BaseException:
            self._temporary.discard()
            raise

    def write(self, block: np.ndarray) -> None:
        """Write the next block.

        Args:
            block (`np.ndarray` of shape `(channels, samples)`): float32, full scale ±1.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(f"a block must have shape ({self.channels}, samples), not {block.shape}")
        self._num_frames += block.shape[1]
        self._encode(self._resampler.process(block))

    def _encode(self, block: np.ndarray) -> None:
        if block.shape[1]:
            with self._explained():
                self._encoder.write(block)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _finish(self) -> None:
        if self._num_frames == 0:
            raise AudioError(f"cannot write {self.path}: there are no samples")
        self._encode(self._resampler.process(np.zeros((self.channels, 0), np.float32), last=True))
        with self._explained():
            self._encoder.close()
            self._temporary.keep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                self._encoder.abort()
        except BaseException:
            self._encoder.abort()
            raise
        finally:
            self._temporary.discard()


def _format_name(path: Path, name: str | None) -> str:
    chosen = path.suffix.removeprefix(".").lower() if name is None else name
    if chosen not in FORMATS:
        choices = ", ".join(FORMATS)
        if name is None:
            raise AudioError(f"cannot tell a format from the name {path.name!r}: end it in one of {choices}")
        raise AudioError(f"unknown format {name!r}: choose one of {choices}")
    return chosen


class TemporaryFile:
    """A path beside `target` that is renamed to it by `keep`, or removed by `discard`.

    Raises:
        AudioError: `target` is a folder, or exists without `overwrite`, or its folder is missing or not writable.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        if target.is_dir():
            raise AudioError(f"cannot write {target}: it is a folder")
        if target.exists() and not overwrite:
            raise AudioError(f"{target} exists already: choose another name, or allow overwriting")
        if not target.parent.is_dir():
            raise AudioError(f"cannot write {target}: there is no folder {target.parent}")
        self.path = target.with_name(f".{target.stem[:100]}.{secrets.token_hex(4)}{target.suffix}")
        try:
            self.path.touch(exist_ok=False)
        except OSError as error:
            raise AudioError(f"cannot write {target}: {error.strerror}") from error

    def keep(self) -> None:
        os.replace(self.path, self.target)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
