"""A process that restores one file after the other, as `unlossy restore` does, and says what became of each.

It is given a small model and a whole file, and says when it is ready. Then it is told a line a file, `{"path": …,
"options": […]}`, and answers a line; `find_problem` has what is in it.
"""

import faulthandler
import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEMORY = 3 * 2**30  # [bytes]
HIGHEST_PEAK = 110.0  # times full scale: what is read has at most 100, and resampling adds a little
SENTENCE = re.compile(r"unlossy: .+")
DECODED = re.compile(r"([\d.]+) s of [\d.]+ s can be decoded")


def main() -> None:
    """Work until standard input ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    log = tempfile.TemporaryFile(dir=os.environ["FUZZ_LOGS"])  # noqa: SIM115
    for number in (1, 2):  # what libraries in C print counts, too
        os.dup2(log.fileno(), number)
    faulthandler.enable(open(Path(os.environ["FUZZ_LOGS"]) / "crash.txt", "w"))  # noqa: SIM115
    model = sys.argv[1]
    # What is imported on the way does not count for the first file, nor what libraries put beside temporary files.
    restored = restore(Path(sys.argv[2]), model, [])
    foreign = set(os.listdir(os.environ["TMPDIR"]))
    answers.write(json.dumps({"problem": None if restored["code"] == 0 else restored}) + "\n")
    answers.flush()
    for line in sys.stdin:
        task = json.loads(line)
        started = time.monotonic()
        log.seek(0)
        log.truncate()
        answer = restore(Path(task["path"]), model, task["options"])
        sys.stderr.flush()
        log.seek(0)
        answer["error"] = log.read().decode(errors="replace")
        answer["seconds"] = time.monotonic() - started
        answer["left"] = [name for name in answer["left"] if name not in foreign]
        answer["problem"] = find_problem(answer)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def restore(path: Path, model: str, options: list[str]) -> dict[str, Any]:
    import soundfile

    from unlossy_cli import main as unlossy

    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    with tempfile.TemporaryDirectory(dir=os.environ["FUZZ_LOGS"]) as folder:
        output = Path(folder) / "out.wav"
        arguments = ["restore", str(path), "-o", str(output), "--model", model, "--device", "cpu", *options]
        code = unlossy([*arguments, "--bit-depth", "32f"])
        answer: dict[str, Any] = {"code": code, "left": sorted(os.listdir(folder))}
        answer["left"] += os.listdir(os.environ["TMPDIR"])
        if output.exists():
            samples, rate = soundfile.read(output, always_2d=True, dtype="float32")
            answer |= {"peak": float(abs(samples).max(initial=0)), "length": len(samples) / rate}
    return answer


def find_problem(answer: dict[str, Any]) -> str | None:
    """What `unlossy restore` must not have done."""
    lines = answer["error"].splitlines()
    strange = [line for line in lines if not SENTENCE.fullmatch(line)]
    if answer["code"] not in (0, 2):
        return f"exit code {answer['code']}"
    if "Traceback" in answer["error"] or "unexpected error" in answer["error"]:
        return "traceback"
    if strange:
        return f"no sentence: {strange[0]}"
    if answer["code"] == 2:
        if len(lines) != 1 or "warning" in lines[0]:
            return "not one sentence"
        return f"left behind: {answer['left']}" if answer["left"] else None
    if answer["left"] != ["out.wav"]:
        return f"wrong files: {answer['left']}"
    if not answer["peak"] < HIGHEST_PEAK:  # also if it is not a number
        return f"not a level: peak {answer['peak']:.3g}"
    if not answer["length"]:
        return "empty output"
    told = DECODED.search(answer["error"])
    if told and abs(float(told[1]) - answer["length"]) > 0.06:
        return f"{answer['length']:.2f} s, but the warning says {told[1]} s"
    return None


if __name__ == "__main__":
    main()
