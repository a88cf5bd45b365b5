"""How a clip is degraded: codec, bitrate or quality, rate control, stereo coding, and an earlier encode or none."""

from dataclasses import dataclass

import numpy as np

from unlossy.codecs import BITRATE_RANGES, SAMPLING_RATE, decode, encode

# Over half of all clips become MP3 at 24 to 64 kbps, where a restorer can gain most. Higher rates and untouched clips
# teach it to change little where little is wrong.
CODEC_SHARES = {"mp3": 0.70, "aac": 0.10, "vorbis": 0.06, "opus": 0.06, "identity": 0.08}
BITRATE_WEIGHTS: dict[str, dict[int, float]] = {  # [kbps]
    "mp3": {
        24: 32, 32: 24, 40: 8, 48: 20, 56: 8, 64: 16, 80: 5, 96: 8, 112: 3, 128: 5, 160: 2, 192: 2, 256: 1, 320: 1,
    },
    "aac": {24: 1, 32: 2, 48: 2, 64: 2, 96: 2, 128: 2, 160: 2, 256: 0.5, 320: 0.5},
    "vorbis": {64: 2, 80: 2, 96: 2, 128: 2, 160: 2, 256: 0.5, 320: 0.5},
    "opus": {32: 2, 48: 2, 64: 2, 96: 2, 128: 2, 192: 0.5, 256: 0.5},
}  # fmt: skip
HIGHEST_WITHOUT_TREBLE = 64  # [kbps]: up to here a codec removes the treble of all originals alike
QUALITY_SHARES = {"mp3": 0.1, "aac": 0.3}  # encodes that aim at a quality and not at a bitrate
QUALITIES = 10  # 0 (best) to 9
CASCADE_SHARE = 0.08  # of the clips are encoded twice
FULL_STEREO_SHARE = 0.1  # of the MP3 encodes code left and right apart
OPUS_CBR_SHARE = 0.25  # of the Opus encodes have a constant bitrate


@dataclass(frozen=True)
class Recipe:
    """How one clip is degraded.

    Attributes:
        codec (`str`): one of `unlossy.codecs.CODECS`, or "identity" for an untouched clip.
        bitrate_kbps (`int`, *optional*): nominal bitrate, see `encode` [kbps]. Either it or `quality` is given, and
            neither for "identity".
        quality (`int`, *optional*), joint_stereo (`bool`), opus_cbr (`bool`): see `encode`.
        first (`Recipe`, *optional*): an earlier encode, whose decoded result is encoded again. It has a bitrate.
    """

    codec: str
    bitrate_kbps: int | None = None
    quality: int | None = None
    joint_stereo: bool = True
    opus_cbr: bool = False
    first: "Recipe | None" = None

    @property
    def keeps_treble(self) -> bool:
        """Whether the result shows that an original had no treble. At a low bitrate all end at the same edge."""
        return self.codec == "identity" or (self.bitrate_kbps or 0) > HIGHEST_WITHOUT_TREBLE

    def mode(self, channels: int) -> str:
        """The text of the column `mode`: "joint", "stereo" or "mono"; then "cbr" or "vbr"; then, after an earlier
        encode, "after CODEC KBPS".

        "joint" means that the encoder chooses how it codes stereo, as those of AAC, Vorbis and Opus always do.
        """
        if self.codec == "identity":
            return "mono" if channels == 1 else "stereo"
        words = ["mono" if channels == 1 else "joint" if self.joint_stereo else "stereo"]
        constant = self.opus_cbr or (self.codec in ("mp3", "aac") and self.quality is None)
        words.append("cbr" if constant else "vbr")
        if self.first is not None:
            words.append(f"after {self.first.codec} {self.first.bitrate_kbps}")
        return " ".join(words)

    def encode(self, audio: np.ndarray) -> bytes:
        """Encode audio `(channels, samples)` at 44.1 kHz, and return the compressed file."""
        if self.first is not None:
            audio = decode(self.first.encode(audio), audio.shape[1])
        return encode(
            audio,
            SAMPLING_RATE,
            self.codec,
            self.bitrate_kbps,
            quality=self.quality,
            joint_stereo=self.joint_stereo,
            opus_cbr=self.opus_cbr,
        )


def draw_recipe(rng: np.random.Generator, channels: int) -> Recipe:
    """Draw a recipe for audio with this number of channels."""
    codec = str(rng.choice(list(CODEC_SHARES), p=list(CODEC_SHARES.values())))
    if codec == "identity":
        return Recipe(codec)
    by_quality = rng.random() < QUALITY_SHARES.get(codec, 0)
    return Recipe(
        codec,
        bitrate_kbps=None if by_quality else draw_bitrate(codec, rng, channels),
        quality=int(rng.integers(QUALITIES)) if by_quality else None,
        joint_stereo=codec != "mp3" or bool(rng.random() >= FULL_STEREO_SHARE),
        opus_cbr=codec == "opus" and bool(rng.random() < OPUS_CBR_SHARE),
        first=draw_first(rng, channels) if rng.random() < CASCADE_SHARE else None,
    )


def draw_first(rng: np.random.Generator, channels: int) -> Recipe:
    """Draw an earlier encode: any codec at one of its bitrates."""
    codecs = [codec for codec in CODEC_SHARES if codec != "identity"]
    shares = np.array([CODEC_SHARES[codec] for codec in codecs])
    codec = str(rng.choice(codecs, p=shares / shares.sum()))
    return Recipe(codec, draw_bitrate(codec, rng, channels))


def draw_bitrate(codec: str, rng: np.random.Generator, channels: int) -> int:
    """Draw a bitrate that the codec has for this number of channels [kbps]."""
    lowest, highest = BITRATE_RANGES[codec][channels]
    weights = {kbps: weight for kbps, weight in BITRATE_WEIGHTS[codec].items() if lowest <= kbps <= highest}
    return int(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))
