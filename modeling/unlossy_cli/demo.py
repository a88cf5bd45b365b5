"""`unlossy demo`: the web demo on this machine."""

import argparse

from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until it is interrupted, and return the exit code."""
    silence_libraries()
    from unlossy_space import launch

    try:
        launch(arguments.model, port=arguments.port)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("unlossy"):
            raise
        raise ValueError(f"demo needs {error.name}, which comes with pip install 'unlossy[space]'") from error
    return 0
