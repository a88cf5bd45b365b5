"""Writing audio files block by block, as PCM, FLAC, MP3, Opus or AAC, with tags and pictures, complete or not at all.

Arrays are float32 of shape `(channels, samples)` with full scale ±1. Nothing here holds more than a block in memory.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from .audio_unlossy import AudioError
from .layout_unlossy import DEFAULT_SPEAKERS, IN_MASKS, Speakers, place_speakers
from .resampling_unlossy import Resampler
from .source_unlossy import is_pipe
from .tags_unlossy import Chapter, Tags
from .tags_writing_unlossy import fit_tags, flatten, write_tags

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# FFmpeg sorts the channels of 5.0 and 6.1 for Opus the wrong way round: in this order they come out right.
_OPUS_ORDER = {5: [0, 1, 4, 2, 3], 7: [0, 1, 4, 3, 5, 2, 6]}


class Encoder:
    """Encodes float32 blocks into a file or a seekable file object with FFmpeg.

    Args:
        file (`str` or `BinaryIO`): where to.
        container_format (`str`), codec (`str`): FFmpeg's names.
        sampling_rate (`int`): of the blocks, as the codec takes it.
        speakers (`tuple[str, ...]`): one of each channel of the blocks, in a layout that the codec takes.
        sample_format (`str`, defaults to `"fltp"`): the codec's: "s16", "s32" (24 bits in it), "flt" or "fltp".
        bit_rate (`int`, *optional*): in bit/s.
        options (`dict[str, str]`, *optional*): the codec's.
        container_options (`dict[str, str]`, *optional*): the container's.
        tags (`dict[str, str]`, *optional*), chapters (sequence of `Chapter`, defaults to none): as FFmpeg writes them.
    """

    def __init__(
        self,
        file: str | BinaryIO,
        container_format: str,
        codec: str,
        sampling_rate: int,
        speakers: Speakers,
        *,
        sample_format: str = "fltp",
        bit_rate: int | None = None,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        chapters: Sequence[Chapter] = (),
    ) -> None:
        # PyAV cannot fill frames of eight planes; it turns packed ones into what the codec takes.
        self.sampling_rate, self._frame_format = sampling_rate, sample_format.removesuffix("p")
        self._layout = "+".join(speakers)
        self._order = _OPUS_ORDER.get(len(speakers)) if codec == "libopus" else None
        self._position = 0
        self._container = av.open(file, "w", format=container_format, options=container_options or {})
        self._container.metadata.update(tags or {})
        stream: Any = self._container.add_stream(codec, rate=sampling_rate, layout=self._layout, options=options or {})
        stream.codec_context.format = sample_format  # FLAC would be 16 bits by default
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        self._stream = stream
        unit = Fraction(1, 1000)
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(chapter.start / unit),
                    "end": round(chapter.end / unit),
                    "time_base": unit,
                    "metadata": {"title": chapter.title},
                }
                for number, chapter in enumerate(chapters)
            ]
        )

    def write(self, block: np.ndarray) -> None:
        """Encode the next block of shape `(channels, samples)`."""
        samples = _from_float(block if self._order is None else block[self._order], self._frame_format)
        frame = av.AudioFrame.from_ndarray(samples, format=self._frame_format, layout=self._layout)
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
    """To what FFmpeg takes in a packed format: (1, samples · channels)."""
    packed = np.ascontiguousarray(block.T, dtype=np.float32).reshape(1, -1)
    if sample_format == "flt":
        return packed
    bits = {"s16": 16, "s32": 24}[sample_format]
    scale = 2 ** (bits - 1)
    rounded = np.clip(np.rint(packed * np.float32(scale)), -scale, scale - 1)
    return rounded.astype(np.int16) if bits == 16 else rounded.astype(np.int32) << 8


class _Format(NamedTuple):
    container: str
    codec: str
    max_channels: int
    layouts: frozenset[Speakers] | None  # None: all that a mask of WAV has
    rates: tuple[int, ...] | None  # [Hz] ascending; None: any
    kbps_per_channel: int | None  # None: lossless
    options: dict[str, str]  # of the container


_DEFAULTS = frozenset(DEFAULT_SPEAKERS.values())
FORMATS = {
    # "rf64" lets a WAV grow beyond 4 GB.
    "wav": _Format("wav", "pcm", 8, None, None, None, {"rf64": "auto"}),
    "flac": _Format("flac", "flac", 8, None, None, None, {}),
    "mp3": _Format(
        "mp3",
        "libmp3lame",
        2,
        frozenset({DEFAULT_SPEAKERS[1], DEFAULT_SPEAKERS[2]}),
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        160,
        {},
    ),
    "opus": _Format("opus", "libopus", 8, _DEFAULTS, (48_000,), 128, {}),
    "m4a": _Format(
        "mp4",
        "aac",
        8,
        # Others FFmpeg writes, too, but does not find again. 2.1, 3.0 with a back centre, 4.0:
        _DEFAULTS | {("FL", "FR", "LFE"), ("FL", "FR", "BC"), ("FL", "FR", "FC", "BC")},
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000),
        128,
        {},
    ),
}
BIT_DEPTHS = ("16", "24", "32f")
_WIDEST_FLAC = 8 * 96_000  # [channels · Hz]


class AudioWriter:
    """Writes an audio file block by block; it appears under its name only when all is well.

    A temporary file beside it takes the blocks. It is renamed when the `with` block ends, and removed when that ends
    with an exception. Decoding the file gives the written samples at offset 0 and at the same length. A sampling rate
    that the format does not take (all but 48 kHz for Opus, 96 kHz for MP3) is converted to the next one that it takes.

    Args:
        path (`str` or `os.PathLike`): the file.
        sampling_rate (`int`): of the blocks, in Hz.
        channels (`int`): of the blocks, 1 to 8 (MP3: 2).
        speakers (`tuple[str, ...]`, *optional*): FFmpeg's name of each channel, such as "LFE", as in
            `AudioReader.speakers`. By default mono, stereo, 3.0, quad, 5.0, 5.1, 6.1 or 7.1.
        format (`str`, *optional*): "wav", "flac", "mp3" (320 kbps), "opus" or "m4a" (AAC; both 256 kbps in stereo).
            The suffix of `path` by default.
        bit_depth (`str`, defaults to `"24"`): "16", "24" or, for WAV only, "32f" (float). Integers are rounded and
            clipped to full scale, without dither. No meaning for MP3, Opus and M4A.
        tags (`Tags`, *optional*): tags, pictures and chapters, as `AudioReader.tags` has them.
        overwrite (`bool`, defaults to `False`): whether an existing file may be replaced.

    Attributes:
        warnings (`list[str]`): sentences on what the format can't hold of the speakers and the tags; known before the
            first block, but for a WAV file that grows beyond 4 GB.

    Raises:
        AudioError: the file exists or cannot be written, or the format does not take this.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sampling_rate: int,
        channels: int,
        *,
        speakers: Speakers | None = None,
        format: str | None = None,
        bit_depth: str = "24",
        tags: Tags | None = None,
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

        self.warnings: list[str] = []
        layout = self._place(speakers or DEFAULT_SPEAKERS[channels], chosen.layouts, name)

        rate = sampling_rate
        if chosen.rates is not None and sampling_rate not in chosen.rates:
            rate = next((allowed for allowed in chosen.rates if allowed > sampling_rate), chosen.rates[-1])
        self.channels, self.sampling_rate = channels, rate
        self._resampler = Resampler(sampling_rate, rate, channels)
        self.num_frames = 0
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
        # FFmpeg cannot read frames of 300 kB and more, which its own encoder makes of many channels at a high rate:
        # with less compression there are fewer samples in them.
        is_wide = name == "flac" and len(layout) * rate > _WIDEST_FLAC
        self._format = name
        self._tags, remarks = fit_tags(tags or Tags(), name)

        def start(file: str | BinaryIO) -> Encoder:
            return Encoder(
                file,
                chosen.container,
                codec,
                rate,
                layout,
                sample_format=sample_format,
                bit_rate=bit_rate,
                options={"compression_level": "2"} if is_wide else None,
                container_options=options,
                tags=flatten(self._tags) if name == "wav" else None,
                chapters=self._tags.chapters if name == "m4a" else (),
            )

        if self._tags:
            try:
                self._rehearse(start, len(layout))
            except Exception as error:  # whatever it is, it costs the tags, and is known before all the work
                self._tags = Tags()
                remarks.append(f"its tags are left out, which can't be written: {error}")
        self.warnings += [f"{self.path}: {remark}" for remark in remarks]
        try:
            with self._explained():
                self._encoder = start(str(self._temporary.path))
        except BaseException:
            self._temporary.discard()
            raise

    def _rehearse(self, start: Callable[[BinaryIO], Encoder], channels: int) -> None:
        """Write the tags into a short file in memory."""
        file = io.BytesIO()
        encoder = start(file)
        encoder.write(np.zeros((channels, self.sampling_rate // 10), np.float32))
        encoder.close()
        file.seek(0)
        write_tags(file, self._format, self._tags)

    def _place(self, speakers: Speakers, possible: frozenset[Speakers] | None, name: str) -> Speakers:
        """Choose the layout to write."""
        if possible is None:
            possible = _DEFAULTS | ({speakers} if IN_MASKS.issuperset(speakers) else set())
        layout, self._places, is_kept = place_speakers(speakers, possible)
        self._more = len(layout) - len(speakers)
        if self._more or not is_kept:
            silence = ", with silence for the other speakers" if self._more else ""
            self.warnings.append(
                f"{self.path}: {name} has no layout {'+'.join(speakers)}: {'+'.join(layout)} is written{silence}"
            )
        return layout

    def write(self, block: np.ndarray) -> None:
        """Write the next block.

        Args:
            block (`np.ndarray` of shape `(channels, samples)`): float32, full scale ±1.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(f"a block must have shape ({self.channels}, samples), not {block.shape}")
        self._encode(self._resampler.process(block))

    def _encode(self, block: np.ndarray) -> None:
        if block.shape[1]:
            self.num_frames += block.shape[1]
            if self._more:
                placed = np.zeros((len(block) + self._more, block.shape[1]), np.float32)
                placed[self._places] = block
                block = placed
            with self._explained():
                self._encoder.write(block)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _finish(self) -> None:
        self._encode(self._resampler.process(np.zeros((self.channels, 0), np.float32), last=True))
        if self.num_frames == 0:
            raise AudioError(f"cannot write {self.path}: there are no samples")
        with self._explained():
            self._encoder.close()
            remark = write_tags(self._temporary.path, self._format, self._tags)
            self._temporary.keep()
        if remark is not None:
            self.warnings.append(f"{self.path}: {remark}")

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

    What a killed process has left of the same target is taken over. Where `target` is a pipe, `keep` writes it all at
    once, since no header is known before the end.

    Raises:
        AudioError: `target` is a folder, or exists without `overwrite`, or its folder is missing or not writable.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        self._lock: int | None = None
        self._is_pipe = is_pipe(target)
        if self._is_pipe:
            number, name = tempfile.mkstemp(target.suffix, "unlossy-")
            os.close(number)
            self.path, self._is_there = Path(name), True
            return
        if os.path.isdir(target):
            raise AudioError(f"cannot write {target}: it is a folder")
        if os.path.lexists(target) and not overwrite:
            raise AudioError(f"{target} exists already: choose another name, or allow overwriting")
        if not os.path.isdir(target.parent):
            raise AudioError(f"cannot write {target}: there is no folder {target.parent}")
        try:
            with contextlib.suppress(FileNotFoundError):
                target.lstat()  # a name that is too long shows now, not after all the work
            self.path = self._name(f"{zlib.crc32(os.fsencode(target.name)):08x}")
            if not self._lock_path():
                self.path = self._name(secrets.token_hex(4))
                self.path.touch(exist_ok=False)
        except OSError as error:
            raise AudioError(f"cannot write {target}: {error.strerror}") from error
        self._is_there = True

    def _name(self, key: str) -> Path:
        # Absolute, because FFmpeg takes what stands before a colon for a protocol; and cut, because a name may have 255
        # bytes, and a character takes up to four.
        return self.target.absolute().with_name(f".{self.target.stem[:40]}.{key}{self.target.suffix}")

    def _lock_path(self) -> bool:
        """Take the path, unless another process writes the same target at this moment, or there are no locks."""
        if fcntl is None:
            return False  # type: ignore[unreachable]  # mypy has found it
        number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path.exists() and os.path.samestat(os.fstat(number), self.path.stat()):
                self._lock = number
                return True  # otherwise that process has just renamed it
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks, on which no other process has taken the path either
            self.path.unlink(missing_ok=True)
        os.close(number)
        return False

    def keep(self) -> None:
        if self._is_pipe:
            with self.path.open("rb") as file, self.target.open("wb") as pipe:
                shutil.copyfileobj(file, pipe)
            return
        os.replace(self.path, self.target)
        self._is_there = False  # the path may belong to another process by now

    def discard(self) -> None:
        if self._is_there:
            self.path.unlink(missing_ok=True)
        self._is_there = False
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
