"""The card of a model on the Hub: the template `model_card.md`, every figure of which is filled in from files.

What was measured comes from the JSON of `evaluate` or `finetune`, what was spent and whose data it was from the
checkpoint's training.json. The header is huggingface_hub's, with the results as `model-index`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from unlossy.degradation import CODECS

from .cases import LOSSLESS, UNKNOWN
from .comparing import ALL
from .dataset_card import table
from .measuring import INPUT, METRICS
from .staging import TEMPLATE
from .summary import change, deciding, markdown, worst_clips
from .training_record import Record

# What a reader looks for first.
SHOWN = {"visqol": ("detail 1",), "zimtohrli": ("detail 1",), "si_sdr": ("detail 0", "detail 1")}
HARM = -0.1  # ViSQOL or SI-SDR [dB]: a clip that loses more counts as harmed


@dataclass(frozen=True)
class Description:
    """What a card says that wasn't measured.

    Attributes:
        repo_id (`str`): of the model.
        license (`str`): of the weights, as the Hub spells it.
        parameters (`int`): of the network.
        base_model (`str`, *optional*): Hub id of what it was fine-tuned from.
        pairs_id, space_id (`str`, *optional*): repositories that are published with it.
    """

    repo_id: str
    license: str
    parameters: int
    base_model: str | None = None
    pairs_id: str | None = None
    space_id: str | None = None


def write_card(folder: Path, description: Description, evaluation: dict[str, Any], record: Record) -> None:
    """Write README.md beside what [`unlossy_training.staging.stage`] has written.

    Raises:
        ValueError: a licence that asks for attribution has none.
    """
    refuse_unattributed(record["data"])
    summary = ordered(evaluation["summary"])
    data = ModelCardData(
        base_model=description.base_model,
        datasets=[description.pairs_id] if description.pairs_id else None,
        eval_results=eval_results(summary),
        library_name="transformers",
        license=description.license,
        model_name=description.repo_id.split("/")[-1],
        pipeline_tag="audio-to-audio",
        tags=["audio", "audio-restoration", "mp3", "denoising-autoencoder", "unlossy"],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        description=description,
        finetune=evaluation if "verdict" in evaluation else None,
        comparison=compared(evaluation.get("sets", [])),
        recordings=max(row["clips"] for row in summary),
        expectation=expectation(summary),
        full_table=markdown(summary),
        harmed=harmed(evaluation["clips"]),
        lowered=lowered(summary),
        worst=worst_clips(summary),
        lsd=evaluation["lsd"],
        codecs=[codec for codec in CODECS if (folder / "plots" / f"{codec}.png").exists()],
        spectrograms=[codec for codec in CODECS if (folder / "plots" / f"{codec}-worst.png").exists()],
        discriminator=(folder / "discriminator.safetensors").exists(),
        runs=table(
            ["stage", "steps", "minutes", "hours of audio", "hardware"],
            [
                (run["stage"], run["steps"], run["minutes"], f"{run['audio_seconds'] / 3600:.1f}", run["hardware"])
                for run in record["runs"]
            ],
        ),
        minutes=round(sum(run["minutes"] for run in record["runs"])),
        owners=owners(record["data"]),
        evaluated=owners(evaluation["recordings"]) if "recordings" in evaluation else None,
    )
    card.save(folder / "README.md")


def owners(data: Iterable[dict[str, Any]]) -> str:
    """Whose recordings they are."""
    return table(["licence", "attribution"], [(row["license"], row["attribution"] or "none given") for row in data])


def refuse_unattributed(data: Iterable[dict[str, Any]]) -> None:
    """
    Raises:
        ValueError: a Creative Commons licence with "BY" and nobody to name.
    """
    for row in data:
        if row["license"].upper().replace(" ", "-").startswith("CC-BY") and not row["attribution"]:
            raise ValueError(
                f"training data under {row['license']} have no attribution, which that licence asks for: add it to the "
                "column attribution of their SOURCES.csv, or to the checkpoint's training.json"
            )


def ordered(summary: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By codec, then bitrate; originals and what is over all codecs at the end."""
    order = (*CODECS, UNKNOWN, LOSSLESS, ALL)
    return sorted(summary, key=lambda row: (order.index(row["codec"]), row["kbps"]))


