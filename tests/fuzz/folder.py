"""Restore a music folder with damaged files in it, and show what a user sees.

    python tests/fuzz/folder.py --files 300 --odd 30 --seed 1

The files are real encodes in albums of ten; what the odd ones are, `--seed` draws. Checked is that all files are
accounted for: each has a result or a sentence that names it, and nothing else is left.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.seeds import damage, make_seeds

ALBUM = 10  # files
SECONDS = 1.5


def make_folder(folder: Path, files: int, odd: int, seed: int) -> dict[Path, str]:
    """Albums of files in every format.

    Returns:
        the odd ones, and what is odd.
    """
    random = np.random.default_rng(seed)
    seeds = make_seeds(SECONDS)
    which = set(random.choice(files, odd, replace=False).tolist())
    oddities: dict[Path, str] = {}
    for number in range(files):
        name = list(seeds)[random.integers(len(seeds))]
        stem, suffix = name.split(".")
        album = folder / f"Album {number // ALBUM + 1:02}"
        album.mkdir(parents=True, exist_ok=True)
        path = album / f"{number % ALBUM + 1:02} {stem}.{suffix}"
        if number in which:
            oddities[path] = _make_odd(path, seeds, seeds[name], random)
        else:
            path.write_bytes(seeds[name])
    return oddities


def _make_odd(path: Path, seeds: dict[str, bytes], data: bytes, random: np.random.Generator) -> str:
    kind = str(random.choice(["damaged", "half", "empty", "text", "broken link"], p=[0.6, 0.2, 0.1, 0.05, 0.05]))
    if kind == "broken link":
        path.symlink_to("nowhere")
        return kind
    path.write_bytes(
        {
            "damaged": damage(data, list(seeds.values()), random),
            "half": data[: len(data) // 2],
            "empty": b"",
            "text": b"<html><body>404 Not Found</body></html>\n",
        }[kind]
    )
    return kind


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--odd", type=int, default=30, help="how many of them (default: 30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of `unlossy restore`; give them last")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="folder-") as name:
        folder, output = Path(name) / "music", Path(name) / "restored"
        oddities = make_folder(folder, arguments.files, arguments.odd, arguments.seed)
        command = ["restore", str(folder), "-o", str(output), *arguments.options]
        print("$ unlossy", *command, flush=True)
        started = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "unlossy_cli", *command],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        seconds = time.monotonic() - started
        print(run.stderr)
        results = {path.relative_to(output) for path in output.rglob("*") if path.is_file()}
        inputs = [path for path in sorted(folder.rglob("*")) if path.suffix]
        restored = [path for path in inputs if _has_result(path.relative_to(folder), results)]
        missing = [path for path in inputs if path not in restored and str(path) not in run.stderr]
        silent = [path for path in oddities if path in restored and str(path) not in run.stderr]
        refused = [path for path in inputs if path not in restored]
        print(f"exit code {run.returncode} after {seconds:.0f} s")
        print(f"{len(inputs)} files: {len(restored)} restored, {len(refused)} refused")
        print(f"{len(silent)} of {len(oddities)} odd ones restored without a word:")
        for path in silent:
            print(f"  {path} ({oddities[path]})")
        problems = [f"neither restored nor named: {path}" for path in missing]
        problems += [f"whole, but refused: {path}" for path in refused if path not in oddities]
        problems += ["more results than inputs"] * (len(results) != len(restored))
        problems += [f"left behind: {path}" for path in results if path.name.startswith(".")]
        problems += ["a traceback"] * ("Traceback" in run.stderr)
        problems += [f"exit code {run.returncode}"] * (run.returncode != (1 if refused else 0))
        print("\n".join(problems) or "all accounted for")
        return 1 if problems else 0


def _has_result(path: Path, results: set[Path]) -> bool:
    names = (f"{path.stem}.flac", f"{path.name}.flac")  # the second where two inputs differ in their suffix only
    return any(path.with_name(name) in results for name in names)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
