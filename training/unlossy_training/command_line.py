"""`unlossy-train COMMAND …`: from music to a measured checkpoint.

Each command is a module with a `main` of its own, imported only when it is asked for: help and usage errors answer at
once. On several devices the same commands run under `accelerate launch -m unlossy_training` or
`torchrun -m unlossy_training`.
"""

import argparse
import importlib
from collections.abc import Sequence

from unlossy_cli import entry

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
    "export": ("publish.export", "write a checkpoint as ONNX files, which run without PyTorch"),
    "publish": ("publish.publish", "put a checkpoint on the Hub, with its card, its pairs and its Space"),
    "benchmark-fit": ("benchmarks.fit", "measure the speed of training"),
    "benchmark-restore": ("benchmarks.restore", "measure the speed and memory of restoring"),
    "benchmark-profile": ("benchmarks.profile", "show where the time of restoring goes"),
    "benchmark-space": ("benchmarks.space", "measure the web demo, alone and with many people at once"),
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of a command's name. What follows the name is left to the command, `--help` included."""
    width = max(map(len, COMMANDS)) + 2
    parser = entry.Parser(
        prog="unlossy-train",
        usage="unlossy-train [--version] COMMAND …",
        description="\n".join(f"  {name:{width}}{what}" for name, (_, what) in COMMANDS.items()),
        epilog="`unlossy-train COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=entry.Version, nargs=0, help="show the version and exit")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of these")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments (sequence of `str`, *optional*): default: those of the process.

    Returns:
        `int`: the exit code, see `unlossy_cli.entry`. Wrong arguments, `--help` and `--version` raise `SystemExit`, as
        argparse does.
    """
    chosen = build_parser().parse_args(arguments)

    def command() -> int | None:
        with entry.needing("train,eval"):
            module = importlib.import_module(f"unlossy_training.{COMMANDS[chosen.command][0]}")
        code: int | None = module.main(chosen.arguments)
        return code

    return entry.run(f"unlossy-train {chosen.command}", command)
