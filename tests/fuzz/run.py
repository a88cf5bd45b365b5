"""Damage files at random, restore them, and name every crash, hang, traceback and wrong output.

    python tests/fuzz/run.py --files 20000 --seed 1 --keep found/

A file is made from `--seed` and its number alone; what was found is kept with both in its name.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.seeds import damage, make_seeds

TIME_LIMIT = 60.0  # [s] of computing, a file
PATIENCE = 30  # times as long on the clock, on a machine that others keep busy


@dataclass
class Finding:
    """What is wrong with one file."""

    name: str  # of the kept file
    problem: str
    error: str = ""  # what was printed


@dataclass
class Report:
    """What came of a run. `codes` counts the exit codes, and `odd` the files that were restored with a warning."""

    files: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    odd: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


class Worker:
    """The parent's side of a [`fuzz.worker`]."""

    def __init__(self, model: Path, whole: Path, folder: Path) -> None:
        self.logs = folder
        (folder / "temporary").mkdir(exist_ok=True)
        environment = os.environ | {"FUZZ_LOGS": str(folder), "TMPDIR": str(folder / "temporary")}
        environment["OMP_NUM_THREADS"] = "1"
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), str(model), str(whole)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        started = self._answer()
        if started != {"problem": None}:
            raise RuntimeError(f"the worker does not start: {started}")

    def restore(self, path: Path, options: list[str]) -> dict[str, Any]:
        """The worker's answer, or what became of the worker."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"path": str(path), "options": options}).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        computed, started = self._computed(), time.monotonic()
        while not select.select([self.process.stdout], [], [], 1)[0]:
            if max(self._computed() - computed, (time.monotonic() - started) / PATIENCE) > TIME_LIMIT:
                return {"problem": "hang"}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        return {"problem": f"crash {self.process.wait()}", "error": (self.logs / "crash.txt").read_text()}

    def _computed(self) -> float:
        """How long [s] the worker has computed, as Linux counts it; elsewhere only the clock on the wall counts."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def fuzz(files: int, seed: int, model: Path, keep: Path | None = None, first: int = 0) -> Report:
    """Restore damaged files.

    Args:
        files (`int`): how many.
        seed (`int`): another one makes other files.
        model (`Path`): folder of a small model.
        keep (`Path`, *optional*): where files with which something is wrong are kept.
        first (`int`, defaults to 0): number of the first file.
    """
    seeds = make_seeds()
    report = Report()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        whole = folder / "whole.flac"
        whole.write_bytes(seeds["flac.flac"])
        worker = Worker(model, whole, folder)
        try:
            for number in range(first, first + files):
                path, options = _make(seeds, seed, number, folder)
                answer = worker.restore(path, options)
                _add(report, answer, path, keep)
                path.unlink()
                if "code" not in answer:
                    worker.stop()
                    worker = Worker(model, whole, folder)
                if report.files % 1000 == 0:
                    seconds = time.monotonic() - started
                    print(f"{report.files} files, {seconds:.0f} s, {len(report.findings)} wrong", file=sys.stderr)
        finally:
            worker.stop()
    report.seconds = time.monotonic() - started
    return report


def _make(seeds: dict[str, bytes], seed: int, number: int, folder: Path) -> tuple[Path, list[str]]:
    """A damaged file and the options to restore it with."""
    random = np.random.default_rng([seed, number])
    name = list(seeds)[random.integers(len(seeds))]
    data = damage(seeds[name], list(seeds.values()), random)
    stem, suffix = name.split(".")
    # A file may have any suffix, and FFmpeg looks at it.
    suffix = suffix if random.random() < 0.9 else list(seeds)[random.integers(len(seeds))].split(".")[1]
    path = folder / f"{seed}-{number}-{stem}.{suffix}"
    path.write_bytes(data)
    return path, [[], ["--partial"], ["--strict"]][random.choice(3, p=[0.3, 0.6, 0.1])]


def _add(report: Report, answer: dict[str, Any], path: Path, keep: Path | None) -> None:
    report.files += 1
    report.slowest = max(report.slowest, answer.get("seconds", TIME_LIMIT))
    if "code" in answer:
        report.codes[answer["code"]] += 1
        report.odd += answer["code"] == 0 and bool(answer["error"])
    if answer["problem"] is not None:
        report.findings.append(Finding(path.name, answer["problem"], answer.get("error", "")))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / path.name).write_bytes(path.read_bytes())


def make_model(folder: Path) -> Path:
    """A model that costs next to nothing."""
    from unlossy import UnlossyConfig, UnlossyModel

    config = UnlossyConfig(hidden_sizes=(8, 8), depths=(1, 1), embedding_size=32, detail_size=16)
    UnlossyModel(config).save_pretrained(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: 0)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the files with which something is wrong")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        report = fuzz(arguments.files, arguments.seed, model, arguments.keep, arguments.first)
    for finding in report.findings:
        print(f"{finding.name}: {finding.problem}\n    {finding.error.strip()[-2000:]}")
    kinds = Counter(finding.problem.split(":")[0] for finding in report.findings)
    restored, refused = report.codes[0], report.codes[2]
    print(
        f"{report.files} files in {report.seconds:.0f} s, the slowest {report.slowest:.1f} s: {restored} restored "
        f"({report.odd} with warnings), {refused} refused; {dict(kinds) or 'nothing'} wrong"
    )
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
