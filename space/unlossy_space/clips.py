"""Uploads: how they are read within the limits, described, and listened to.

A file is decoded once, in blocks: who wants to have it listens to the one who reads it.

This module imports `unlossy`, so that it is imported where it is needed, and not at the top of another.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# The package first, which waits for the thread that loads the model: a module of it, asked for while that thread
# imports the package, is a deadlock, after which there is no model.
from unlossy import AudioError
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.layout_unlossy import Speakers, channel_groups
from unlossy.hub.resampling_unlossy import Resampler
from unlossy.inspection import FileInformation, inspect_file
from unlossy.pictures import PowerMeter
from unlossy_space import limits

LISTENING_RATE = 44_100  # [Hz]
_CENTRE = 0.7  # of a channel that belongs to both sides, in each of them


class UploadReader(AudioReader):
    """Reads an upload within the limits, and hands on what it reads.

    Args:
        path (`Path`): the file.
        listener (`Callable[[np.ndarray], None]`, *optional*): is given each block of `blocks` before it is worked on.

    Raises:
        ValueError: gone, too large or, in `blocks` at the latest, too long.
        AudioError: as of `AudioReader`.
    """

    def __init__(self, path: Path, listener: Callable[[np.ndarray], None] | None = None) -> None:
        if not path.exists():
            raise ValueError(limits.is_gone(path))
        size, most = path.stat().st_size / 1e6, limits.MAX_BYTES / 1e6
        if size > most:
            raise ValueError(f"{path.name} has {size:.0f} MB; here at most {most:.0f} MB. {limits.WAY_OUT}")
        super().__init__(path)
        self.listener = listener
        # The header of a damaged file may say anything: only what is far too long is believed to be so.
        if self.declared_seconds > 2 * limits.MAX_SECONDS:
            self.close()
            raise self._too_long()

    @property
    def declared_seconds(self) -> float:
        """Length that the header has [s], or 0."""
        return (self.num_frames or 0) / self.sampling_rate

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        left = round(limits.MAX_SECONDS * self.sampling_rate)
        for block in super().blocks(frames):
            left -= block.shape[1]
            if left < 0:
                raise self._too_long()
            if self.listener:
                self.listener(block)
            yield block

    def _too_long(self) -> ValueError:
        most = limits.minutes(limits.MAX_SECONDS)
        return ValueError(f"{self.path.name} is longer than {most}, the most that is taken here. {limits.WAY_OUT}")


def count(path: Path) -> None:
    """Decode an upload for nothing but its length.

    Raises:
        ValueError: it is too long.
    """
    with UploadReader(path) as upload:
        for _ in upload.blocks(upload.sampling_rate):
            pass


@contextmanager
def copying(source: AudioReader, path: Path) -> Iterator[Callable[[np.ndarray], None]]:
    """A context that gives a function for the blocks of a reader, and makes of them a copy to listen to and to draw:
    FLAC in mono or stereo, of 16 bits, which every browser decodes to the same samples, and the power for `read_power`.

    The FLAC file is complete or not there at all.
    """
    speakers, channels, frames = source.speakers, min(source.channels, 2), 0
    resampler = Resampler(source.sampling_rate, LISTENING_RATE, channels)
    meter = PowerMeter(channels)
    with AudioWriter(path, LISTENING_RATE, channels, bit_depth="16") as writer:

        def write(block: np.ndarray, last: bool = False) -> None:
            nonlocal frames
            audio = resampler.process(mix_down(block, speakers), last)
            writer.write(audio)
            meter.add(audio)
            frames += audio.shape[1]

        yield write
        write(np.zeros((len(speakers), 0), np.float32), last=True)
        np.savez(_power_of(path), power=meter.finish(), seconds=frames / LISTENING_RATE)


def copy(source: Path, path: Path) -> str:
    """Make such a copy of a file, and return its path."""
    with AudioReader(source) as reader, copying(reader, path) as write:
        for block in reader.blocks(reader.sampling_rate):
            write(block)
    return str(path)


def read_power(path: Path) -> tuple[np.ndarray, float]:
    """Power of a copy, of shape `(bins, columns)`, and its length [s]."""
    with np.load(_power_of(path)) as stored:
        return stored["power"], float(stored["seconds"])


def _power_of(path: Path) -> Path:
    return path.with_suffix(".npz")


def inspect_upload(path: Path) -> FileInformation:
    """[`inspect_file`] of an upload within the limits.

    Raises:
        ValueError: too large or too long, not audio, or damaged; the message has the file's name without its folder.
    """
    try:
        return inspect_file(UploadReader(path))
    except AudioError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error


def describe(information: FileInformation) -> str:
    """A line of facts and a sentence of advice, in Markdown."""
    channels = {1: "mono", 2: "stereo"}.get(information.channels, f"{information.channels} channels")
    facts = [
        information.codec.upper().replace("_", " "),
        *([] if information.bit_rate is None else [f"{information.bit_rate / 1000:.0f} kbps"]),
        f"{information.sampling_rate / 1000:g} kHz",
        channels,
        limits.minutes(information.duration_s),
        "full band" if information.cutoff_hz is None else f"cutoff at {information.cutoff_hz / 1000:.1f} kHz",
    ]
    return f"**{' · '.join(facts)}**  \n{information.advice}"


def read_beginning(path: Path, seconds: float) -> np.ndarray:
    """Decode the first seconds of an upload, for measuring.

    Returns:
        `np.ndarray` of shape `(1 or 2 channels, samples)`: float32 at `LISTENING_RATE`.
    """
    limit = round(seconds * LISTENING_RATE)
    parts: list[np.ndarray] = []
    with UploadReader(path) as reader:
        channels = min(reader.channels, 2)
        resampler = Resampler(reader.sampling_rate, LISTENING_RATE, channels)
        for block in reader.blocks(reader.sampling_rate):
            parts.append(resampler.process(mix_down(block, reader.speakers)))
            if sum(part.shape[1] for part in parts) >= limit:
                break
        parts.append(resampler.process(np.zeros((channels, 0), np.float32), last=True))
    return np.concatenate(parts, axis=1)[:, :limit]


def mix_down(block: np.ndarray, speakers: Speakers) -> np.ndarray:
    """`(channels, samples)` to at most two channels, never louder than full scale."""
    if len(block) <= 2:
        return block
    groups = channel_groups(speakers)
    pairs = [group for group in groups if len(group) == 2]
    centres = [group[0] for group in groups if len(group) == 1]
    sides = [sum(block[pair[side]] for pair in pairs) + _CENTRE * block[centres].sum(axis=0) for side in (0, 1)]
    return np.stack(sides) / np.float32(len(pairs) + _CENTRE * len(centres))


def write_clip(path: Path, audio: np.ndarray) -> str:
    """Write what `read_beginning` returns as FLAC of 16 bits, which every browser decodes to the same samples."""
    with AudioWriter(path, LISTENING_RATE, len(audio), bit_depth="16") as writer:
        for start in range(0, audio.shape[1], LISTENING_RATE):
            writer.write(audio[:, start : start + LISTENING_RATE])
    return str(path)


def convert(source: Path, target: Path) -> tuple[str, ...]:
    """Write a file in another format, with its tags, pictures and chapters.

    Returns:
        a sentence on each thing that the format can't hold.

    Raises:
        AudioError: the format can't hold so many channels.
    """
    with (
        AudioReader(source) as reader,
        AudioWriter(
            target,
            reader.sampling_rate,
            reader.channels,
            speakers=reader.speakers,
            tags=reader.tags,
            overwrite=True,
        ) as writer,
    ):
        for block in reader.blocks(reader.sampling_rate):
            writer.write(block)
    return tuple(writer.warnings)
