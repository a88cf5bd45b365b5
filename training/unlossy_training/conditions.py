"""The conditions that audio is measured at: a codec and a bitrate."""

from collections.abc import Sequence

from unlossy.codecs import CODECS, check_bitrate

LOSSLESS = "lossless"  # in place of a codec: the original, which a restorer must leave alone
UNKNOWN = "unknown"  # in place of a codec: the degraded side of a pair that another program made

Condition = tuple[str, int]  # codec and nominal bitrate [kbps], which is 0 for lossless


def parse_grid(words: Sequence[str]) -> list[Condition]:
    """Read conditions: `["mp3:48,64", "lossless"]` are `[("mp3", 48), ("mp3", 64), ("lossless", 0)]`.

    Raises:
        ValueError: there is no such codec, or it has the bitrate neither for mono nor for stereo.
    """
    grid: list[Condition] = []
    for word in words:
        codec, _, rates = word.partition(":")
        if word == LOSSLESS:
            grid.append((LOSSLESS, 0))
            continue
        if codec not in CODECS or not all(rate.isdecimal() for rate in rates.split(",")):
            raise ValueError(
                f"{word!r} is no part of a grid: write a codec ({', '.join(CODECS)}) with its bitrates [kbps], such as "
                f"mp3:48,64, or {LOSSLESS}"
            )
        for kbps in map(int, rates.split(",")):
            try:
                check_bitrate(codec, kbps, channels=2)
            except ValueError:
                check_bitrate(codec, kbps, channels=1)
            grid.append((codec, kbps))
    return list(dict.fromkeys(grid))
