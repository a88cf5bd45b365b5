"""Where audio is missing within a file, and how much of that is too much to be true."""

from __future__ import annotations

TOLERATED = 0.1  # share of the length that may be missing, or other than declared
LONGEST_GAP = 3600  # [s] a longer one is a clock that was set, not a pause

_MOST_PAUSES = 9  # times the audio before, as in a telephone call that was recorded only while one of the two spoke
_NAMED_PLACES = 3  # how many places a warning names


class Gaps:
    """The gaps of one file.

    Args:
        rate (`int`): of the samples they are counted in [Hz].
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._places: list[float] = []  # [s]
        self.filled = self.lost = self.left_out = 0  # samples: all that are filled, those of damage, pauses that aren't

    def __bool__(self) -> bool:
        return bool(self._places)

    def add(self, position: int, length: int, damaged: bool) -> None:
        """Note that silence is filled in at a position [samples]."""
        self._places.append(position / self._rate)
        self.filled += length
        self.lost += length if damaged else 0

    def are_too_long(self, position: int, more: int) -> bool:
        """Whether with `more` [samples] at a position the gaps exceed an hour and nine times the audio before them."""
        audio = position - self.filled
        return self.filled + more > max(LONGEST_GAP * self._rate, _MOST_PAUSES * audio)

    def __str__(self) -> str:
        """Where something is missing, and how much it is together."""
        return f"has no audio at {name_places(self._places)}: {self.filled / self._rate:.2f} s are filled with silence"


def name_places(places: list[float]) -> str:
    """The first of some places [s], and how many there are besides."""
    more = f" and {len(places) - _NAMED_PLACES} other places" if len(places) > _NAMED_PLACES else ""
    return ", ".join(f"{place:.2f}" for place in places[:_NAMED_PLACES]) + " s" + more
