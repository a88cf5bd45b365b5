"""Reading audio files block by block: everything FFmpeg reads (through PyAV), with tags, pictures and chapters.

Arrays are float32 of shape `(channels, samples)` with full scale ±1. Nothing here holds more than a block in memory.
"""

from __future__ import annotations

import functools
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import numpy as np

from .container_unlossy import (
    TOLERATED,
    codec_tag,
    counted_samples,
    ends_within_a_page,
    is_made_up,
    itunes_length,
    missing_bytes,
    ogg_links,
    open_input,
    open_section,
    seconds_after_picture,
    take_unsorted_speakers,
)
from .decoding_unlossy import Piece, decode_stream, keep_time, to_float
from .layout_unlossy import DEFAULT_SPEAKERS, Speakers, place_speakers, sort_speakers
from .mpeg_unlossy import format_varies, xing_frames
from .source_unlossy import AudioFile, is_in_memory, is_url, name_source, spool
from .tags_unlossy import Tags, read_tags

try:
    import av
    import soxr
except ImportError:
    av = soxr = None  # type: ignore[assignment]

MAX_CHANNELS = 8
SAMPLING_RATES = (8_000, 192_000)  # [Hz] lowest and highest that is read

# How much [s] of what the file declares may be missing before it counts as truncated; other containers don't declare
# it.
_MISSING_ALLOWED = dict.fromkeys(("flac", "wav", "aiff", "au", "caf", "tta", "w64", "wv"), 0.05)
_MISSING_ALLOWED |= dict.fromkeys(("mov,mp4,m4a,3gp,3g2,mj2", "ogg", "matroska,webm", "asf", "avi", "flv", "mp3"), 0.1)
_MOST_PER_BYTE = 10_000  # samples, which even silence takes
_PLAYLISTS = ("hls", "concat", "dash")
_ONE_DURATION = ("matroska,webm", "asf", "flv")  # of all streams together
_NAMED_PLACES = 3  # how many damaged places a warning names
_SHORTEST_PART = 1.0  # [s] of what counts as a format of its own
_ONE_CHANGE = 0.1  # [s] within which a decoder may change in several steps
_OPUS_RATE = 48_000  # [Hz] that delays are counted at
_Format = tuple[int, Speakers]  # [Hz] and speakers


class AudioError(ValueError):
    """An audio file that cannot be read or written; the message names the file and the reason."""


class TruncatedError(AudioError):
    """More than a tenth of a file is missing at its end; `partial` takes what is there."""


