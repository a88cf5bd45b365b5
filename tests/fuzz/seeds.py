"""Small whole files of every container that is read, for the fuzzer to damage."""

import io
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from odd_files import caf_bytes, encode, id3_tag, make_music, two_tracks, wav_bytes
from signals import RATE

SECONDS = 0.4
# Container, codec, sample format, rate and channels, and the container's options.
_ENCODED: dict[str, tuple[str, str, str, int, int, dict[str, str]]] = {
    "lame.mp3": ("mp3", "libmp3lame", "fltp", RATE, 2, {}),
    "untagged.mp3": ("mp3", "libmp3lame", "fltp", 22_050, 1, {"write_xing": "0"}),
    "mp2.mp2": ("mp2", "mp2", "s16", RATE, 2, {}),
    "adts.aac": ("adts", "aac", "fltp", RATE, 2, {}),
    "aac.m4a": ("mp4", "aac", "fltp", RATE, 2, {}),
    "fragments.mp4": (
        "mp4",
        "aac",
        "fltp",
        RATE,
        2,
        {"movflags": "frag_keyframe+empty_moov", "frag_duration": "90000"},
    ),
    "alac.m4a": ("mp4", "alac", "s16p", RATE, 2, {}),
    "opus.mp4": ("mp4", "libopus", "flt", 48_000, 1, {}),
    "pcm.mov": ("mov", "pcm_s16le", "s16", RATE, 2, {}),
    "aac.3gp": ("3gp", "aac", "fltp", 16_000, 1, {}),
    "aac.mkv": ("matroska", "aac", "fltp", RATE, 2, {}),
    "flac.mka": ("matroska", "flac", "s16", RATE, 2, {}),
    "opus.webm": ("webm", "libopus", "flt", 48_000, 2, {}),
    "opus.opus": ("ogg", "libopus", "flt", 48_000, 2, {}),
    "flac.oga": ("ogg", "flac", "s16", RATE, 2, {}),
    "flac.flac": ("flac", "flac", "s16", RATE, 2, {}),
    "mp3.avi": ("avi", "libmp3lame", "fltp", RATE, 2, {}),
    "adpcm.avi": ("avi", "adpcm_ms", "s16", RATE, 1, {}),
    "mp3.flv": ("flv", "libmp3lame", "fltp", RATE, 2, {}),
    "wma.wma": ("asf", "wmav2", "fltp", RATE, 2, {}),
    "aac.ts": ("mpegts", "aac", "fltp", RATE, 2, {}),
    "ac3.vob": ("vob", "ac3", "fltp", 48_000, 2, {}),
    "mp2.mpg": ("mpeg", "mp2", "s16", RATE, 2, {}),
    "ac3.ac3": ("ac3", "ac3", "fltp", 48_000, 2, {}),
    "eac3.eac3": ("eac3", "eac3", "fltp", 48_000, 2, {}),
    "ac3.rm": ("rm", "ac3", "fltp", RATE, 2, {}),
    "mp3.nut": ("nut", "libmp3lame", "fltp", RATE, 2, {}),
    "tta.tta": ("tta", "tta", "s16", RATE, 2, {}),
    "wavpack.wv": ("wv", "wavpack", "s16p", RATE, 2, {}),
    "alac.caf": ("caf", "alac", "s16p", RATE, 2, {}),
    "mp3.wav": ("wav", "libmp3lame", "fltp", RATE, 2, {}),
    "rf64.wav": ("wav", "pcm_s16le", "s16", RATE, 2, {"rf64": "always"}),
    "pcm.voc": ("voc", "pcm_s16le", "s16", RATE, 1, {}),
    "g726.wav": ("wav", "adpcm_g726", "s16", 8_000, 1, {}),
    "ima.aiff": ("aiff", "adpcm_ima_qt", "s16p", RATE, 2, {}),
    "adpcm.flv": ("flv", "adpcm_swf", "s16", RATE, 1, {}),
}
_WRITTEN = {
    "float.wav": ("WAV", "FLOAT", RATE, 2),
    "adpcm.wav": ("WAV", "MS_ADPCM", 22_050, 2),
    "gsm.wav": ("WAV", "GSM610", 8_000, 1),
    "pcm.aiff": ("AIFF", "PCM_24", RATE, 2),
    "law.au": ("AU", "ULAW", 8_000, 1),
    "pcm.caf": ("CAF", "PCM_16", RATE, 2),
    "pcm.w64": ("W64", "PCM_16", RATE, 2),
    "pcm.rf64": ("RF64", "PCM_16", RATE, 2),
    "vorbis.ogg": ("OGG", "VORBIS", RATE, 2),
}


