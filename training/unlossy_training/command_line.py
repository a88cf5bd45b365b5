"""`unlossy-train COMMAND …`: from music to a measured checkpoint.

Each command is a module with a `main` of its own, imported only when it is asked for: help and usage errors answer at
once. On several devices the same commands run under `accelerate launch -m unlossy_training` or
`torchrun -m unlossy_training`.
"""

import importlib
import importlib.metadata
import signal
import sys
from collections.abc import Sequence

COMMANDS = {  # module and what it does
    "games": ("corpus.games", "fetch the music of free games, to make clips of"),
    "corpus": ("corpus.build", "build the open corpus: clips of clean music, singing and speech"),
    "dataset": ("pairs.dataset", "encode clips into pairs of degraded and clean audio"),
    "cells": ("pairs.cells", "compute what the detail predictor learns from, out of pairs"),
    "fit": ("fit.fit", "train on pairs"),
    "finetune": ("finetune", "adapt a checkpoint to your own recordings"),
    "evaluate": ("evaluation.evaluate", "measure a checkpoint on recordings or pairs"),
    "picture": ("evaluation.picture", "draw an autoencoder's embedding, and what lies between two clips"),
    "card": ("publish.card", "write the model card of a checkpoint, or check it"),
    "report": ("publish.report", "fill in the tables of documents from the evaluations, or check them"),
    "export": ("publish.export", "write a restorer as an ONNX file, which runs without PyTorch"),
    "publish": ("publish.publish", "put a checkpoint on the Hub, with its card, its pairs and its Space"),
    "benchmark-fit": ("benchmarks.fit", "measure the speed of training"),
    "benchmark-restore": ("benchmarks.restore", "measure the speed and memory of restoring"),
    "benchmark-space": ("benchmarks.space", "measure the web demo, alone and with many people at once"),
}


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        ["usage: unlossy-train [--version] COMMAND …", "", *lines, "", "`unlossy-train COMMAND --help` says more."]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Returns:
        the exit code: 0 all done, 1 failed, 2 wrong usage (argparse ends with it by itself), 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if name == "--version":
        print(f"unlossy-train {importlib.metadata.version('unlossy')}")
        return 0
    if name not in COMMANDS:
        print(f"unlossy-train: {name!r} is no command; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(f"unlossy_training.{COMMANDS[name][0]}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0].startswith("unlossy"):
            raise
        extras = "pip install -e '.[train,eval]'"
        print(f"unlossy-train {name} needs {error.name}, which comes with {extras}", file=sys.stderr)
        return 1
    except ImportError as error:  # a library that is there but doesn't load, as `import unlossy` explains it
        print(f"unlossy-train {name}: {error}", file=sys.stderr)
        return 1
    try:
        module.main(arguments[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0
