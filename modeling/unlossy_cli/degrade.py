"""`unlossy degrade`: save a file with a real lossy encoder."""

import argparse

from unlossy_cli.entry import warn
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Encode the file that the arguments name, and return the exit code."""
    silence_libraries()
    from unlossy.codecs import degrade

    warn(degrade(arguments.input, arguments.output, arguments.codec, arguments.bitrate, overwrite=arguments.overwrite))
    print(f"{arguments.input} -> {arguments.output}")
    return 0
