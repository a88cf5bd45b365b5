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
    codec_tag,
    counted_samples,
    declared_frames,
    ends_within_a_page,
    itunes_length,
    name_track,
    ogg_links,
    open_input,
    open_section,
    rank_track,
    seconds_after_picture,
    take_unsorted_speakers,
    undelivered,
)
from .decoding_unlossy import LOUDEST, Piece, decode_stream, keep_time
from .gaps_unlossy import TOLERATED, Gaps, name_places
from .layout_unlossy import sort_speakers
from .mpeg_unlossy import format_varies
from .resampling_unlossy import Conformer, Format
from .source_unlossy import AudioFile, is_in_memory, is_pipe, is_url, name_source, spool
from .tags_reading_unlossy import read_tags
from .tags_unlossy import Tags

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

MAX_CHANNELS = 8
SAMPLING_RATES = (8_000, 192_000)  # [Hz] lowest and highest that is read

_PLAYLISTS = ("hls", "concat", "dash")
_SHORTEST_PART = 1.0  # [s] of what counts as a format of its own
_ONE_CHANGE = 0.1  # [s] within which a decoder may change in several steps


class AudioError(ValueError):
    """An audio file that cannot be read or written; the message names the file and the reason."""


class TruncatedError(AudioError):
    """More than a tenth of a file is missing, or its times can't be right; `partial` takes what is there."""


