"""Speakers: which channel is for which, which channels belong together, and where those go that a format doesn't have.

Speakers have FFmpeg's names, such as "FL", "LFE" and "SR". Audio has them in the order of the masks of WAV, whatever
order a file has them in.
"""

from collections.abc import Collection, Sequence

Speakers = tuple[str, ...]

# In the order of the bits of a mask: the first 18 are those of WAV.
_ORDER = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
    *("DL", "DR", "WL", "WR", "SDL", "SDR", "LFE2", "TSL", "TSR", "BFC", "BFL", "BFR"),
)
IN_MASKS = frozenset(_ORDER[:18])
# What FFmpeg takes 1, 2 … 8 channels for where nothing else is known: mono, stereo, 3.0, quad, 5.0, 5.1, 6.1 and 7.1.
DEFAULT_SPEAKERS: dict[int, Speakers] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
_SIDE_TO_BACK = {"SL": "BL", "SR": "BR"}


def is_sorted(names: Sequence[str]) -> bool:
    """Whether a mask can stand for these names of channels, or they have none, or those of ambisonics."""
    if set(names) == {"NONE"} or any(name.startswith("AMBI") for name in names):
        return True
    return set(names) <= set(_ORDER) and list(names) == sorted(set(names), key=_ORDER.index)


def sort_speakers(names: Sequence[str]) -> tuple[Speakers, list[int]]:
    """The speakers of channels, and in which order to take the channels.

    Args:
        names (sequence of `str`): FFmpeg's name of each channel; for names that say nothing, the default holds.
    """
    as_it_is = list(range(len(names)))
    if all(name.startswith("AMBI") for name in names):
        return tuple(names), as_it_is
    if len(set(names)) < len(names) or not set(names) <= set(_ORDER) or set(names) == {"DL", "DR"}:
        return DEFAULT_SPEAKERS.get(len(names), tuple(names)), as_it_is
    order = sorted(as_it_is, key=lambda index: _ORDER.index(names[index]))
    return tuple(names[index] for index in order), order


def channel_groups(speakers: Speakers) -> list[list[int]]:
    """Channels that belong together: left and right of the same place; centres, the subwoofer and others are alone."""
    groups: list[list[int]] = []
    for index, name in enumerate(speakers):
        left, right = name.replace("R", "L"), name.replace("L", "R")
        if right != name and right in speakers:
            groups.append([index, speakers.index(right)])
        elif left == name or left not in speakers:
            groups.append([index])
    return groups


def place_speakers(speakers: Speakers, possible: Collection[Speakers]) -> tuple[Speakers, list[int], bool]:
    """The layout to write, which of its channels each speaker gets, and whether all speakers stay where they are.

    It is the same one if that is possible; mono for any single channel; otherwise with sides for backs, which is the
    same 5.1 to many programs; otherwise the smallest that has all speakers; otherwise the default for so many channels.

    Args:
        possible (collection of `Speakers`): what a format has, a default for each number of channels among it.
    """
    as_it_is = list(range(len(speakers)))
    if speakers in possible:
        return speakers, as_it_is, True
    if len(speakers) == 1:
        return DEFAULT_SPEAKERS[1], as_it_is, True
    wanted = [speakers]
    for renaming in (_SIDE_TO_BACK, {back: side for side, back in _SIDE_TO_BACK.items()}):
        renamed = tuple(renaming.get(name, name) for name in speakers)
        if len(set(renamed)) == len(speakers):
            wanted.append(renamed)
    fitting = [
        (len(layout), rank, layout, [layout.index(name) for name in names])
        for rank, names in enumerate(wanted)
        for layout in possible
        if set(names) <= set(layout)
    ]
    if not fitting:
        return DEFAULT_SPEAKERS.get(len(speakers), speakers), as_it_is, False
    _, _, layout, places = min(fitting)
    return layout, places, True
