"""`unlossy stream`: raw samples from standard input to standard output, restored while they come in."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlossy_cli.entry import warn
from unlossy_cli.quiet import silence_libraries

if TYPE_CHECKING:
    import numpy as np

SAMPLES = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}  # FFmpeg's names, and NumPy's
_MOST_BYTES = 2**16  # that are read at a time


def run(arguments: argparse.Namespace) -> int:
    """Restore what comes in until it ends, and return the exit code."""
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise ValueError("stream reads and writes raw samples: pipe a program into it, and it into another")
    silence_libraries()
    import numpy as np

    from unlossy import load_model, restore_stream

    kind = np.dtype(SAMPLES[arguments.samples])
    is_integer = kind.kind == "i"
    full_scale = 2.0 ** (8 * kind.itemsize - 1) if is_integer else 1.0
    model = load_model(arguments.model, arguments.device, arguments.backend)
    blocks = _read(kind, arguments.channels, full_scale)
    for block in restore_stream(blocks, arguments.rate, model, detail=arguments.detail, clips=is_integer):
        samples = block.T.astype(np.float64) * full_scale
        if is_integer:
            samples = np.clip(np.round(samples), -full_scale, full_scale - 1)
        sys.stdout.buffer.write(samples.astype(kind).tobytes())
        sys.stdout.buffer.flush()
    return 0


def _read(kind: "np.dtype", channels: int, full_scale: float) -> Iterator["np.ndarray"]:
    """Blocks `(channels, samples)` of standard input, as soon as there is something."""
    import numpy as np

    size = kind.itemsize * channels
    rest = b""
    while data := sys.stdin.buffer.read1(_MOST_BYTES):  # type: ignore[union-attr]  # it is buffered
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        if whole:
            samples = np.frombuffer(data[:whole], kind).reshape(-1, channels)
            yield (samples.T / full_scale).astype(np.float32)
    if rest:
        warn([f"standard input ends within a sample: its last {len(rest)} bytes are left out"])
