"""What an audio file is and what it lacks, from its header and its long-term spectrum."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .hub.audio_unlossy import AudioReader

_BAND = 100  # [Hz] width of the bands in which the edge is looked for
_LOWEST_EDGE = 3_000  # [Hz] below, an edge is more likely to be music
_FULL_BAND = 20_500  # [Hz] above, an edge is the converters' own
_INAUDIBLE = 19_000  # [Hz] what is missing above hardly matters
# [dB] fall within 1 kHz. Encoders' low-pass filters have 30 and more, but rounding to 16 bits fills up the bottom of
# what was decoded from quiet treble. Single notes may have it by themselves (one in ten of 165 recorded ones).
_CLIFF = 20.0
_SILENCE = 1e-16  # power below that of 24-bit rounding noise
_COARSE = 96_000  # [bit/s a channel] lossy files below it have noise to take away
_LOSSLESS = ("flac", "alac", "wavpack", "tta", "ape")


@dataclass(frozen=True)
class FileInformation:
    """What `inspect_file` found.

    Attributes:
        path (`Path`): the file.
        codec (`str`): FFmpeg's name of the format.
        bit_rate (`int` or `None`): in bit/s.
        sampling_rate (`int`): in Hz.
        channels (`int`): number of channels.
        duration_s (`float`): in seconds, counted in decoded samples.
        cutoff_hz (`float` or `None`): where the spectrum ends in a cliff, in Hz, or half of a sampling rate below 40
            kHz; `None` if the band is full.
        advice (`str`): a sentence on what a restoration would do.
        warnings (`tuple[str, ...]`): a sentence on each thing that is odd in the file.
    """

    path: Path
    codec: str
    bit_rate: int | None
    sampling_rate: int
    channels: int
    duration_s: float
    cutoff_hz: float | None
    advice: str
    warnings: tuple[str, ...] = ()


def inspect_file(path: str | os.PathLike[str] | AudioReader, *, track: int | None = None) -> FileInformation:
    """Decode a file once, block by block, and say what it lacks.

    Args:
        path: the file, by its name or opened with `AudioReader`, which is closed afterwards.
        track (`int`, *optional*): number of the audio track, from 1; the default one otherwise.

    Raises:
        AudioError: a file that cannot be read, as in `AudioReader`.
    """
    with path if isinstance(path, AudioReader) else AudioReader(path, track=track) as reader:
        size = _segment_size(reader.sampling_rate)
        power = np.zeros(size // 2 + 1)
        frames = 0
        for block in reader.blocks(16 * size):
            frames += block.shape[1]
            # An end within a window would spread over the spectrum: only a file shorter than a window is padded.
            if frames < size:
                block = np.pad(block, ((0, 0), (0, size - frames)))
            power += _segment_power(block, size)
        power /= frames * reader.channels
        cutoff_hz = find_cutoff(power, reader.sampling_rate)
        return FileInformation(
            path=Path(reader.name),
            codec=reader.codec,
            bit_rate=reader.bit_rate,
            sampling_rate=reader.sampling_rate,
            channels=reader.channels,
            duration_s=frames / reader.sampling_rate,
            cutoff_hz=cutoff_hz,
            advice=_advise(reader, cutoff_hz, silent=bool(power.max() < _SILENCE)),
            warnings=tuple(reader.warnings),
        )


def measure_cutoff(audio: np.ndarray, sampling_rate: int) -> float | None:
    """[`find_cutoff`] of the long-term spectrum of an array.

    Args:
        audio (`np.ndarray` of shape `(channels, samples)`): a segment of 1/11 s or more.
        sampling_rate (`int`): in Hz.
    """
    return find_cutoff(_segment_power(audio, _segment_size(sampling_rate)) / audio.size, sampling_rate)


def _segment_size(sampling_rate: int) -> int:
    """Samples for about 11 Hz between the bins, so that a band has several at any rate."""
    return 2 ** round(np.log2(sampling_rate / 11))


def _segment_power(audio: np.ndarray, size: int) -> np.ndarray:
    """Power spectra of the whole segments of `(channels, samples)`, summed: shape `(size // 2 + 1,)`."""
    # A tone fades within 100 Hz to below the rounding of 24 bits: the skirts of a Hann window look like edges.
    window = np.kaiser(size, 20)
    whole = audio[:, : audio.shape[1] // size * size]
    segments = whole.reshape(len(audio), -1, size) * window
    return np.square(np.abs(np.fft.rfft(segments))).sum(axis=(0, 1))


def find_cutoff(power: np.ndarray, sampling_rate: int) -> float | None:
    """Find the edge that a low-pass filter left in a power spectrum.

    Args:
        power (`np.ndarray` of shape `(bins,)`): from 0 Hz to half the sampling rate.
        sampling_rate (`int`): in Hz.

    Returns:
        `float` or `None`: frequency in Hz of the edge, to 100 Hz. Medians over 600 Hz on both sides of it are
        compared: single tones make no edge.
    """
    nyquist = sampling_rate / 2
    full = None if nyquist >= _INAUDIBLE + 1_000 else nyquist
    if power.max() < _SILENCE:
        return None
    bins_per_band = _BAND / nyquist * (len(power) - 1)
    starts = (np.arange(int(nyquist / _BAND)) * bins_per_band).astype(int)
    widths = np.diff(np.append(starts, len(power)))
    levels = 10 * np.log10(np.add.reduceat(power, starts) / widths + _SILENCE / 1000)

    if len(levels) - 6 <= _LOWEST_EDGE // _BAND:
        return full
    # Over 600 Hz from each band up; at the top over what is left.
    medians = np.median(np.lib.stride_tricks.sliding_window_view(levels, 6), axis=1)
    medians = np.append(medians, [np.median(levels[start:]) for start in range(len(levels) - 5, len(levels) - 2)])

    steepest, edge = _CLIFF, None
    for band in range(_LOWEST_EDGE // _BAND, len(levels) - 6):
        before = medians[band - 6]
        fall = before - medians[band + 4]
        # What comes back further up is music, and the fall was a gap in it.
        if fall >= steepest and medians[band + 4 :].max() < before - _CLIFF / 2:
            above = np.flatnonzero(levels[: band + 10] > before - _CLIFF / 2)
            steepest, edge = fall, float((above[-1] + 1) * _BAND)
    return full if edge is None or edge >= _FULL_BAND else edge


def _advise(reader: AudioReader, cutoff_hz: float | None, silent: bool) -> str:
    lossless = reader.codec.startswith("pcm") or reader.codec in _LOSSLESS
    if silent:
        return "The file is silent: there is nothing to restore."
    if cutoff_hz is not None and cutoff_hz < _INAUDIBLE:
        verb = "seems to have been taken away before and" if lossless else "is missing and"
        return f"The treble above {cutoff_hz / 1000:.1f} kHz {verb} would be regenerated."
    if not lossless and reader.bit_rate is not None and reader.bit_rate / reader.channels < _COARSE:
        return "The treble is there; a restoration would reduce the noise of the encoder."
    return "Nothing seems to be missing; a restoration would change little."
