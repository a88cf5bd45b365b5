"""Summarises the figures of clips: means, a Markdown table, and the clips that are most worth listening to."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .measuring import INPUT, METRICS

WORST = 5  # how many of the worst clips are listed for each codec and bitrate
RESTORED = "detail 1"  # the version that clips are ranked by
REST = "the rest"  # in place of a sub-folder's name
RATINGS = "ViSQOL's similarity is also part of what models are trained for; Zimtohrli is not."


def change(row: dict[str, Any]) -> float:
    """By how much restoration at `detail` 1 has raised the ViSQOL of a clip, or its SI-SDR [dB] if ViSQOL was not
    measured."""
    before, after = row["figures"][INPUT], row["figures"][RESTORED]
    return after[deciding(row)] - before[deciding(row)]


def deciding(row: dict[str, Any]) -> str:
    """The name of the metric that clips are ranked by."""
    return "visqol" if "visqol" in row["figures"][INPUT] else "si_sdr"


def summarise(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average the figures of clips for each codec and bitrate, and find the clips where restoration did worst.

    Args:
        rows: results of [`unlossy_training.evaluation.measuring.measure`].

    Returns:
        list of `dict`: for each codec and bitrate, `codec`, `kbps`, the number of `clips` and of `clips_with_side`,
            `means` for each version and metric (over the clips where it is defined; `None` if there are none), the
            metric that clips are `ranked_by`, and the `worst` of them with the `change` of that metric.
    """
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["codec"], row["kbps"]), []).append(row)
    summary = []
    for (codec, kbps), group in groups.items():
        figures = [row["figures"] for row in group]
        means = {
            version: {
                name: _mean([clip[version][name] for clip in figures]) for name in (*METRICS, "kbps") if name in values
            }
            for version, values in figures[0].items()
        }
        # Codecs that an autoencoder is compared with are not restored.
        changed = [row for row in group if RESTORED in row["figures"]]
        worst = [{"clip": row["clip"], "change": change(row)} for row in sorted(changed, key=change)[:WORST]]
        with_side = sum(clip[INPUT]["sdr_side"] is not None for clip in figures)
        summary.append(
            {"codec": codec, "kbps": kbps, "clips": len(group), "clips_with_side": with_side, "means": means}
            | {"ranked_by": deciding(group[0]), "worst": worst}
        )
    return summary


def by_folder(rows: Iterable[dict[str, Any]], apart: str = "") -> dict[str, list[dict[str, Any]]]:
    """Summarise each sub-folder of the clips, such as a genre's, see [`summarise`].

    Args:
        apart (`str`, *optional*): summarise this sub-folder, and all others together as `REST`.
    """
    folders: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        folder = folder_of(row["clip"])
        folders.setdefault(folder if apart in ("", folder) else REST, []).append(row)
    return {folder: summarise(group) for folder, group in sorted(folders.items())}


def folder_of(clip: str) -> str:
    """The sub-folder of a clip, by its name."""
    return Path(clip).parent.as_posix()


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def markdown(summary: Sequence[dict[str, Any]]) -> str:
    """Make a Markdown table with a line for each version of each codec and bitrate.

    Brackets hold the real bitrate, and the differences from the input.
    """
    metrics = [name for name in METRICS if name in summary[0]["means"][INPUT]]
    lines = [f"| codec | kbps | clips | | {' | '.join(METRICS[name] for name in metrics)} |"]
    lines.append("|---" * (4 + len(metrics)) + "|")
    for row in summary:
        before = row["means"][INPUT]
        for version, values in row["means"].items():
            real = f" ({values['kbps']:.1f})" if values.get("kbps") is not None else ""
            first = version == INPUT
            name = f"{row['codec']} | {row['kbps'] or '–'}{real} | {row['clips']}" if first else f"|{real} |"
            cells = []
            for metric in metrics:
                value = values[metric]
                cell = "–" if value is None else f"{value:.2f}"
                if value is not None and version != INPUT and not real:
                    cell += f" ({value - before[metric]:+.2f})"
                cells.append(cell)
            lines.append(f"| {name} | {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def worst_clips(summary: Sequence[dict[str, Any]]) -> str:
    """Make a Markdown list of the clips where restoration at `detail` 1 did worst."""
    lines = []
    for row in (row for row in summary if row["worst"]):
        clips = ", ".join(f"{clip['clip']} ({clip['change']:+.2f})" for clip in row["worst"])
        lines.append(f"- {row['codec']} {row['kbps'] or ''}".rstrip() + f": {clips}")
    return "\n".join([f"Worst clips by {METRICS[summary[0]['ranked_by']]}, {RESTORED} minus input:", "", *lines])
