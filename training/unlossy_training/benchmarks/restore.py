"""Measures the speed and the memory of `unlossy restore`: a whole process, from its start to the written file.

    unlossy-train benchmark-restore                                       # 5 min for speed; 10 and 60 for memory
    unlossy-train benchmark-restore --runs 1 --minutes 0.2 0.2 0.5        # to try it

The files are synthesised stereo at 44.1 kHz as MP3 of 64 kbps, the results FLAC of 24 bits. Linux and macOS only.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlossy.codecs import degrade
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.loading_unlossy import BACKENDS
from unlossy_cli import entry

SAMPLING_RATE = 44_100  # [Hz]


def write_music(path: Path, seconds: float) -> None:
    """Write an MP3 of decaying notes over noise, second by second, so that this process needs little memory."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    clean = path.with_suffix(".wav")
    with AudioWriter(clean, SAMPLING_RATE, 2, bit_depth="16") as writer:
        left = round(seconds * SAMPLING_RATE)
        while left > 0:
            pitches = rng.uniform(100, 8000, (2, 4, 1))
            notes = np.sin(2 * np.pi * pitches * time_axis).mean(axis=1) * np.exp(-4 * time_axis)
            block = 0.4 * notes + 0.02 * rng.normal(size=notes.shape)
            writer.write(block[:, :left].astype(np.float32))
            left -= SAMPLING_RATE
    degrade(clean, path, "mp3", 64)
    clean.unlink()


def run(song: Path, model: str | None, backend: str) -> tuple[float, int]:
    """Restore a file in a process of its own.

    Returns:
        `tuple`: its time [s] and its largest resident memory [bytes].

    Raises:
        ChildProcessError: the process failed. It has said why on stderr.
    """
    command = [sys.executable, "-m", "unlossy_cli", "restore", str(song), "--overwrite", "--backend", backend]
    start = time.perf_counter()
    process = subprocess.Popen([*command, *(["--model", model] if model else [])], stdout=subprocess.DEVNULL)
    # This is the memory of this child alone, unlike RUSAGE_CHILDREN. A new process begins with that of its parent: this
    # module imports nothing that is larger than what it measures.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError(f"`unlossy restore` ended with code {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(minutes: Sequence[float], runs: int, model: str | None, backend: str) -> dict[str, Any]:
    """Restore one file `runs` times to measure the speed, and two files once each to measure the memory.

    Args:
        minutes: lengths of the file for the speed, and of the short and the long one for the memory [min].
        runs (`int`): how often the first one is restored.
        model (`str`, *optional*): a Hub id or folder. Without it, the checkpoint in the package.
        backend (`str`): see [`unlossy.load_model`].

    Returns:
        `dict`: `cores`, `backend`, `files` with `minutes`, `runs`, `seconds` (median), `times_real_time` and
            `peak_bytes` each, and `memory_ratio` of the long file to the short one.
    """
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for length, count in zip(minutes, (runs, 1, 1), strict=True):
            song = Path(folder, "song.mp3")
            song.unlink(missing_ok=True)
            write_music(song, 60 * length)
            results = [run(song, model, backend) for _ in range(count)]
            seconds = statistics.median(taken for taken, _ in results)
            file = {"minutes": length, "runs": count, "seconds": seconds, "times_real_time": 60 * length / seconds}
            files.append(file | {"peak_bytes": max(peak for _, peak in results)})
    return {
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "backend": backend,
        "files": files,
        "memory_ratio": files[2]["peak_bytes"] / files[1]["peak_bytes"],
    }


def markdown(figures: dict[str, Any]) -> str:
    """Make a Markdown table of the figures, with the machine above it and the ratio of the memory below."""
    lines = [f"{figures['cores']} cores, backend {figures['backend']}; stereo 44.1 kHz, MP3 to FLAC.", ""]
    lines += ["| file [min] | runs | time, median [s] | times real time | peak memory [GB] |", "|---|---|---|---|---|"]
    for file in figures["files"]:
        cells = f"{file['seconds']:.1f} | {file['times_real_time']:.1f} | {file['peak_bytes'] / 1e9:.2f}"
        lines.append(f"| {file['minutes']:g} | {file['runs']} | {cells} |")
    return "\n".join(
        [*lines, "", f"Memory of the longest file to that of the one before: {figures['memory_ratio']:.2f}"]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train benchmark-restore", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", help="Hub id or folder (default: the checkpoint in the package)")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="see `unlossy restore` (default: auto)")
    parser.add_argument("--runs", type=entry.whole(), default=3, help="for the speed (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=entry.positive, nargs=3, default=[5, 10, 60], metavar=("SPEED", "SHORT", "LONG"),
        help="lengths of the files for the speed and for the memory (default: 5 10 60)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    figures = measure(options.minutes, options.runs, options.model, options.backend)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))
