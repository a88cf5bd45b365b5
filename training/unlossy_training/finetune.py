"""Adapts a checkpoint to your own recordings: from a folder of clean files to a measured checkpoint.

    unlossy-train finetune recordings/ --like old-radio/ --output mine/     # encoded as the files in old-radio/ are
    unlossy-train finetune recordings/ --grid mp3:64,96 --output mine/      # encoded so
    unlossy-train finetune matched/ --output mine/                          # matched/clean/ and matched/degraded/
    unlossy-train finetune me/pairs --output mine/ --general other/pairs    # pairs that are there already

It starts from the checkpoint in the package or from --model. Part of the training is on general pairs, so that the
model forgets less. It ends when the validation loss stops falling or the time is spent, takes the weights with the
lowest loss, averages them with those that it started from, and measures both models on recordings that neither training
nor that choice has used. The same command goes on where it was interrupted.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from datasets import disable_progress_bars
from huggingface_hub.constants import HF_HOME
from transformers.utils.logging import disable_progress_bar

from unlossy import SHIPPED_MODEL, UnlossyModel, load_model
from unlossy.embedding import fingerprint_of
from unlossy.metrics import LSD_FLOOR_DB, LSD_HOP_LENGTH, LSD_N_FFT
from unlossy_cli import entry

from .benchmarks.fit import measure_stage
from .conditions import parse_grid
from .corpus import build
from .corpus.clips import CLIP_SECONDS
from .corpus.materials import Request
from .evaluation import comparing
from .evaluation.cases import find_pairs
from .evaluation.comparing import Comparison
from .evaluation.saved import FINETUNE
from .evaluation.summary import summarise
from .files import write_whole
from .fit.config import FitConfig
from .fit.fit import CONFIG, fit
from .pairs import dataset, own_recordings
from .pairs.segments import load_pairs, load_split
from .publish.model_card import compared

VALIDATIONS = 5  # in the time that is given, and one before
PATIENCE = 2  # validations without a lower loss, see `FitConfig.patience`
MEASURED = 24  # clips of each set
LEARNED = 2 / 3  # see `FitConfig.learned`
GENERAL_HOURS, GENERAL_SEED = 0.1, 1000  # of the general set that is made here. No published corpus has this seed
RENDERED = "music that `unlossy-train corpus` has composed and rendered, without singing, speech or real recordings"


def base_config(base: str) -> FitConfig:
    """The configuration of a fine-tuning, by which a checkpoint keeps what it has learned, see
    docs/decisions/013-weight-averaging.md.

    On a CPU, only the detail predictor sees enough audio in some minutes to improve. Its segments go through no
    equalisers, which would prepare it for other recordings than the user's.
    """
    if not torch.cuda.is_available():
        return FitConfig(
            from_checkpoint=base, part="detail", equalised=0.0, batch_size=6, segment_seconds=3.0, learning_rate=1e-3,
            warmup=20, ema=0.99, learned=LEARNED, patience=PATIENCE, validation_clips=10, visqol=False, log_every=10,
        )  # fmt: skip
    return FitConfig(
        from_checkpoint=base, learning_rate=4e-4, warmup=20, ema=0.99, learned=LEARNED, patience=PATIENCE,
        validation_clips=10, visqol=False, log_every=10,
    )  # fmt: skip


def general_pairs(work: Path) -> tuple[str | None, str]:
    """Make a small general set from free packages, if FluidSynth is installed.

    Returns:
        `tuple`: the folder of its pairs, or `None`, and a sentence about it for the user. No composition is in its
            training split and in its validation split.
    """
    clips, pairs = work / "clips", work / "pairs"
    if not pairs.exists():
        try:
            build.build(clips, Request([], [], [], [], GENERAL_SEED), hours=GENERAL_HOURS, workers=os.cpu_count() or 1)
        except ValueError as error:
            return None, f"Forgetting is neither countered nor measured ({error}): give --general PAIRS."
        rows = hold_out(dataset.read_clips(clips), MEASURED)
        build.write_table(clips / "clips.csv", rows)
        dataset.build(clips, pairs, seed=GENERAL_SEED, workers=os.cpu_count() or 1)
        shutil.rmtree(clips)
    return str(pairs), f"The general set is {RENDERED}."


def hold_out(rows: Sequence[dict[str, str]], count: int) -> list[dict[str, str]]:
    """Move at least `count` clips to the validation split, all of a title together. Clips that share only a part of a
    title with them are left out."""
    held: set[str] = set()
    titles = Counter(row["title"] for row in rows)
    for title, _ in sorted(titles.items(), key=lambda item: (item[1], item[0])):
        if sum(titles[name] for name in held) >= count:
            break
        held.add(title)
    parts = {part for title in held for part in title.split(" + ")}
    train = [row | {"split": "train"} for row in rows if not parts & set(row["title"].split(" + "))]
    return [row | {"split": "validation"} for row in rows if row["title"] in held] + train


def estimate(config: FitConfig, minutes: float, clips: int) -> FitConfig:
    """Time a few steps, print what can be expected, and choose the precision and how often to validate.

    Args:
        minutes (`float`): time for training [min].
        clips (`int`): number of clips that both models are measured on.
    """
    pairs = load_pairs(config.pairs, "train")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    candidates = [replace(config, mixed_precision="bf16"), replace(config, mixed_precision="no")]
    # bf16 is faster only on hardware that has it.
    speeds = [measure_stage(option, pairs, device, windows=2, steps=2)["audio_s_per_s"] for option in candidates]
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    speed = max(speeds)
    config = candidates[speeds.index(speed)]
    steps = max(1, round(minutes * 60 * speed / (config.batch_size * config.segment_seconds)))
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 1e9
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss [bytes]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    how = ", the detail alone" if config.part == "detail" else ""
    print(
        f"estimate: {minutes:g} min, in which {steps} steps ({speed:.1f} s of audio a second{how}) would "
        f"hear {steps * config.batch_size} segments of {config.segment_seconds:g} s from {len(pairs)} clips; "
        f"{memory:.1f} GB of memory. {clips} clips of {CLIP_SECONDS:g} s are restored and measured before and "
        "after",
        flush=True,
    )
    every = max(1, steps // VALIDATIONS)
    return replace(config, max_minutes=minutes, validate_every=every, save_every=every)


def finetune(options: argparse.Namespace) -> None:
    """Fine-tune a checkpoint as the options of the command line say, and print what that has brought.

    Raises:
        ValueError: something about the input, the model, the general pairs or the output doesn't fit.
        OSError: files can't be written, or the Hub can't be reached.
    """
    base, output = options.model or SHIPPED_MODEL, options.output
    # Mistakes that would otherwise show only after the encoding.
    load_model(base, device="cpu")
    if options.general:
        load_split(options.general, "validation")
    conditions = own_recordings.conditions_of(options.like) if options.like else parse_grid(options.grid or ())
    if own_recordings.is_pairs(options.input):
        if conditions:
            raise ValueError(f"{options.input} has degraded sides already: leave --like and --grid out")
        pairs, test = options.input, measured_split(options.input)
        if test == "validation":
            print("The pairs have no test split: the validation split, which chooses the weights, also measures them.")
    else:
        folder, made = own_recordings.build(Path(options.input), output / "work" / "own", conditions, seed=options.seed)
        pairs, test = str(folder), "test"
        for name in ("split", "codec", "rejected"):
            counted = ", ".join(f"{kind} {count}" for kind, count in made["counts"][name].items())
            print(f"{name}: {counted or 'none'}")
        for reason in [*made["left_out"], *made["counts"]["reasons"]]:
            print(f"left out: {reason}", file=sys.stderr)
    note = f"The general set is the validation split of {options.general}."
    general: str | None = options.general
    if general is None:
        general, note = general_pairs(output / "work" / "general")
    print(note, flush=True)

    config = replace(base_config(base), pairs=pairs, general_pairs=general, output=str(output), seed=options.seed)
    cases = {"own": comparing.evenly(find_pairs(Path(pairs), test), MEASURED)}
    if general:
        cases["general"] = comparing.evenly(find_pairs(Path(general)), MEASURED)
    begun = output / CONFIG
    if begun.exists():  # the run goes on as it was begun, and its time counts over all interruptions
        settled = json.loads(begun.read_text())
        kept = {name: settled[name] for name in ("mixed_precision", "validate_every", "save_every")}
        config = replace(config, max_minutes=options.max_minutes, **kept)
    else:
        config = estimate(config, options.max_minutes, clips=sum(map(len, cases.values())))
    config.check()
    before = _measure(cases, base)
    if not fit(config):
        raise KeyboardInterrupt("the same command goes on")
    _report(base, output, before, _measure(cases, str(output)), note)


def _measure(cases: dict[str, list[Any]], model: str) -> dict[str, comparing.Rows]:
    visqol = importlib.util.find_spec("visqol") is not None
    cache, workers = Path(HF_HOME, "unlossy-evaluation"), os.cpu_count() or 1
    return {name: comparing.measure(some, model, cache, workers, visqol=visqol) for name, some in cases.items()}


def _report(
    base: str, output: Path, before: dict[str, comparing.Rows], after: dict[str, comparing.Rows], note: str
) -> None:
    """Print the table and the verdict, and write them to `finetune.json`, which `publish` makes the card from."""
    names = {"own": "own recordings", "general": "general set"}
    sets = {name: Comparison(names[name], before[name], after[name]) for name in before}
    # The general set has too few clips of each codec to list them apart.
    written = [comparison.as_json(by_codec=name == "own") for name, comparison in sets.items()]
    sentence = comparing.verdict(sets["own"], sets.get("general"))
    results = {
        "base_model": base if base != SHIPPED_MODEL else None,
        "fingerprint": fingerprint_of(UnlossyModel.from_pretrained(output)),
        "verdict": sentence,
        "general_note": note,
        "sets": written,
        "lsd": {"n_fft": LSD_N_FFT, "hop_length": LSD_HOP_LENGTH, "floor_db": LSD_FLOOR_DB},
        "summary": summarise(after["own"]),
        "clips": after["own"],
    }
    write_whole(output / FINETUNE, (json.dumps(results, indent=1) + "\n").encode())
    print(f"\n{compared(written)}\n\n{sentence}")
    print(f"The new weights are in {output}.")


def measured_split(pairs: str) -> str:
    """The name of the split to measure on: "test", or "validation" if the pairs have no other.

    Raises:
        ValueError: they have neither.
    """
    try:
        load_split(pairs, "test")
    except ValueError:
        load_split(pairs, "validation")
        return "validation"
    return "test"


def build_parser() -> argparse.ArgumentParser:
    parser = entry.Parser(prog="unlossy-train finetune", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "input", metavar="INPUT", help="folder of clean files, folder with clean/ and degraded/, or pairs"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="for the checkpoint and the work")
    parser.add_argument("--model", help="what to start from: folder or Hub id (default: the checkpoint in the package)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--grid", nargs="+", metavar="CODEC:KBPS,…", help="how clean files are encoded, such as mp3:64,96")
    how.add_argument("--like", type=Path, metavar="FOLDER", help="encode as the files in this folder are")
    parser.add_argument(
        "--general", metavar="PAIRS",
        help="pairs against forgetting: folder or Hub id (default: a small set made up here, if FluidSynth is there)",
    )  # fmt: skip
    parser.add_argument("--max-minutes", type=entry.positive, default=30.0, help="of training (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    entry.require("zimtohrli", "train,eval")  # for the table at the end
    if options.like and not options.like.is_dir():
        parser.error(f"there is no folder {options.like}")
    disable_progress_bar()
    disable_progress_bars()
    finetune(options)
