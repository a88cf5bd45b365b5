"""Reading and writing audio files block by block: everything FFmpeg reads (through PyAV), with tags and cover art."""

from collections.abc import Iterator

import numpy as np

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]


def decode_stream(container: "av.container.InputContainer", stream: "av.AudioStream") -> "Iterator[av.AudioFrame]":
    """Yield the decoded frames of an audio stream, encoder delay and padding taken off as the container says."""
    if stream.codec_context.name != "opus":
        yield from container.decode(stream)
        return
    # FFmpeg's own Opus decoder puts what was coded in the speech modes (noise-like stereo below 56 kbps, say) 3 or 4
    # samples too early, and leaves 312 samples of padding on short files; libopus does neither.
    decoder = av.CodecContext.create("libopus", "r")
    decoder.options = {"request_sample_fmt": "flt"}
    decoder.extradata = stream.codec_context.extradata
    decoder.sample_rate = stream.rate
    decoder.layout = stream.layout
    for packet in container.demux(stream):
        yield from decoder.decode(packet if packet.size else None)


def to_float(frame: "av.AudioFrame") -> np.ndarray:
    """Samples of a frame of any sample format as float32 of shape `(channels, samples)`, full scale ±1."""
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        # In double precision: 32 bits don't fit into float32, and the division should round once only.
        return (samples / 2.0 ** (8 * samples.itemsize - 1)).astype(np.float32)
    return samples.astype(np.float32, copy=False)
