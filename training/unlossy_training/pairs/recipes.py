"""How a clip is degraded: codec, bitrate or quality, rate control, stereo coding, and an earlier encode or none."""

from dataclasses import dataclass

import numpy as np

from unlossy.codecs import BITRATE_RANGES, SAMPLING_RATE, decode, encode

# Over half of all clips are MP3 of 24 to 64 kbps, where most is to be gained; every rate, and no loss at all, is there.
CODEC_SHARES = {"mp3": 0.70, "aac": 0.10, "vorbis": 0.06, "opus": 0.06, "identity": 0.08}
BITRATE_WEIGHTS: dict[str, dict[int, float]] = {  # [kbps]
    "mp3": {
        24: 32, 32: 24, 40: 8, 48: 20, 56: 8, 64: 16, 80: 5, 96: 8, 112: 3, 128: 5, 160: 2, 192: 2, 256: 1, 320: 1,
    },
    "aac": {24: 1, 32: 2, 48: 2, 64: 2, 96: 2, 128: 2, 160: 2, 256: 0.5, 320: 0.5},
    "vorbis": {64: 2, 80: 2, 96: 2, 128: 2, 160: 2, 256: 0.5, 320: 0.5},
    "opus": {32: 2, 48: 2, 64: 2, 96: 2, 128: 2, 192: 0.5, 256: 0.5},
}  # fmt: skip
HIGHEST_WITHOUT_TREBLE = 64  # [kbps]
QUALITY_SHARES = {"mp3": 0.1, "aac": 0.3}  # encodes that aim at a quality and not at a bitrate
QUALITIES = 10  # 0 (best) to 9
CASCADE_SHARE = 0.08
FULL_STEREO_SHARE = 0.1  # MP3 without mid/side coding
OPUS_CBR_SHARE = 0.25


@dataclass(frozen=True)
class Recipe:
    """How one clip is degraded.

    Attributes:
        codec (`str`): one of `unlossy.codecs.CODECS`, or "identity" for an untouched clip.
        bitrate_kbps (`int`, *optional*): as for `encode`; exactly one of it and `quality` is given, for identity none.
        quality (`int`, *optional*), joint_stereo (`bool`), opus_cbr (`bool`): as for `encode`.
        first (`Recipe`, *optional*): an encode whose decoded result is what this one gets; it has a bitrate.
    """

    codec: str
    bitrate_kbps: int | None = None
    quality: int | None = None
    joint_stereo: bool = True
    opus_cbr: bool = False
    first: "Recipe | None" = None

    @property
    def keeps_treble(self) -> bool:
        """Whether it can be told from the result that an original had no treble: at a low bitrate all originals end
        alike."""
        return self.codec == "identity" or (self.bitrate_kbps or 0) > HIGHEST_WITHOUT_TREBLE

    def mode(self, channels: int) -> str:
        """The words of the column `mode`: "joint", "stereo" or "mono"; "cbr" or "vbr"; "after CODEC KBPS" of a cascade.

        AAC, Vorbis and Opus choose by themselves how they code stereo: that is "joint".
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
        """The compressed file.

        Args:
            audio (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz.
        """
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
    """A recipe at random that the codec has for this number of channels."""
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
    """The first encode of a cascade: any codec at one of its bitrates."""
    codecs = [codec for codec in CODEC_SHARES if codec != "identity"]
    shares = np.array([CODEC_SHARES[codec] for codec in codecs])
    codec = str(rng.choice(codecs, p=shares / shares.sum()))
    return Recipe(codec, draw_bitrate(codec, rng, channels))


def draw_bitrate(codec: str, rng: np.random.Generator, channels: int) -> int:
    """A bitrate [kbps] that the codec has for this number of channels."""
    lowest, highest = BITRATE_RANGES[codec][channels]
    weights = {kbps: weight for kbps, weight in BITRATE_WEIGHTS[codec].items() if lowest <= kbps <= highest}
    return int(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))
