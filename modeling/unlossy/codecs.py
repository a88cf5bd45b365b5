"""Lossy encoding with real encoders, in memory or from file to file: what Unlossy is trained and measured on.

MP3 (LAME), AAC (FFmpeg's own encoder) and Opus (libopus) come through PyAV, Vorbis (libvorbis) through soundfile. What
`decode` returns is aligned with what went into `encode`: the offset, measured by cross-correlation, is 0 samples for
every codec. (Noise-like sounds that Opus codes in its speech modes, below 56 kbps in stereo, may be 2 samples early.)
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

try:
    import av
    import soundfile
    import soxr
except ImportError:
    av = soundfile = soxr = None  # type: ignore[assignment]

from .hub.audio_unlossy import AudioError, AudioReader
from .hub.audio_writing_unlossy import Encoder, TemporaryFile
from .hub.container_unlossy import ends_within_a_page
from .hub.decoding_unlossy import decode_stream, to_float
from .hub.layout_unlossy import DEFAULT_SPEAKERS
from .hub.resampling_unlossy import Resampler

CODECS = ("mp3", "aac", "vorbis", "opus")
SAMPLING_RATE = 44_100  # [Hz] of everything that `decode` returns

MP3_BITRATES = (24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # [kbps]
# Nominal bitrates [kbps] of libvorbis at 44.1 kHz for the qualities 0, 1 … 10, as it writes them into the header (12 s
# of stereo pink noise come out within 6 % of them). soundfile's compression_level is 1 - quality / 10: the qualities
# below 0, which would go down to 45 kbps, cannot be asked for.
VORBIS_BITRATES = {
    1: (48, 60, 70, 80, 86, 96, 110, 120, 140, 160, 240),
    2: (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500),
}
BITRATE_RANGES = {  # lowest and highest bitrate [kbps] for mono and for stereo
    "mp3": {1: (24, 320), 2: (24, 320)},
    "aac": {1: (16, 160), 2: (16, 320)},
    "vorbis": {channels: (rates[0], rates[-1]) for channels, rates in VORBIS_BITRATES.items()},
    "opus": {1: (16, 256), 2: (32, 510)},  # below, its speech mode shifts sounds by up to 150 samples
}
SUFFIXES = {"mp3": (".mp3",), "aac": (".m4a", ".mp4"), "vorbis": (".ogg", ".oga"), "opus": (".opus", ".ogg")}
_BLOCK = 65_536  # [frames] libsndfile crashes when it is handed a minute for Vorbis at once
_FF_QP2LAMBDA = 118  # FFmpeg's unit of quality
# What FFmpeg calls these ten qualities: LAME's own numbers; for AAC from about 330 down to 35 kbps of stereo music.
_VBR_QUALITIES = {"mp3": tuple(range(10)), "aac": (2.0, 1.55, 1.2, 0.93, 0.72, 0.56, 0.43, 0.33, 0.26, 0.2)}


def check_bitrate(codec: str, bitrate_kbps: int, channels: int = 2) -> None:
    """Raise a `ValueError` that names the way out if `codec` cannot take this bitrate [kbps] or number of channels."""
    if codec not in CODECS:
        raise ValueError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
    if channels not in (1, 2):
        raise ValueError(f"cannot degrade {channels} channels: only mono and stereo are supported, mix down first")
    lowest, highest = BITRATE_RANGES[codec][channels]
    if not lowest <= bitrate_kbps <= highest:
        kind = "mono" if channels == 1 else "stereo"
        raise ValueError(f"{codec} in {kind} takes {lowest} to {highest} kbps, not {bitrate_kbps}")
    if codec == "mp3" and bitrate_kbps not in MP3_BITRATES:
        choices = ", ".join(map(str, MP3_BITRATES))
        raise ValueError(f"mp3 has no bitrate of {bitrate_kbps} kbps: choose one of {choices}")


def encode(
    audio: np.ndarray,
    sampling_rate: int,
    codec: str,
    bitrate_kbps: int | None,
    *,
    quality: int | None = None,
    joint_stereo: bool = True,
    opus_cbr: bool = False,
) -> bytes:
    """Encode audio in memory.

    Args:
        audio (`np.ndarray` of shape `(channels, samples)`): float32, full scale ±1, mono or stereo, one sample or more.
        sampling_rate (`int`): of `audio`, in Hz. Audio at another rate than the codec's is resampled first.
        codec (`str`): one of `CODECS`. MP3, AAC (in M4A) and Vorbis (in Ogg) are encoded at 44.1 kHz, MP3 at 24 kbps at
            22.05 kHz (the format asks for it), Opus (in Ogg) at 48 kHz.
        bitrate_kbps (`int`, *optional*): MP3 gets exactly this (CBR); the other codecs take it as the mean they aim at.
            Vorbis and Opus may overshoot it by a half and more on tonal music.
        quality (`int`, *optional*): of MP3 and AAC in VBR from 0 (best) to 9, as LAME counts, instead of a bitrate.
        joint_stereo (`bool`, defaults to `True`): whether LAME may code stereo as mid and side.
        opus_cbr (`bool`, defaults to `False`): whether all packets of Opus have the same size.

    Raises:
        ValueError: unknown codec, bitrate or shape.
    """
    if audio.ndim != 2 or audio.shape[1] == 0:
        raise ValueError(f"audio must have shape (channels, samples) and at least one sample, not {audio.shape}")
    channels = audio.shape[0]
    if quality is not None:
        if codec not in _VBR_QUALITIES or bitrate_kbps is not None or quality not in range(10):
            raise ValueError("quality is 0 to 9, for the codecs 'mp3' and 'aac' with bitrate_kbps=None")
        check_bitrate(codec, 128, channels)
    elif bitrate_kbps is None:
        raise ValueError("bitrate_kbps is needed (only mp3 and aac can do without, with a quality)")
    else:
        check_bitrate(codec, bitrate_kbps, channels)

    options = {}
    if codec == "mp3":
        options["joint_stereo"] = str(int(joint_stereo))
    if codec == "opus":
        options["vbr"] = "off" if opus_cbr else "on"
    if quality is not None:
        options |= {"flags": "+qscale", "global_quality": str(round(_VBR_QUALITIES[codec][quality] * _FF_QP2LAMBDA))}
    buffer = io.BytesIO()
    encoder = _encoder(buffer, codec, bitrate_kbps, channels, options)
    encoder.write(_resample(audio.astype(np.float32, copy=False), sampling_rate, _encoder_rate(codec, bitrate_kbps)))
    encoder.close()
    return buffer.getvalue()


def decode(data: bytes, num_frames: int) -> np.ndarray:
    """Decode what `encode` made.

    Args:
        data (`bytes`): an encoded file.
        num_frames (`int`): samples a channel of the original at 44.1 kHz: the result is cut or zero-padded to it.

    Returns:
        `np.ndarray` of shape `(channels, num_frames)`: float32 at 44.1 kHz, not clipped, aligned with the original.

    Raises:
        AudioError: damaged data.
    """
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.audio[0]
            rate = stream.rate
            decoded = list(decode_stream(container, stream))
    except (av.FFmpegError, IndexError) as error:
        raise AudioError(f"the compressed audio cannot be decoded: {error}") from error
    if not decoded:
        raise AudioError("the compressed audio has no samples")
    if any(item.lost for item in decoded):
        raise AudioError("the compressed audio cannot be decoded: it is damaged")
    whole = np.concatenate([to_float(item.frame) for item in decoded], axis=1)
    audio = _resample(whole, rate, SAMPLING_RATE)[:, :num_frames]
    return np.pad(audio, ((0, 0), (0, num_frames - audio.shape[1])))


def degrade(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    codec: str,
    bitrate_kbps: int,
    *,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Encode an audio file with a lossy codec, block by block, at the sampling rate that `encode` has for the codec.

    Args:
        input (`str` or `os.PathLike`): any mono or stereo audio file.
        output (`str` or `os.PathLike`): its suffix must suit the codec (see `SUFFIXES`).
        codec (`str`), bitrate_kbps (`int`): as for `encode`.
        overwrite (`bool`, defaults to `False`): whether an existing file may be replaced.

    Returns:
        `tuple[str, ...]`: a sentence on each thing that is odd in the input.

    Raises:
        ValueError: unknown codec or bitrate, more than 2 channels, a suffix that does not suit the codec.
        AudioError: a file that cannot be read or written.
    """
    check_bitrate(codec, bitrate_kbps)
    if Path(output).suffix.lower() not in SUFFIXES[codec]:
        raise ValueError(f"{codec} needs an output name that ends in {' or '.join(SUFFIXES[codec])}, not {output}")
    with AudioReader(input) as reader:
        check_bitrate(codec, bitrate_kbps, reader.channels)
        resampler = Resampler(reader.sampling_rate, _encoder_rate(codec, bitrate_kbps), reader.channels)
        temporary = TemporaryFile(Path(output), overwrite)
        try:
            encoder = _encoder(str(temporary.path), codec, bitrate_kbps, reader.channels, {})
            try:
                for block in reader.blocks(_BLOCK):
                    _write(encoder, resampler.process(block))
                _write(encoder, resampler.process(np.zeros((reader.channels, 0), np.float32), last=True))
            except BaseException:
                encoder.abort()
                raise
            encoder.close()
            if codec == "vorbis" and ends_within_a_page(temporary.path):
                # libsndfile says nothing when the end does not fit on the disk.
                raise AudioError(f"cannot write {output}: the end is missing; is the disk full?")
            temporary.keep()
            return tuple(reader.warnings)
        except (av.FFmpegError, soundfile.LibsndfileError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"cannot write {output}: {reason}") from error
        finally:
            temporary.discard()


