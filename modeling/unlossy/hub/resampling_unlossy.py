"""Audio of one rate and one set of speakers, brought to another, as a stream."""

from __future__ import annotations

import numpy as np

from .decoding_unlossy import to_float
from .layout_unlossy import DEFAULT_SPEAKERS, Speakers, place_speakers, sort_speakers

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]
try:
    import soxr
except ImportError:
    soxr = None  # type: ignore[assignment]

Format = tuple[int, Speakers]  # [Hz] and speakers


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


class Conformer:
    """Brings audio of one format to the rate and the speakers of the whole.

    Args:
        frame (`av.AudioFrame`): the first one of this format.
        names (list of `str`): FFmpeg's names of its channels.
        rate (`int`), speakers (`tuple[str, ...]`): of the whole.
    """

    def __init__(self, frame: av.AudioFrame, names: list[str], rate: int, speakers: Speakers) -> None:
        self._rate, self._layout = frame.sample_rate, frame.layout
        its_speakers, self._order = sort_speakers(names)
        self.format: Format = (self._rate, its_speakers)
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