def named(row: dict[str, Any]) -> str:
    """A codec and bitrate, such as "mp3 64 kbps"."""
    return f"{row['codec']} {row['kbps']} kbps" if row["kbps"] else str(row["codec"])


def eval_results(summary: Sequence[dict[str, Any]]) -> list[EvalResult]:
    """Entries of `model-index`: input and restored, for each codec and bitrate."""
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Restoration of compressed audio",
            dataset_type="recordings",
            dataset_name=f"{row['clips']} recordings that the model was not trained on, {named(row)}",
            dataset_config=named(row).replace(" ", "-"),
            metric_type=metric,
            metric_name=f"{METRICS[metric]}, {version}",
            metric_value=round(row["means"][version][metric], 3),
        )
        for row in summary
        for metric, versions in SHOWN.items()
        for version in (INPUT, *versions)
        if row["means"][INPUT].get(metric) is not None
    ]


def expectation(summary: Sequence[dict[str, Any]]) -> str:
    """What a user may expect: input → restored (difference), by codec and bitrate; originals apart from the rest."""
    columns = [
        (metric, version) for metric, versions in SHOWN.items() for version in versions if metric in _metrics(summary)
    ]
    head = ["codec", "kbps", *(f"{METRICS[metric]}, `{version}`" for metric, version in columns)]
    return table(head, [_expected(row, columns) for row in summary if row["codec"] != LOSSLESS])


def _expected(row: dict[str, Any], columns: Sequence[tuple[str, str]]) -> list[Any]:
    means = row["means"]
    cells = [_difference(means[INPUT][metric], means[version][metric]) for metric, version in columns]
    return [row["codec"], row["kbps"], *cells]


def _metrics(summary: Sequence[dict[str, Any]]) -> Sequence[str]:
    return [name for name in METRICS if name in summary[0]["means"][INPUT]]


def compared(sets: Sequence[dict[str, Any]]) -> str:
    """The table of a fine-tune: base model → fine-tuned model on each set, by codec and bitrate."""
    columns = [(metric, version) for metric, versions in SHOWN.items() for version in versions]
    rows = []
    for one in sets:
        for before, after in zip(ordered(one["before"]), ordered(one["after"]), strict=True):
            cells = [_difference(before["means"][version].get(metric), after["means"][version].get(metric))
                     for metric, version in columns]  # fmt: skip
            rows.append([one["name"], named(after), after["clips"], *cells])
    return table(["set", "codec", "clips", *(f"{METRICS[metric]}, {version}" for metric, version in columns)], rows)


def _difference(before: float | None, after: float | None) -> str:
    return "–" if before is None or after is None else f"{before:.2f} → {after:.2f} ({after - before:+.2f})"


def harmed(clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many clips lost by restoration at `detail` 1, of how many, by the metric they are ranked by."""
    changes = [change(row) for row in clips]
    metric = METRICS[deciding(clips[0])]
    return {"count": sum(value < HARM for value in changes), "of": len(changes), "by": -HARM, "metric": metric}


def lowered(summary: Sequence[dict[str, Any]]) -> list[str]:
    """The codecs and bitrates at which a mean falls, in words; originals left aside."""
    found = []
    for row in summary:
        if row["codec"] == LOSSLESS:
            continue
        for metric, versions in SHOWN.items():
            for version in versions:
                before, after = row["means"][INPUT].get(metric), row["means"][version].get(metric)
                if before is not None and after is not None and after - before <= -0.005:
                    found.append(f"{named(row)}: {METRICS[metric]} {after - before:+.2f} at `{version}`")
    return found