def _write(encoder: Any, block: np.ndarray) -> None:
    if block.shape[1]:
        encoder.write(block)


def _encoder_rate(codec: str, bitrate_kbps: int | None) -> int:
    if codec == "opus":
        return 48_000
    # MPEG-1, which has the rate 44.1 kHz, starts at 32 kbps; below there is only MPEG-2 with its half rates.
    return SAMPLING_RATE // 2 if codec == "mp3" and bitrate_kbps is not None and bitrate_kbps < 32 else SAMPLING_RATE


def _resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    if from_rate == to_rate:
        return audio
    return np.ascontiguousarray(soxr.resample(audio.T, from_rate, to_rate, quality="VHQ").T)


def _encoder(file: str | BinaryIO, codec: str, bitrate_kbps: int | None, channels: int, options: dict[str, str]) -> Any:
    """An encoder with the methods `write` and `close` for blocks at `_encoder_rate`."""
    rate = _encoder_rate(codec, bitrate_kbps)
    if codec == "vorbis":
        assert bitrate_kbps is not None
        return _VorbisEncoder(file, bitrate_kbps, channels)
    container, name, sample_format = {
        "mp3": ("mp3", "libmp3lame", "fltp"),
        "aac": ("mp4", "aac", "fltp"),
        "opus": ("ogg", "libopus", "flt"),
    }[codec]
    return Encoder(
        file,
        container,
        name,
        rate,
        DEFAULT_SPEAKERS[channels],
        sample_format=sample_format,
        bit_rate=None if bitrate_kbps is None else bitrate_kbps * 1000,
        options=options,
        # The M4A edit list counts in this unit: with the default of a millisecond the length would be rounded.
        container_options={"movie_timescale": str(rate)} if codec == "aac" else None,
    )


class _VorbisEncoder:
    def __init__(self, file: str | BinaryIO, bitrate_kbps: int, channels: int) -> None:
        nominal = VORBIS_BITRATES[channels]
        level = 1 - float(np.interp(bitrate_kbps, nominal, np.linspace(0, 1, len(nominal))))
        self._file = soundfile.SoundFile(
            file,
            "w",
            samplerate=SAMPLING_RATE,
            channels=channels,
            format="OGG",
            subtype="VORBIS",
            compression_level=level,
        )

    def write(self, block: np.ndarray) -> None:
        for start in range(0, block.shape[1], _BLOCK):
            self._file.write(block[:, start : start + _BLOCK].T)

    def close(self) -> None:
        self._file.close()

    abort = close
