"""Codecs and bitrates that audio is measured at."""

from collections.abc import Sequence

from unlossy.codecs import CODECS, check_bitrate

LOSSLESS = "lossless"  # the original itself: a restorer must leave it alone
UNKNOWN = "unknown"  # codec of a pair whose degraded side was found as it is

Condition = tuple[str, int]  # codec and nominal bitrate [kbps], which is 0 for lossless


def parse_grid(words: Sequence[str]) -> list[Condition]:
    """`["mp3:48,64", "lossless"]` to `[("mp3", 48), ("mp3", 64), ("lossless", 0)]`.

    Raises:
        ValueError: unknown codec, or a bitrate that it has neither for mono nor for stereo.
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