def make_seeds(seconds: float = SECONDS) -> dict[str, bytes]:
    """Each file, of so many seconds, by a name whose suffix fits it."""
    seeds = {}
    for name, (container, codec, kind, rate, channels, options) in _ENCODED.items():
        seeds[name] = encode(make_music(seconds, rate, channels), container, codec, rate, kind, None, None, **options)
    for name, (container, subtype, rate, channels) in _WRITTEN.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, make_music(seconds, rate, channels).T, rate, subtype, format=container)
        seeds[name] = buffer.getvalue()
    surround = (make_music(seconds, channels=6).T * 2**15).astype("<i2")
    seeds["surround.wav"] = wav_bytes(surround, RATE, 0x60F)
    seeds["surround.caf"] = caf_bytes(surround, RATE, 123)  # in an order of its own
    seeds["integers.wav"] = wav_bytes((make_music(seconds, channels=1).T * 2.0**63).astype("<i8"), RATE)
    mono = encode(make_music(seconds, channels=1), "mp3", "libmp3lame")
    seeds["joined.mp3"] = seeds["lame.mp3"] + id3_tag(500) + mono
    seeds["chained.ogg"] = seeds["vorbis.ogg"] + seeds["opus.opus"] + seeds["vorbis.ogg"]
    with tempfile.TemporaryDirectory() as folder:
        seeds["tracks.mkv"] = two_tracks(Path(folder), seconds).read_bytes()
    return seeds


def damage(data: bytes, others: list[bytes], random: np.random.Generator) -> bytes:
    """One to three kinds of damage: bytes changed, blocks lost, doubled, emptied or swapped, the end cut off, something
    foreign in between or behind, and the extreme values that headers break at."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        kind = random.choice(9, p=[0.2, 0.1, 0.1, 0.1, 0.05, 0.1, 0.05, 0.05, 0.25])
        size = len(changed)
        if size < 16:
            break
        # Half of the damage is where headers are.
        start = int(random.integers(min(size, 400)) if random.random() < 0.5 else random.integers(size))
        length = int(random.integers(1, max(2, min(size // 4, 3000))))
        block = changed[start : start + length]
        if kind == 0:
            for place in random.integers(min(size, 300) if start < 300 else size, size=random.integers(1, 20)):
                changed[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            del changed[start : start + length]
        elif kind == 2:
            changed[start:start] = block
        elif kind == 3:
            changed[start : start + length] = bytes(len(block))
        elif kind == 4:
            other = int(random.integers(size))
            changed[start : start + length], changed[other : other + length] = changed[other : other + length], block
        elif kind == 5:
            del changed[max(start, 16) :]
        elif kind == 6:
            changed[start:start] = random.bytes(length)
        elif kind == 7:
            changed += others[random.integers(len(others))]
        else:
            width = int(random.choice([1, 2, 4, 8]))
            top = 2 ** (8 * width) - 1
            extremes = (0, 0, 1, top // 2, top // 2 + 1, top - 1, top, top)
            value = extremes[random.integers(len(extremes))]
            changed[start : start + width] = value.to_bytes(width, "big" if random.random() < 0.5 else "little")
    return bytes(changed)
