"""Measures a model on recordings that it has never seen: what a restorer changes, or an autoencoder beside codecs.

    unlossy-train evaluate FOLDER                       # MP3 at 48 and 64 kbps, and untouched originals
    unlossy-train evaluate FOLDER --model CHECKPOINT --grid mp3:24,32,48,64,96,192 opus:32,64 lossless \
        --baselines --output results.json --plots plots/
    unlossy-train evaluate PAIRS                        # the validation split of a dataset, as it is
    unlossy-train evaluate FOLDER --by-folder           # also means for each sub-folder
    unlossy-train evaluate FOLDER --by-folder music     # also means for FOLDER/music, and for the rest
    unlossy-train evaluate FOLDER --model AUTOENCODER --linear CLIPS --by-folder

Each recording is encoded by the real encoder, decoded, restored at `detail` 0 and 1, and compared with the original.
Figures are cached for each clip, so that nothing is measured twice, and of a new checkpoint only what depends on it.

A recording that has been through a codec before is no original above the edge that it left. If a table (SOURCES.csv or
SOURCES-….csv, in its folder or above) has that edge in a column `edge_hz`, nothing above it counts.
"""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME

from unlossy.metrics import LSD_FLOOR_DB, LSD_HOP_LENGTH, LSD_N_FFT
from unlossy_cli import entry

from ..conditions import LOSSLESS, parse_grid
from ..pool import run as run_all
from .cases import Case, find_pairs, find_recordings, is_dataset
from .measuring import Setup, measure, prepare, recall
from .summary import RATINGS, by_folder, folder_of, markdown, summarise, worst_clips

DEFAULT_GRID = ("mp3:48,64", LOSSLESS)
# An autoencoder of 11:1 makes 32 kbps at 4 bits a value, 63 at 8 and 254 in float, before packing.
AUTOENCODER_GRID = ("mp3:32,64,256", "aac:32,64,256", "opus:32,64,256", LOSSLESS)


def run(cases: Sequence[Case], setup: Setup, workers: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure all cases. What is not in the cache is measured in `workers` processes.

    Returns:
        `tuple`: the rows of [`measure`], in the order of `cases`; and rows with the `reason` why a case was left out.
    """
    known = {case: _safely(recall, case, setup) for case in cases}
    jobs = [case for case, row in known.items() if row is None]
    work = partial(_safely, measure, setup=setup)
    known |= zip(jobs, run_all(work, jobs, workers, "clips", ordered=True, spawn=True), strict=True)
    rows = [row for row in known.values() if row is not None]
    return [row for row in rows if "reason" not in row], [row for row in rows if "reason" in row]


def _safely(function: Any, case: Case, setup: Setup) -> Any:
    """Return the reason why a case can't be measured instead of raising it, so that the others are still measured."""
    try:
        return function(case, setup)
    except ValueError as error:
        return {"clip": case.clip, "codec": case.codec, "kbps": case.kbps, "reason": str(error)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train evaluate", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "folder", type=Path,
        help="FLAC and WAV files, searched recursively, or pairs made by `unlossy-train dataset`",
    )  # fmt: skip
    parser.add_argument("--model", help="Hub id or folder (default: the checkpoint in the package)")
    parser.add_argument(
        "--grid", nargs="+", metavar="CODEC:KBPS,…",
        help=f"such as mp3:24,32 aac:64 {LOSSLESS} (default: {' '.join(DEFAULT_GRID)}; of an autoencoder: "
        f"{' '.join(AUTOENCODER_GRID)}); a dataset has its own",
    )  # fmt: skip
    parser.add_argument("--baselines", action="store_true", help="also blind copy-up and oracle-envelope noise")
    parser.add_argument(
        "--linear", type=Path, metavar="CLIPS",
        help="of an autoencoder: also the linear one of the same size, fitted to this folder of training clips",
    )  # fmt: skip
    parser.add_argument(
        "--by-folder", nargs="?", const="", metavar="NAME",
        help="also means for each sub-folder, such as a genre's; or for the one of this name and for the rest",
    )  # fmt: skip
    parser.add_argument("--no-visqol", action="store_true", help="leave out the slowest metric")
    parser.add_argument("--output", type=Path, help="JSON file for the means and every clip's figures")
    parser.add_argument("--plots", type=Path, help="folder for figures against bitrate and spectrograms (PNG)")
    parser.add_argument(
        "--cache", type=Path, default=Path(HF_HOME, "unlossy-evaluation"),
        help="folder that keeps figures from run to run (default: in the cache of Hugging Face)",
    )  # fmt: skip
    parser.add_argument("--workers", type=entry.whole(), default=os.cpu_count(), help="processes (default: one a core)")
    options = parser.parse_args(arguments)
    # Otherwise they would be missed only after hours.
    for module, wanted in {"matplotlib": options.plots, "visqol": not options.no_visqol, "zimtohrli": True}.items():
        if wanted:
            entry.require(module, "eval")
    if options.output and not options.output.parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    setup = prepare(
        options.model, options.cache,
        baselines=options.baselines, visqol=not options.no_visqol, linear=options.linear,
    )  # fmt: skip
    if is_dataset(options.folder):
        if options.grid:
            parser.error(f"{options.folder} is a dataset with codecs and bitrates of its own: leave --grid out")
        cases = find_pairs(options.folder)
    else:
        grid = options.grid or (AUTOENCODER_GRID if setup.compresses else DEFAULT_GRID)
        cases = find_recordings(options.folder, parse_grid(grid))
    if options.by_folder and options.by_folder not in {folder_of(case.clip) for case in cases}:
        parser.error(f"there are no clips in a sub-folder {options.by_folder} of {options.folder}")
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)

    rows, left_out = run(cases, setup, options.workers)
    for row in left_out:
        print(f"left out: {row['clip']}, {row['codec']} {row['kbps'] or ''}: {row['reason']}", file=sys.stderr)
    if not rows:
        raise ValueError(f"none of {len(cases)} could be measured")
    summary = summarise(rows)
    folders = {} if options.by_folder is None else by_folder(rows, options.by_folder)
    if options.output:
        lsd = {"n_fft": LSD_N_FFT, "hop_length": LSD_HOP_LENGTH, "floor_db": LSD_FLOOR_DB}
        results = {"model": options.model, "fingerprint": setup.fingerprint, "lsd": lsd, "summary": summary}
        results |= {"folders": folders, "clips": rows, "left_out": left_out}
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(summary))
    for folder, own in folders.items():
        print(f"\n{folder}\n\n{markdown(own)}")
    print(f"\n{RATINGS}")
    print(f"\nLSD: Hann window of {LSD_N_FFT}, hop of {LSD_HOP_LENGTH} samples, floor of {LSD_FLOOR_DB:g} dB.")
    print(f"\n{worst_clips(summary)}")
    if left_out:
        print(f"\nLeft out: {len(left_out)} of {len(cases)}.")
    if options.plots:
        from . import plots

        plots.plot_all(options.plots, summary, rows, cases, setup)
