"""Measures a restorer on clean recordings that it has never seen: input, restored and the difference.

    python -m unlossy_training.evaluate FOLDER --bitrates 48 64            # MP3, the checkpoint in the package
    python -m unlossy_training.evaluate FOLDER --model CHECKPOINT --codec opus --bitrates 32 64 --output results.json

Every file of the folder is encoded by the real encoder, decoded, restored at `detail` 0 and 1, and compared with
itself. Untouched originals can go through too: a restorer must leave them alone.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from unlossy.degradation import CODECS, decode, encode
from unlossy.restoration_unlossy import load_model, restore

from .metrics import SAMPLING_RATE, log_spectral_distance, si_sdr, visqol

Case = tuple[Path, str, int]  # file, codec ("lossless": none), bitrate [kbps]
_model = None


def measure(case: Case, with_visqol: bool = True) -> dict[str, str | int | float]:
    """One clip through one codec: `input`, `faithful` (detail 0) and `restored` (detail 1) for each metric."""
    path, codec, bitrate = case
    clean, rate = soundfile.read(path, dtype="float32", always_2d=True)
    clean = clean.T
    if rate != SAMPLING_RATE:
        raise ValueError(f"{path} has {rate} Hz; the evaluation needs {SAMPLING_RATE} Hz.")
    degraded = clean
    if codec != "lossless":
        degraded = decode(encode(clean, rate, codec, bitrate), clean.shape[1])
    versions = {"input": degraded}
    for name, detail in {"faithful": 0.0, "restored": 1.0}.items():
        versions[name] = np.asarray(restore(degraded, _model, sampling_rate=rate, detail=detail).audio)
    row: dict[str, str | int | float] = {"clip": f"{path.parent.name}/{path.stem}", "codec": codec, "kbps": bitrate}
    for name, audio in versions.items():
        row[f"si_sdr_{name}"] = si_sdr(clean, audio)
        row[f"lsd_{name}"] = log_spectral_distance(clean, audio)
        # Nobody listens at detail 0 for its treble, and ViSQOL is the slowest of all.
        if with_visqol and name != "faithful":
            row[f"visqol_{name}"] = visqol(clean, audio)
    return row


def mean_rows(rows: Iterable[dict]) -> list[dict]:
    """Means over clips for each codec and bitrate."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["codec"], row["kbps"]), []).append(row)
    means = []
    for (codec, kbps), group in groups.items():
        figures = [key for key, value in group[0].items() if isinstance(value, float)]
        means.append({"codec": codec, "kbps": kbps, "clips": len(group)})
        means[-1] |= {key: float(np.mean([row[key] for row in group])) for key in figures}
    return means


def markdown(means: list[dict]) -> str:
    """The table: input → restored (difference)."""
    lines = [
        "| codec | kbps | clips | ViSQOL, detail 1 | SI-SDR, detail 0 [dB] | SI-SDR, detail 1 [dB] "
        "| LSD, detail 1 [dB] |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in means:

        def change(metric: str, version: str, digits: int, row: dict = row) -> str:
            if f"{metric}_input" not in row:
                return "–"
            before, after = row[f"{metric}_input"], row[f"{metric}_{version}"]
            return f"{before:.{digits}f} → {after:.{digits}f} ({after - before:+.{digits}f})"

        cells = [change("visqol", "restored", 2), change("si_sdr", "faithful", 2), change("si_sdr", "restored", 2)]
        cells.append(change("lsd", "restored", 1))
        lines.append(f"| {row['codec']} | {row['kbps'] or '–'} | {row['clips']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _start(model: str | None) -> None:
    global _model
    torch.set_num_threads(1)
    _model = load_model(model, "cpu")


def _measure_safely(arguments: tuple[Case, bool]) -> dict | None:
    case, with_visqol = arguments
    try:
        return measure(case, with_visqol)
    except ValueError as error:  # a codec that does not take this bitrate for this clip's channels
        print(f"left out: {case[0].name}: {error}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m unlossy_training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="clean recordings: FLAC at 44.1 kHz, searched recursively")
    parser.add_argument("--model", help="Hub id or folder (default: the checkpoint in the package)")
    parser.add_argument("--codec", choices=CODECS, default="mp3", help="(default: %(default)s)")
    parser.add_argument("--bitrates", type=int, nargs="*", default=[48, 64], help="[kbps] (default: 48 64)")
    parser.add_argument("--lossless", action="store_true", help="also measure the untouched originals")
    parser.add_argument("--no-visqol", action="store_true", help="leave out the slowest metric")
    parser.add_argument("--output", type=Path, help="JSON file for every clip's figures and the means")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*.flac"))
    if not files:
        parser.error(f"{arguments.folder} has no FLAC files")
    cases: list[Case] = [(file, arguments.codec, rate) for rate in arguments.bitrates for file in files]
    if arguments.lossless:
        cases += [(file, "lossless", 0) for file in files]
    try:
        load_model(arguments.model, "cpu")  # a pool would start its processes again and again
    except ValueError as error:
        parser.error(str(error))
    # "spawn": a fork of a process with threads may hang.
    with multiprocessing.get_context("spawn").Pool(arguments.workers, _start, (arguments.model,)) as pool:
        jobs = [(case, not arguments.no_visqol and case[1] != "lossless") for case in cases]
        done = tqdm(pool.imap(_measure_safely, jobs), total=len(jobs), unit="clip")
        rows = [row for row in done if row is not None]
    if not rows:
        parser.exit(1, "nothing could be measured\n")
    means = mean_rows(rows)
    if arguments.output:
        arguments.output.write_text(json.dumps({"means": means, "clips": rows}, indent=1) + "\n")
    print(markdown(means))


if __name__ == "__main__":
    main()
