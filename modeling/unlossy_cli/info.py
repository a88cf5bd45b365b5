"""`unlossy info`: what a file is, what its codec cut off, and what a restoration would do."""

import argparse

from unlossy_cli.entry import warn
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Describe the file that the arguments name, and return the exit code."""
    silence_libraries()
    from unlossy.inspection import inspect_file

    information = inspect_file(arguments.input, track=arguments.track)
    warn(information.warnings)
    bit_rate = "unknown" if information.bit_rate is None else f"{information.bit_rate / 1000:.0f} kbps"
    cutoff = "none (full band)" if information.cutoff_hz is None else f"{information.cutoff_hz:,.0f} Hz"
    minutes, seconds = divmod(round(information.duration_s, 1), 60)
    print(information.path)
    for name, value in (
        ("codec", information.codec),
        ("bitrate", bit_rate),
        ("sample rate", f"{information.sampling_rate:,} Hz"),
        ("channels", information.channels),
        ("duration", f"{minutes:.0f}:{seconds:04.1f}"),
        ("cutoff", cutoff),
        ("restoration", information.advice),
    ):
        print(f"  {name + ':':<13}{value}")
    return 0
