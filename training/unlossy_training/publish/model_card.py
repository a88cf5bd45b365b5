"""The card of a model: a template in `cards/`, every figure of which is filled in from files.

What was measured comes from the evaluation that a checkpoint comes with (`evaluations`), what was spent and whose data
it was from its training.json. The header is huggingface_hub's, with the results as `model-index`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from unlossy import UnlossyAutoencoderConfig, UnlossyConfig
from unlossy.codecs import CODECS
from unlossy_space import EXAMPLES

from ..conditions import LOSSLESS, UNKNOWN
from ..evaluation import saved
from ..evaluation.comparing import ALL
from ..evaluation.measuring import EMBEDDED, INPUT, METRICS
from ..evaluation.summary import change, deciding, markdown, worst_clips
from ..fit.record import Record
from ..hub_files import load_network
from ..pairs.dataset_card import table

TEMPLATES = Path(__file__).parent / "cards"
HUB = "https://huggingface.co"
# What a reader looks for first.
SHOWN = {"visqol": ("detail 1",), "zimtohrli": ("detail 1",), "si_sdr": ("detail 0", "detail 1")}
RESTORER_TAGS = ("audio-restoration", "mp3", "denoising-autoencoder")
CODER_TAGS = ("audio-compression", "autoencoder")
HARM = -0.1  # ViSQOL or SI-SDR [dB]: a clip that loses more counts as harmed


@dataclass(frozen=True)
class Description:
    """What a card says that wasn't measured.

    Attributes:
        name (`str`): of the model.
        config (`UnlossyConfig` or `UnlossyAutoencoderConfig`): of the network.
        parameters (`int`): of the network.
        license (`str`): of the weights, as the Hub spells it.
        endpoint (`str`): address of the Hub.
        repo_id (`str`, *optional*): of the model, where it is published.
        wheel_url (`str`): where the package is, for a model that is published.
        base_model (`str`, *optional*): Hub id of what it was fine-tuned from.
        pairs_id, space_id (`str`, *optional*): repositories that are published with it.
    """

    name: str
    config: UnlossyConfig | UnlossyAutoencoderConfig
    parameters: int
    license: str = "apache-2.0"
    endpoint: str = HUB
    repo_id: str | None = None
    wheel_url: str = ""
    base_model: str | None = None
    pairs_id: str | None = None
    space_id: str | None = None

    @classmethod
    def of(cls, checkpoint: Path, **fields: Any) -> "Description":
        """That of a checkpoint, named after its repository, or after its folder."""
        model = load_network(checkpoint)
        name = (fields.get("repo_id") or checkpoint.resolve().name).split("/")[-1]
        return cls(name, model.config, sum(parameter.numel() for parameter in model.parameters()), **fields)


@dataclass(frozen=True)
class Links:
    """Where the links of a card lead, relative to it.

    Attributes:
        evaluation (`str`): the file of the evaluation.
        examples (`str`): the folder of the example.
        results (`bool`): whether that has what the model makes of it.
        plots (`tuple[str, ...]`): names of the plots.
    """

    evaluation: str
    examples: str
    results: bool = False
    plots: tuple[str, ...] = ()

    @classmethod
    def staged(cls, folder: Path) -> "Links":
        """In a folder made by [`unlossy_training.publish.staging.stage`]."""
        plots = tuple(sorted(path.stem for path in (folder / "plots").glob("*.png")))
        return cls(saved.FILE, "examples", True, plots)

    @property
    def spectrograms(self) -> bool:
        return any(name.endswith("-worst") for name in self.plots)


def write_card(folder: Path, description: Description, evaluation: dict[str, Any], record: Record) -> None:
    """Write README.md beside what [`unlossy_training.publish.staging.stage`] has written.

    Raises:
        ValueError: a licence that asks for attribution has none.
    """
    make_card(description, evaluation, record, Links.staged(folder)).save(folder / "README.md")


def readable_card(path: Path, checkpoint: Path, evaluation: dict[str, Any], record: Record) -> str:
    """The card without the Hub's header, for people who find a checkpoint in the package's repository.

    Args:
        path (`Path`): of the card, which its links are relative to.

    Raises:
        ValueError: a licence that asks for attribution has none.
    """

    def relative(target: Path) -> str:
        return Path(os.path.relpath(target.resolve(), path.resolve().parent)).as_posix()

    links = Links(relative(checkpoint / saved.FILE), relative(EXAMPLES))
    return make_card(Description.of(checkpoint), evaluation, record, links).text.strip() + "\n"


def make_card(description: Description, evaluation: dict[str, Any], record: Record, links: Links) -> ModelCard:
    """
    Raises:
        ValueError: a licence that asks for attribution has none.
    """
    refuse_unattributed(record["data"])
    summary = ordered(evaluation["summary"])
    compresses = isinstance(description.config, UnlossyAutoencoderConfig)
    data = ModelCardData(
        base_model=description.base_model,
        datasets=[description.pairs_id] if description.pairs_id else None,
        eval_results=eval_results(summary, compresses=compresses),
        library_name="transformers",
        license=description.license,
        model_name=description.name,
        pipeline_tag="audio-to-audio",
        tags=["audio", *(CODER_TAGS if compresses else RESTORER_TAGS), "unlossy"],
    )
    figures: dict[str, Any]
    if isinstance(description.config, UnlossyAutoencoderConfig):
        figures = {"rate": rate(description.config), "rates": rates(summary)}
    else:
        figures = {
            "finetune": evaluation if "verdict" in evaluation else None,
            "comparison": compared(evaluation.get("sets", [])),
            "expectation": expectation(summary),
            "harmed": harmed(evaluation["clips"]),
            "lowered": lowered(summary),
            "codecs": CODECS,
        }
    card: ModelCard = ModelCard.from_template(
        data,
        template_path=str(TEMPLATES / ("autoencoder.md" if compresses else "restorer.md")),
        description=description,
        links=links,
        recordings=max(row["clips"] for row in summary),
        full_table=markdown(summary),
        worst=worst_clips(summary),
        lsd=evaluation["lsd"],
        stages={run["stage"] for run in record["runs"]},
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
        **figures,
    )
    return card


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


def eval_results(summary: Sequence[dict[str, Any]], *, compresses: bool) -> list[EvalResult]:
    """Entries of `model-index`: of a restorer input and restored, for each codec and bitrate; of an autoencoder what
    originals become at each number of bits."""
    task = "Compression of audio" if compresses else "Restoration of compressed audio"
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name=task,
            dataset_type="recordings",
            dataset_name=f"{row['clips']} recordings that the model was not trained on, {named(row)}",
            dataset_config=named(row).replace(" ", "-"),
            metric_type=metric,
            metric_name=f"{METRICS[metric]}, {version}",
            metric_value=round(row["means"][version][metric], 3),
        )
        for row in summary
        for metric, version in (_coded(row) if compresses else _restored())
        if row["means"][INPUT].get(metric) is not None
    ]


def _restored() -> Iterator[tuple[str, str]]:
    for metric, versions in SHOWN.items():
        for version in (INPUT, *versions):
            yield metric, version


def _coded(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for metric in SHOWN:
        for version in row["means"]:
            if version in EMBEDDED:
                yield metric, version


def rate(config: UnlossyAutoencoderConfig) -> dict[str, Any]:
    """What an autoencoder makes of a second of stereo."""
    samples = 2 * config.sampling_rate
    values = config.embedding_size * config.sampling_rate / config.hop_length
    return {
        "frames": round(config.sampling_rate / config.hop_length),
        "size": config.embedding_size,
        "envelope": config.envelope_size,
        "samples_a_second": samples,
        "values_a_second": round(values),
        "ratio": round(samples / values),
    }


def rates(summary: Sequence[dict[str, Any]]) -> str:
    """What an autoencoder costs and gives, beside codecs: real bitrate and figures of originals that went through."""
    rows, metrics = [], [metric for metric in SHOWN if metric in _metrics(summary)]
    for row in sorted(summary, key=lambda row: row["codec"] != LOSSLESS):
        for version, means in row["means"].items():
            if "kbps" in means:  # what is compressed
                name = named(row) if version == INPUT else version.replace("detail", "`detail`")
                cells = ["–" if means.get(metric) is None else f"{means[metric]:.2f}" for metric in metrics]
                rows.append((name if name[0] != "`" else f"float, {name}", f"{means['kbps']:.0f}", *cells))
    return table(["", "kbps", *(METRICS[metric] for metric in metrics)], rows)


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