class AudioReader:
    """Reads an audio track of a file, once, block by block.

    The encoder's delay and padding are taken off where the file tells them (MP3 with a LAME tag, M4A, Ogg). What can't
    be decoded, what the file's times leave out, and the time before the sound of a video begins become silence, so
    that everything keeps its place.

    Args:
        source (`str`, `os.PathLike`, `bytes` or file object): any file that FFmpeg decodes, by its name, as its bytes
            or opened for reading in binary mode, for which, as for a pipe, a temporary file stands in; the picture of a
            video is ignored.
        track (`int`, *optional*): number of the audio track, from 1. Of several, the default one is read, with a
            warning.
        strict (`bool`, defaults to `False`): whether what would be a warning is an error.
        partial (`bool`, defaults to `False`): whether a file of which more than a tenth is missing is read with a
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
        is_no_file = is_in_memory(source) or is_pipe(self.name)
        self.path = self._spool(source) if is_no_file else Path(self.name)
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
        try:
            _check_file(self.path, self.name)
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
        self._counted = counted_samples(self.path, self._container, stream)
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
        names = [name_track(number, stream) for number, stream in enumerate(tracks, start=1)]
        if track is not None:
            if not 1 <= track <= len(tracks):
                raise AudioError(f"{self.name} has no audio track {track}, only {', '.join(names)}")
            return tracks[track - 1]
        # A codec that nothing decodes is worth a sentence where there is no other track.
        possible = [stream for stream in tracks if stream.codec_context is not None] or list(tracks)
        chosen = min(possible, key=rank_track)
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

    def _survey(self, first: Format) -> Format:
        """The most, of rate and speakers, that a file has whose format changes on its way."""
        seconds: defaultdict[Format, float] = defaultdict(float)
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
        return _richest(first, seconds)

    def _declared_frames(self) -> int | None:
        lengths = [
            declared_frames(container, stream, self.sampling_rate, self._delay) for container, stream in self._parts()
        ]
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) and sum(known) > 0 else None

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Decode from the beginning to the end; possible once.

        Args:
            frames (`int`): samples a channel of every block but the last, which may be shorter.

        Yields:
            `np.ndarray` of shape `(channels, samples)`: float32, full scale ±1 (lossy formats may exceed it).

        Raises:
            AudioError: truncated or damaged data, or samples that are not finite or reach 100 times full scale.
        """
        if frames < 1:
            raise ValueError(f"a block needs at least one frame, not {frames}")
        yield from _regroup(self._decoded(), frames)

    def _decoded(self) -> Iterator[np.ndarray]:
        if self._pieces is None or self._first is None:
            raise RuntimeError(f"{self.name} has been read already: open it again")
        pieces, self._pieces = self._pieces, None
        yield from self._silence(self._delay)
        position = self._delay
        end = math.inf if self._end is None else self._delay + self._end
        gaps = Gaps(self.sampling_rate)
        changes: list[float] = []  # [s] where
        conform = Conformer(self._first.frame, self._names, self.sampling_rate, self.speakers)

        def cut(samples: np.ndarray) -> np.ndarray:
            return samples[:, : int(min(samples.shape[1], max(end - position, 0)))]

        try:
            for frame, length, missing, damaged in _chain(self._first, pieces):
                seconds = position / self.sampling_rate
                if conform.is_of_another_format(frame):
                    names = [channel.name for channel in frame.layout.channels]
                    following = Conformer(frame, names, self.sampling_rate, self.speakers)
                    if following.format != conform.format and seconds - (changes or [-1])[-1] > _ONE_CHANGE:
                        changes.append(seconds)
                        if self.strict:
                            raise AudioError(f"{self.name} changes its sampling rate or channels after {seconds:.1f} s")
                    rest = cut(conform.finish())
                    position += rest.shape[1]
                    yield rest
                    conform = following
                if missing:
                    if self.strict:
                        reason = "is damaged: decoding failed" if damaged else "has a gap"
                        raise AudioError(f"{self.name} {reason} after {seconds:.1f} s")
                    missing = self._believed(round(missing * self.sampling_rate / frame.sample_rate), gaps, position)
                    if missing:
                        gaps.add(position, missing, damaged)
                        yield from self._silence(missing)
                        position += missing
                samples = cut(conform.process(frame, length))
                self._check_level(samples, seconds)
                position += samples.shape[1]
                yield samples
            rest = cut(conform.finish())
            position += rest.shape[1]
            yield rest
        except av.FFmpegError:
            seconds = position / self.sampling_rate
            sentence = f"{self.name} is truncated or damaged: decoding failed after {seconds:.1f} s"
            self._report_missing(sentence, severe=True)
        else:
            self._check_complete(position)
        if gaps.lost > TOLERATED * position and not self.partial:
            there, whole = (position - gaps.lost) / self.sampling_rate, position / self.sampling_rate
            raise TruncatedError(f"{self.name} is damaged: {there:.1f} s of {whole:.1f} s can be decoded")
        if gaps:
            self.warnings.append(f"{self.name} {gaps}")
        if gaps.left_out:
            left_out = gaps.left_out / self.sampling_rate
            self.warnings.append(f"{self.name} has times that can't be right: {left_out:.0f} s of pauses are left out")
        if changes:
            self.warnings.append(
                f"{self.name} changes its sampling rate or channels at {name_places(changes)}: all of it is read at "
                f"{self.sampling_rate} Hz with {'+'.join(self.speakers)}"
            )
        if self._unread:
            parts = len(self._unread)
            self._warn(f"{self.name} has {parts} parts of {len(self._links)} that can't be decoded, and is shorter")

    def _believed(self, missing: int, gaps: Gaps, position: int) -> int:
        """How much of a gap is filled: all of it, or nothing once there are too many."""
        if not gaps.are_too_long(position, missing):
            return missing
        if not self.partial:
            audio, pauses = (
                (samples / self.sampling_rate) for samples in (position - gaps.filled, gaps.filled + missing)
            )
            raise TruncatedError(
                f"{self.name} has times that can't be right: {pauses:.0f} s of pauses in {audio:.1f} s of audio"
            )
        gaps.left_out += missing
        return 0

    def _check_level(self, samples: np.ndarray, seconds: float) -> None:
        peak = np.abs(samples).max(initial=0)
        if not np.isfinite(peak):
            raise AudioError(f"{self.name} has samples that are not finite (NaN or infinity) after {seconds:.1f} s")
        if peak > LOUDEST:
            raise AudioError(
                f"{self.name} has samples of {peak:.3g} times full scale after {seconds:.1f} s: they are damaged, or "
                "those of integers, which a program that edits sound can scale to ±1"
            )

    def _silence(self, frames: int) -> Iterator[np.ndarray]:
        for start in range(0, frames, self.sampling_rate):
            yield np.zeros((self.channels, min(frames - start, self.sampling_rate)), np.float32)

    def _check_complete(self, position: int) -> None:
        there = position / self.sampling_rate
        if self._container.format.name == "ogg" and ends_within_a_page(self.path):
            # Ogg has its length in its last page only.
            self._report_missing(f"{self.name} is truncated: it breaks off after {there:.1f} s", severe=True)
            return
        if 0 < self._counted <= position:
            return
        declared, is_cut = undelivered(
            self.path, self._container, self._stream, self.num_frames, position, self.sampling_rate
        )
        if declared is not None:
            whole = declared / self.sampling_rate
            reason = "is truncated or damaged" if is_cut else "declares too much"
            self._report_missing(
                f"{self.name} {reason}: {there:.1f} s of {whole:.1f} s can be decoded",
                severe=is_cut and position < (1 - TOLERATED) * declared,
            )

    def _report_missing(self, sentence: str, severe: bool) -> None:
        if severe and not self.partial and not self.strict:
            raise TruncatedError(sentence)
        self._warn(sentence)

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_file(path: Path, name: str) -> None:
    if is_url(name) and not path.exists():
        url = re.sub(":/+", "://", name, count=1)
        raise AudioError(f"{url} is a URL: download the file first")
    if not path.exists():
        raise AudioError(f"no such file: {name}")
    if path.is_dir():
        raise AudioError(f"{name} is a folder, not an audio file")
    if not path.is_file():
        raise AudioError(f"{name} is a device: save its audio in a file first")
    if path.stat().st_size == 0:
        raise AudioError(f"{name} is empty")


def _richest(first: Format, seconds: dict[Format, float]) -> Format:
    """The highest rate and the most speakers among formats, given how long each lasts; the first if none lasts."""
    # What is shorter may be a damaged header.
    long = {its_format for its_format, length in seconds.items() if length >= _SHORTEST_PART}
    possible = {
        (rate, speakers)
        for rate, speakers in long
        if SAMPLING_RATES[0] <= rate <= SAMPLING_RATES[1] and 1 <= len(speakers) <= MAX_CHANNELS
    } or {first}
    return max(rate for rate, _ in possible), max((speakers for _, speakers in possible), key=len)


def _regroup(parts: Iterator[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """Blocks of `frames` samples, but for the last."""
    pending: list[np.ndarray] = []
    available = 0
    for samples in parts:
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


def _chain(first: Piece | None, rest: Iterator[Piece]) -> Iterator[Piece]:
    if first is not None:
        yield first
    yield from rest


def _bits_per_sample(codec: str, sample_format: str) -> int | None:
    if match := re.match(r"pcm_[suf](\d+)", codec):
        return int(match[1])
    if codec in ("flac", "alac", "wavpack", "tta", "ape"):
        return {"u8": 8, "s16": 16, "s32": 24}.get(sample_format.removesuffix("p"))
    return None