class AudioReader:
    """Reads an audio track of a file, once, block by block.

    The encoder's delay and padding are taken off where the file tells them (MP3 with a LAME tag, M4A, Ogg). What can't
    be decoded, what the file's times leave out, and the time before the sound of a video begins become silence, so
    that everything keeps its place.

    Args:
        source (`str`, `os.PathLike`, `bytes` or file object): any file that FFmpeg decodes, by its name, as its bytes
            or opened for reading in binary mode, for which a temporary file stands in; the picture of a video is
            ignored.
        track (`int`, *optional*): number of the audio track, from 1. Of several, the default one is read, with a
            warning.
        strict (`bool`, defaults to `False`): whether what would be a warning is an error.
        partial (`bool`, defaults to `False`): whether a file that ends early by more than a tenth is read with a
            warning, too.

    Attributes:
        name (`str`): what sentences call the file.
        path (`Path`): the file.
        sampling_rate (`int`): in Hz.
        channels (`int`): 1 to 8.
        speakers (`tuple[str, ...]`): FFmpeg's name of each, such as "FL" and "LFE"; where the file has none, those of
            FFmpeg's default layout.
        codec (`str`): FFmpeg's name of the format: "mp3", "aac", "vorbis", "opus", "flac", "pcm_s16le" …
        bit_rate (`int` or `None`): in bit/s, of the stream or else of the whole file.
        num_frames (`int` or `None`): samples a channel as the header has it; an estimate for raw AAC and for MP3
            without a LAME tag.
        bits_per_sample (`int` or `None`): of lossless formats.
        tags (`Tags`): its tags, pictures and chapters, read when they are first asked for.
        warnings (`list[str]`): sentences on what is odd in the file, complete after its last block.

    Raises:
        AudioError: no such file, a folder, empty, not audio, no samples, no such track, more than 8 channels, or a rate
            outside 8 to 192 kHz.
    """

    def __init__(
        self, source: AudioFile, *, track: int | None = None, strict: bool = False, partial: bool = False
    ) -> None:
        if av is None:
            raise ImportError("reading audio files needs PyAV: pip install av soxr")
        self.strict, self.partial = strict, partial
        self._closing = ExitStack()
        self._unread: set[tuple[int, int]] = set()
        self.warnings: list[str] = []
        try:
            self.name = name_source(source)
        except TypeError:
            kind = type(source).__name__
            raise AudioError(f"expected a file's name, its bytes, a file object or an array, not {kind}") from None
        self.path = self._spool(source) if is_in_memory(source) else Path(self.name)
        try:
            self._open()
            self._start(track)
        except BaseException:
            self.close()
            raise

    def _spool(self, source: AudioFile) -> Path:
        try:
            path = spool(source)
            self._closing.callback(path.unlink, missing_ok=True)
            return path
        except TypeError as error:
            raise AudioError(f"{self.name} gives text: open it in binary mode, as in open(name, 'rb')") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"{self.name} cannot be read: {reason}") from error

    def _open(self) -> None:
        if is_url(self.name) and not self.path.exists():
            url = re.sub(":/+", "://", self.name, count=1)
            raise AudioError(f"{url} is a URL: download the file first")
        try:
            if not self.path.exists():
                raise AudioError(f"no such file: {self.name}")
            if self.path.is_dir():
                raise AudioError(f"{self.name} is a folder, not an audio file")
            if not self.path.is_file():
                raise AudioError(f"{self.name} is a pipe or a device: save its audio in a file first")
            if self.path.stat().st_size == 0:
                raise AudioError(f"{self.name} is empty")
            self._container = self._closing.enter_context(open_input(self.path))
            if self._container.format.name in _PLAYLISTS:
                # Its files may be anybody's: the demo would give them away.
                raise AudioError(f"{self.name} is a playlist, not an audio file: name the files that it lists")
            self._links = ogg_links(self.path) if self._container.format.name == "ogg" else []
            if len(self._links) > 1:
                self._container = self._closing.enter_context(open_section(self.path, *self._links[0]))
        except PermissionError as error:
            raise AudioError(f"{self.name} cannot be read: permission denied") from error
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"{self.name} is not an audio file, or is damaged at its beginning") from error

    def _start(self, track: int | None) -> None:
        stream = self._choose(track)
        if stream.codec_context is None:
            # PyAV's types don't know of this.
            codec = f"a codec that FFmpeg can't decode{codec_tag(self.path)}"  # type: ignore[unreachable]
            raise AudioError(f"{self.name} is in {codec}: convert it with the program that made it")
        self._stream = stream
        names = take_unsorted_speakers(stream)
        self._counted = self._count_in_header(stream)
        self._pieces: Iterator[Piece] | None = self._all_pieces()
        try:
            # What the decoder delivers counts: headers miss the doubled rate of HE-AAC, for instance.
            self._first = next(self._pieces, None)
        except av.FFmpegError as error:
            raise AudioError(f"{self.name} is damaged: decoding failed at its beginning") from error
        if self._first is None:
            raise AudioError(f"{self.name} has no samples that can be decoded")

        frame = self._first.frame
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{self.name} has {channels} channels: at most {MAX_CHANNELS} can be read")
        if not SAMPLING_RATES[0] <= rate <= SAMPLING_RATES[1]:
            raise AudioError(f"{self.name} has a sampling rate of {rate} Hz: 8 to 192 kHz can be read")
        self._names = names or [channel.name for channel in frame.layout.channels]
        self.sampling_rate, self.speakers = self._survey((rate, sort_speakers(self._names)[0]))
        self.channels = len(self.speakers)
        self.codec = stream.codec_context.codec.canonical_name
        self.bit_rate = stream.bit_rate or self._container.bit_rate or None
        self.bits_per_sample = _bits_per_sample(self.codec, frame.format.name)
        # Where there is a picture, sound that begins later than it stays later.
        self._delay = round(seconds_after_picture(self._container, stream) * self.sampling_rate)
        self._end = itunes_length(self._container, stream, self.sampling_rate)
        self.num_frames = self._declared_frames() if self._end is None else self._end

    @functools.cached_property
    def tags(self) -> Tags:
        tags, remarks = read_tags(self.path, self._container, self._stream)
        self.warnings += [f"{self.name}: {remark}" for remark in remarks]
        return tags

    def _choose(self, track: int | None) -> av.AudioStream:
        tracks = self._container.streams.audio
        if not tracks:
            raise AudioError(f"{self.name} has no audio in it, or is truncated")
        names = [_name_track(number, stream) for number, stream in enumerate(tracks, start=1)]
        if track is not None:
            if not 1 <= track <= len(tracks):
                raise AudioError(f"{self.name} has no audio track {track}, only {', '.join(names)}")
            return tracks[track - 1]
        # A codec that nothing decodes is worth a sentence where there is no other track.
        possible = [stream for stream in tracks if stream.codec_context is not None] or list(tracks)
        chosen = min(possible, key=_rank_track)
        if len(tracks) > 1:
            number = list(tracks).index(chosen) + 1
            self._warn(
                f"{self.name} has {len(tracks)} audio tracks, {', '.join(names)}, of which number {number} is "
                "read; the option track chooses another"
            )
        return chosen

    def _warn(self, sentence: str) -> None:
        if self.strict:
            raise AudioError(sentence)
        self.warnings.append(sentence)

    def _count_in_header(self, stream: av.AudioStream) -> int:
        """The samples that count where a codec fills up its last block, or a container its last byte."""
        fills = ("adpcm", "gsm", "pcm") if self._container.format.name == "aiff" else ("adpcm", "gsm")
        return counted_samples(self.path) if stream.codec_context.codec.canonical_name.startswith(fills) else 0

    def _parts(self) -> Iterator[tuple[av.container.InputContainer, av.AudioStream]]:
        """The containers that a file consists of, and the stream to read in each, one after the other."""
        yield self._container, self._stream
        number = list(self._container.streams.audio).index(self._stream)
        for link in self._links[1:]:
            try:
                with open_section(self.path, *link) as container:
                    yield container, container.streams.audio[number]
            except (av.FFmpegError, IndexError):
                self._unread.add(link)

    def _all_pieces(self) -> Iterator[Piece]:
        for container, stream in self._parts():
            if stream.codec_context is not None:
                yield from keep_time(decode_stream(container, stream), container, stream, self._counted)

    def _survey(self, first: _Format) -> _Format:
        """The most, of rate and speakers, that a file has whose format changes on its way."""
        seconds: defaultdict[_Format, float] = defaultdict(float)
        container_format = self._container.format.name
        if len(self._links) > 1:
            for _, stream in self._parts():
                if stream.codec_context is not None:
                    speakers, _ = sort_speakers([channel.name for channel in stream.layout.channels])
                    seconds[stream.rate or 0, speakers] = math.inf
        elif container_format in ("mp3", "aac") and format_varies(self.path, container_format):
            with open_input(self.path) as container, suppress(av.FFmpegError):
                for frame, _, _ in decode_stream(container, container.streams.audio[0]):
                    speakers, _ = sort_speakers([channel.name for channel in frame.layout.channels])
                    seconds[frame.sample_rate, speakers] += frame.samples / frame.sample_rate
        # What is shorter may be a damaged header.
        long = {its_format for its_format, length in seconds.items() if length >= _SHORTEST_PART}
        possible = {
            (rate, speakers)
            for rate, speakers in long
            if SAMPLING_RATES[0] <= rate <= SAMPLING_RATES[1] and 1 <= len(speakers) <= MAX_CHANNELS
        } or {first}
        return max(rate for rate, _ in possible), max((speakers for _, speakers in possible), key=len)

    def _declared_frames(self) -> int | None:
        lengths = [self._declared_of(container, stream) for container, stream in self._parts()]
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) and sum(known) > 0 else None

    def _declared_of(self, container: av.container.InputContainer, stream: av.AudioStream) -> int | None:
        if stream.duration is not None and stream.time_base is not None:
            frames = round(stream.duration * stream.time_base * self.sampling_rate)
            frames += self._delay
            if container.format.name == "ogg" and stream.codec_context.codec.canonical_name == "opus":
                # FFmpeg counts from zero, also for a recording of a stream, which starts somewhere in it.
                skipped = stream.codec_context.delay + (stream.start_time or 0)
                frames -= round(skipped * self.sampling_rate / _OPUS_RATE)
            return frames
        if container.duration is not None:
            return round(container.duration * self.sampling_rate / av.time_base)
        return None

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
        if self._pieces is None or self._first is None:
            raise RuntimeError(f"{self.name} has been read already: open it again")
        pieces, self._pieces = self._pieces, None
        yield from self._silence(self._delay)
        position = self._delay
        end = math.inf if self._end is None else self._delay + self._end
        holes: list[tuple[float, float]] = []  # [s] where and how long
        changes: list[float] = []  # [s] where
        conform = _Conformer(self._first.frame, self._names, self.sampling_rate, self.speakers)

        def cut(samples: np.ndarray) -> np.ndarray:
            return samples[:, : int(min(samples.shape[1], max(end - position, 0)))]

        try:
            for frame, length, missing, damaged in _chain(self._first, pieces):
                seconds = position / self.sampling_rate
                if conform.is_of_another_format(frame):
                    names = [channel.name for channel in frame.layout.channels]
                    following = _Conformer(frame, names, self.sampling_rate, self.speakers)
                    if following.format != conform.format and seconds - (changes or [-1])[-1] > _ONE_CHANGE:
                        changes.append(seconds)
                        if self.strict:
                            raise AudioError(f"{self.name} changes its sampling rate or channels after {seconds:.1f} s")
                    rest = cut(conform.finish())
                    position += rest.shape[1]
                    yield rest
                    conform = following
                if missing:
                    missing = round(missing * self.sampling_rate / frame.sample_rate)
                    holes.append((seconds, missing / self.sampling_rate))
                    if self.strict:
                        reason = "is damaged: decoding failed" if damaged else "has a gap"
                        raise AudioError(f"{self.name} {reason} after {seconds:.1f} s")
                    yield from self._silence(missing)
                    position += missing
                samples = cut(conform.process(frame, length))
                if not np.isfinite(samples).all():
                    raise AudioError(
                        f"{self.name} has samples that are not finite (NaN or infinity) after {seconds:.1f} s"
                    )
                position += samples.shape[1]
                yield samples
            rest = cut(conform.finish())
            position += rest.shape[1]
            yield rest
        except av.FFmpegError as error:
            seconds = position / self.sampling_rate
            sentence = f"{self.name} is truncated or damaged: decoding failed after {seconds:.1f} s"
            if self.strict or not self.partial:
                raise TruncatedError(sentence) from error
            self.warnings.append(sentence)
        else:
            self._check_complete(position)
        if holes:
            self.warnings.append(f"{self.name} {_describe_holes(holes)}")
        if changes:
            self.warnings.append(
                f"{self.name} changes its sampling rate or channels at {_name_places(changes)}: all of it is read at "
                f"{self.sampling_rate} Hz with {'+'.join(self.speakers)}"
            )
        if self._unread:
            parts = len(self._unread)
            self._warn(f"{self.name} has {parts} parts of {len(self._links)} that can't be decoded, and is shorter")

    def _silence(self, frames: int) -> Iterator[np.ndarray]:
        for start in range(0, frames, self.sampling_rate):
            yield np.zeros((self.channels, min(frames - start, self.sampling_rate)), np.float32)

    def _check_complete(self, position: int) -> None:
        there = position / self.sampling_rate
        container = self._container.format.name
        if container == "ogg" and ends_within_a_page(self.path):
            # Ogg has its length in its last page only.
            self._report_missing(f"{self.name} is truncated: it breaks off after {there:.1f} s", severe=True)
            return
        declared, is_cut = self.num_frames, True
        if container == "wav":
            # FFmpeg takes the length of a WAV file from its size, and that of what stands behind the samples with it.
            missing = missing_bytes(self.path)
            counted = position if self.codec.startswith("pcm") else max(position, declared or 0)
            declared = counted + (8 * missing * self.sampling_rate // self.bit_rate if self.bit_rate else 0)
            is_cut = not is_made_up(missing + self.path.stat().st_size)
        elif container in ("aiff", "avi"):
            is_cut = missing_bytes(self.path) > 0
        if declared is not None and declared > _MOST_PER_BYTE * self.path.stat().st_size:
            is_cut = False  # so much audio never was in it
        others = [stream for stream in self._container.streams if stream is not self._stream]
        is_counted = 0 < self._counted <= position
        if declared is None or is_counted or (container in _ONE_DURATION and others):
            return
        allowed = _MISSING_ALLOWED.get(container, math.inf) * self.sampling_rate
        if container == "mp3":
            # Without a Xing tag, or with something appended to the file of the tag, FFmpeg estimates.
            whole_frames = xing_frames(self.path) * self._stream.codec_context.frame_size
            declared = min(declared, whole_frames)
        if position < declared - allowed:
            whole = declared / self.sampling_rate
            reason = "is truncated or damaged" if is_cut else "declares too much"
            self._report_missing(
                f"{self.name} {reason}: {there:.1f} s of {whole:.1f} s can be decoded",
                severe=is_cut and position < (1 - TOLERATED) * declared,
            )

    def _report_missing(self, sentence: str, severe: bool) -> None:
        if self.strict or (severe and not self.partial):
            raise TruncatedError(sentence)
        self.warnings.append(sentence)

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _name_track(number: int, stream: av.AudioStream) -> str:
    """The number of a track and what its file calls it: "2 (Main, eng)"."""
    texts = [" ".join(stream.metadata.get(name, "").split()) for name in ("title", "language")]
    called = ", ".join(text for text in texts if text not in ("", "und"))
    return f"{number} ({called})" if called else str(number)


def _rank_track(stream: av.AudioStream) -> tuple[bool, bool]:
    """Orders tracks by how likely they are meant: the default one, and none for the blind, the deaf or the curious."""
    kinds = av.stream.Disposition
    special = kinds.comment | kinds.visual_impaired | kinds.hearing_impaired
    return not stream.disposition & kinds.default, bool(stream.disposition & special)


def _describe_holes(holes: list[tuple[float, float]]) -> str:
    """Where something is missing, and how much it is together."""
    places = _name_places([place for place, _ in holes])
    return f"has no audio at {places}: {sum(length for _, length in holes):.2f} s are filled with silence"


def _name_places(places: list[float]) -> str:
    """The first of some places [s], and how many there are besides."""
    more = f" and {len(places) - _NAMED_PLACES} other places" if len(places) > _NAMED_PLACES else ""
    return ", ".join(f"{place:.2f}" for place in places[:_NAMED_PLACES]) + " s" + more


def _chain(first: Piece | None, rest: Iterator[Piece]) -> Iterator[Piece]:
    if first is not None:
        yield first
    yield from rest


class _Conformer:
    """Brings audio of one format to the rate and the speakers of the whole.

    Args:
        frame (`av.AudioFrame`): the first one of this format.
        names (list of `str`): FFmpeg's names of its channels.
        rate (`int`), speakers (`tuple[str, ...]`): of the whole.
    """

    def __init__(self, frame: av.AudioFrame, names: list[str], rate: int, speakers: Speakers) -> None:
        self._rate, self._layout = frame.sample_rate, frame.layout
        its_speakers, self._order = sort_speakers(names)
        self.format: _Format = (self._rate, its_speakers)
        self._speakers, self._channels = speakers, len(speakers)
        self._resampler = Resampler(self._rate, rate, self._channels)
        self._mixer: av.AudioResampler | None = None
        layout, self._places, _ = place_speakers(its_speakers, [speakers])
        if its_speakers == DEFAULT_SPEAKERS[1] and "FC" not in speakers:
            self._places = [index for index, name in enumerate(speakers) if name in ("FL", "FR")]  # both the same
        elif layout != speakers:
            self._mixer = av.AudioResampler("flt", "+".join(speakers), self._rate)

    def is_of_another_format(self, frame: av.AudioFrame) -> bool:
        return frame.sample_rate != self._rate or frame.layout != self._layout

    def process(self, frame: av.AudioFrame, length: int) -> np.ndarray:
        """The first samples of a frame, as far as they have come out."""
        if self._mixer is not None:
            frame.pts = None
            parts = [to_float(mixed) for mixed in self._mixer.resample(frame)]
            return self._resampler.process(np.concatenate(parts, axis=1)[:, :length])
        samples = to_float(frame)[self._order, :length]
        if self.format[1] != self._speakers:
            placed = np.zeros((self._channels, samples.shape[1]), np.float32)
            placed[self._places] = samples
            samples = placed
        return self._resampler.process(samples)

    def finish(self) -> np.ndarray:
        """What is left."""
        return self._resampler.process(np.zeros((self._channels, 0), np.float32), last=True)


def _bits_per_sample(codec: str, sample_format: str) -> int | None:
    if match := re.match(r"pcm_[suf](\d+)", codec):
        return int(match[1])
    if codec in ("flac", "alac", "wavpack", "tta", "ape"):
        return {"u8": 8, "s16": 16, "s32": 24}.get(sample_format.removesuffix("p"))
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
            if soxr is None:
                raise ImportError(f"resampling from {from_rate} to {to_rate} Hz needs soxr: pip install av soxr")
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
