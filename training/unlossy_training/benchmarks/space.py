"""Measures the web demo: from the start to a usable page, from a request to its result, and eight people at once.

    unlossy-train benchmark-space                  # eight people for two minutes
    unlossy-train benchmark-space --seconds 5      # to try it

Each of the people has a clip of ten seconds, restores it again and again, and compares the results with that of
`unlossy.restore`. Linux only.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from gradio_client import Client, handle_file

import unlossy
from unlossy_cli import entry

from .restore import SAMPLING_RATE

CLIP_SECONDS = 10  # [s]
_SETTLE = 15  # [s], after which idle threads have ended and the files of closed sessions are removed


class Person:
    """Someone who restores one clip again and again.

    Args:
        number (`int`): makes this person's clip differ from the others'.
        url (`str`): address of the demo.
        folder (`Path`): where this person's files go.
    """

    def __init__(self, number: int, url: str, folder: Path) -> None:
        # All clips have the same name, so that the demo may confuse them.
        self.path = folder / str(number) / "clip.wav"
        self.path.parent.mkdir()
        noise = np.random.default_rng(number).uniform(-0.2, 0.2, (CLIP_SECONDS * SAMPLING_RATE, 2))
        soundfile.write(self.path, noise, SAMPLING_RATE)
        self.expected = np.asarray(unlossy.restore(self.path).audio)
        self.client = Client(url, verbose=False, download_files=str(folder / str(number)))
        self.seconds: list[float] = []
        self.wrong = 0

    def restore(self) -> None:
        """Restore the clip once, note the time, and compare the result with the package's."""
        start = time.perf_counter()
        result, _ = self.client.predict(handle_file(str(self.path)), 1.0, "flac", api_name="/restore")
        self.seconds.append(time.perf_counter() - start)
        audio = soundfile.read(result, dtype="float32")[0].T
        self.wrong += audio.shape != self.expected.shape or bool(np.abs(audio - self.expected).max() > 1e-5)
        Path(result).unlink()

    def keep_restoring(self, until: float) -> None:
        """Restore the clip until a time of `time.perf_counter` [s]."""
        while time.perf_counter() < until:
            self.restore()


def together(people: Sequence[Person], act: Callable[[Person], None]) -> None:
    """Let people act at the same time, and wait for all of them."""
    threads = [threading.Thread(target=act, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident(process: int) -> int:
    """The resident memory of a process, by its id [bytes]."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def measure(people: int, seconds: float, port: int) -> dict[str, Any]:
    """Start the demo and measure it.

    Args:
        people (`int`): number of people at once.
        seconds (`float`): how long they restore [s].
        port (`int`): port of the demo.

    Returns:
        `dict`: `page_seconds`, from the start of the process to the page; `first_seconds`, of one restoration by one
            person alone; `results`, `wrong` ones, `median_seconds` and `slowest_seconds` of all people at once; and
            `memory_before` and `memory_after` that [bytes].

    Raises:
        ChildProcessError: the demo does not start.
    """
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "unlossy_cli", "demo", "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise ChildProcessError(f"`unlossy demo` ended with code {server.wait()}")
        url = line.split()[-1]
        urllib.request.urlopen(url).read()
        page_seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            everybody = [Person(number, url, Path(folder)) for number in range(people)]
            first = everybody[0]
            together(everybody[:2], Person.restore)  # both threads' memory is there before it is measured
            first.restore()
            first_seconds = first.seconds[-1]
            time.sleep(_SETTLE)
            memory_before = resident(server.pid)
            until = time.perf_counter() + seconds
            for person in everybody:
                person.seconds.clear()
            together(everybody, lambda person: person.keep_restoring(until))
            for person in everybody:
                person.client.close()
            time.sleep(_SETTLE)
            taken = [each for person in everybody for each in person.seconds]
            return {
                "page_seconds": page_seconds,
                "first_seconds": first_seconds,
                "people": people,
                "results": len(taken),
                "wrong": sum(person.wrong for person in everybody),
                "median_seconds": statistics.median(taken),
                "slowest_seconds": max(taken),
                "memory_before": memory_before,
                "memory_after": resident(server.pid),
            }
    finally:
        server.terminate()
        server.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train benchmark-space", description=__doc__.split("\n\n")[0])
    parser.add_argument("--people", type=entry.whole(2), default=8, help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=entry.positive, default=120, help="of coming back (default: %(default)s)")
    parser.add_argument("--port", type=entry.whole(), default=7870, help="of the demo (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    figures = measure(options.people, options.seconds, options.port)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name:16} {value / 1e6:.0f} MB" if "memory" in name else f"{name:16} {value:.4g}")
