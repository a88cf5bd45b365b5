"""`unlossy demo`: the web demo on this machine."""

import argparse

from unlossy_cli.entry import needing
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until it is interrupted, and return the exit code."""
    silence_libraries()
    with needing("space"):
        from unlossy_space import launch

        launch(arguments.model, port=arguments.port)
    return 0
