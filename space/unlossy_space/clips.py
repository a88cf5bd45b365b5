"""Uploads: what may come in, how they are described, and how they are listened to and measured."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from unlossy.inspection import FileInformation

MAX_SECONDS = 360.0  # [s] a browser holds a decoded clip in memory, twice
MAX_BYTES = 100_000_000
LISTENING_RATE = 44_100  # [Hz]
_CENTRE = 0.7  # of a channel that belongs to both sides, in each of them

WAY_OUT = "For longer files there is the command line: `pip install unlossy`, then `unlossy restore FILE`."


def inspect_upload(path: Path) -> "FileInformation":
    """[`inspect_file`] of an upload within the limits.

    Raises:
        ValueError: too large or too long, not audio, or damaged; the message has the file's name without its folder.
    """
    # The package first, which waits for the thread that loads the model: a module of it, asked for while that thread
    # imports the package, is a deadlock, after which there is no model.
    from unlossy import AudioError
    from unlossy.hub.audio_unlossy import AudioReader
    from unlossy.inspection import inspect_file

    if not path.exists():
        raise ValueError(f"{path.name} has been removed after an hour. Choose it again.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path.name} has {size / 1e6:.0f} MB; here at most {MAX_BYTES / 1e6:.0f} MB. {WAY_OUT}")
    try:
        with AudioReader(path) as reader:  # what the header says, before all of it is decoded
            declared = (reader.num_frames or 0) / reader.sampling_rate
        # The header of a damaged file may say anything: only what is far too long is believed to be so.
        information = None if declared > 2 * MAX_SECONDS else inspect_file(path)
    except AudioError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    seconds = declared if information is None else information.duration_s
    if information is None or seconds > MAX_SECONDS:
        raise ValueError(f"{path.name} is {_minutes(seconds)} long; here at most {_minutes(MAX_SECONDS)}. {WAY_OUT}")
    return information


def describe(information: "FileInformation") -> str:
    """A line of facts and a sentence of advice, in Markdown."""
    channels = {1: "mono", 2: "stereo"}.get(information.channels, f"{information.channels} channels")
    facts = [
        information.codec.upper().replace("_", " "),
        *([] if information.bit_rate is None else [f"{information.bit_rate / 1000:.0f} kbps"]),
        f"{information.sampling_rate / 1000:g} kHz",
        channels,
        _minutes(information.duration_s),
        "full band" if information.cutoff_hz is None else f"cutoff at {information.cutoff_hz / 1000:.1f} kHz",
    ]
    return f"**{' · '.join(facts)}**  \n{information.advice}"


def read_clip(path: Path, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Decode a file for listening and measuring.

    Returns:
        `np.ndarray` of shape `(1 or 2 channels, samples)`: float32 at `LISTENING_RATE`, the beginning if it is longer
            than `max_seconds` [s].
    """
    from unlossy.hub.audio_unlossy import AudioReader
    from unlossy.hub.resampling_unlossy import Resampler

    limit = round(max_seconds * LISTENING_RATE)
    blocks: list[np.ndarray] = []
    frames = 0
    with AudioReader(path) as reader:
        resampler = Resampler(reader.sampling_rate, LISTENING_RATE, min(reader.channels, 2))
        for block in reader.blocks(reader.sampling_rate):
            blocks.append(resampler.process(mix_down(block, reader.speakers)))
            frames += blocks[-1].shape[1]
            if frames >= limit:
                break
        silence = np.zeros((min(reader.channels, 2), 0), np.float32)
        blocks.append(resampler.process(silence, last=True))
    return np.concatenate(blocks, axis=1)[:, :limit]


def mix_down(block: np.ndarray, speakers: tuple[str, ...]) -> np.ndarray:
    """`(channels, samples)` to at most two channels, never louder than full scale."""
    from unlossy.hub.layout_unlossy import channel_groups

    if len(block) <= 2:
        return block
    groups = channel_groups(speakers)
    pairs = [group for group in groups if len(group) == 2]
    centres = [group[0] for group in groups if len(group) == 1]
    sides = [sum(block[pair[side]] for pair in pairs) + _CENTRE * block[centres].sum(axis=0) for side in (0, 1)]
    return np.stack(sides) / np.float32(len(pairs) + _CENTRE * len(centres))


def write_clip(path: Path, audio: np.ndarray) -> str:
    """Write what `read_clip` returns as FLAC of 16 bits, which every browser decodes to the same samples."""
    from unlossy.hub.audio_writing_unlossy import AudioWriter

    with AudioWriter(path, LISTENING_RATE, len(audio), bit_depth="16") as writer:
        for start in range(0, audio.shape[1], LISTENING_RATE):
            writer.write(audio[:, start : start + LISTENING_RATE])
    return str(path)


def convert(source: Path, target: Path) -> None:
    """Write a file in another format, with its tags, pictures and chapters.

    Raises:
        AudioError: the format can't hold so many channels.
    """
    from unlossy.hub.audio_unlossy import AudioReader
    from unlossy.hub.audio_writing_unlossy import AudioWriter

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


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
