"""The card of a dataset of pairs: what is in it, how it was made, whose it is, and where its files lie."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

# The Hub's names are SPDX's in lower case, for these; any other licence is "other".
HUB_LICENSES = ("apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-4.0", "mit")
SIZES = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]

TEMPLATE = Path(__file__).with_suffix(".md")


def write_card(path: Path, pairs: Sequence[dict[str, Any]], rejected: dict[str, int], name: str) -> None:
    """Write the card.

    Args:
        path (`Path`): of the README.md.
        pairs (list of `dict`): the rows without their audio, and with `seconds` and `attribution`.
        rejected (`dict`): clips that were left out, by kind.
        name (`str`): of the dataset.
    """
    licenses = {part for pair in pairs for part in pair["license"].lower().split(" + ")}
    splits = sorted({pair["split"] for pair in pairs})
    hours = Counter[str]()
    for pair in pairs:
        hours[pair["split"]] += pair["seconds"] / 3600
    by_split = Counter(pair["split"] for pair in pairs)
    by_codec = Counter((pair["codec"], *rate_words(pair["mode"])) for pair in pairs)
    statistics = [
        table(["split", "pairs", "hours"], [(split, by_split[split], f"{hours[split]:.2f}") for split in splits]),
        table(
            ["codec", "rate control", "encodes", "bitrates [kbps]", "pairs"],
            [(*key, bitrates(pairs, key), count) for key, count in sorted(by_codec.items())],
        ),
    ]
    for column in ("source", "genre"):
        counts = Counter(pair[column] or "unknown" for pair in pairs)
        if set(counts) != {"unknown"}:
            statistics.append(table([column, "pairs"], counts.most_common()))
    owners = Counter((pair["license"], pair["attribution"]) for pair in pairs)
    files = [{"split": split, "path": f"{split}-*.parquet"} for split in splits]
    card = DatasetCard.from_template(
        DatasetCardData(
            pretty_name=name,
            license=sorted({x if x in HUB_LICENSES else "other" for x in licenses}),
            task_categories=["audio-to-audio"],
            tags=["audio", "audio-restoration", "unlossy"],
            size_categories=next((size for limit, size in SIZES if len(pairs) < limit), "n>1M"),
            configs=[{"config_name": "default", "data_files": files}],
        ),
        template_path=str(TEMPLATE),
        name=name,
        statistics="\n\n".join(statistics),
        rejected=", ".join(f"{count} {kind}" for kind, count in rejected.items()) or "none",
        attributions=table(
            ["licence", "attribution", "pairs"],
            [(license, owner or "not given", count) for (license, owner), count in sorted(owners.items())],
        ),
    )
    card.save(path)


def rate_words(mode: str) -> tuple[str, str]:
    """Rate control and number of encodes of a `Recipe.mode`."""
    words = mode.split()
    return (words[1], "double" if "after" in words else "single") if len(words) > 1 else ("", "none")


def bitrates(pairs: Iterable[dict[str, Any]], key: tuple[str, ...]) -> str:
    """Lowest and highest bitrate of the pairs of one codec, rate control and number of encodes."""
    found = [pair["bitrate_kbps"] for pair in pairs if (pair["codec"], *rate_words(pair["mode"])) == key]
    return "" if max(found) == 0 else f"{min(found)} to {max(found)}"


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""

    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    head = list(head)
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])
