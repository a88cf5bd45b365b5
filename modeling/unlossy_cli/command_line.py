"""Arguments of the `unlossy` command, and how its errors reach the user: one sentence and an exit code.

Exit codes: 0 all done; 1 some of many files failed; 2 wrong usage, or the one file failed; 130 interrupted.
"""

import argparse
import gc
import importlib
import importlib.metadata
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from unlossy_cli.planning import OUTPUT_FORMATS, STANDARD, describe

CODEC_CHOICES = ("mp3", "aac", "vorbis", "opus")


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong argument in one sentence, without the usage text before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """`--version`; the package's metadata is read only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"unlossy {importlib.metadata.version('unlossy')}")
        parser.exit()


def _path(text: str) -> Path:
    if not text:  # an unset variable in a script; Path("") is the current folder
        raise argparse.ArgumentTypeError("the name is empty")
    path = Path(text)
    return path.absolute() if path == STANDARD and text != str(STANDARD) else path


def _detail(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # also false for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist already")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="ID_OR_FOLDER", help="a Hub id or a local folder (default: the shipped one)")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="(default: auto)")


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("auto", "onnx", "torch"),
        default="auto",
        help="what the network runs in: ONNX Runtime or PyTorch (default: auto, PyTorch where there is a GPU for it)",
    )


def _track(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a track, from 1")
    return int(text)


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--track", type=_track, metavar="N", help="the audio track of a video, from 1 (default: the file's default)"
    )


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        type=_path,
        metavar="INPUT",
        help="an audio file, a folder of them, or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE_OR_FOLDER",
        help="where the result goes (default: song.restored.flac beside song.mp3); sub-folders are kept; - is standard "
        "output",
    )
    parser.add_argument(
        "--detail",
        type=_detail,
        default=1.0,
        metavar="0..1",
        help="0: closest to what the codec kept; 1: with all the regenerated treble (default: 1)",
    )
    _add_model(parser)
    _add_device(parser)
    _add_backend(parser)
    parser.add_argument(
        "--format",
        choices=OUTPUT_FORMATS,
        help="of the output (default: that of -o FILE, wav for -o -, otherwise flac)",
    )
    parser.add_argument(
        "--bit-depth", choices=("16", "24", "32f"), help="of wav (all) and flac (16, 24) output (default: 24)"
    )
    _add_track(parser)
    _add_overwrite(parser)
    _add_oddities(parser)


def _add_oddities(parser: argparse.ArgumentParser) -> None:
    oddities = parser.add_mutually_exclusive_group()
    oddities.add_argument(
        "--strict", action="store_true", help="refuse damaged files; by default a warning names what is silent in them"
    )
    oddities.add_argument(
        "--partial", action="store_true", help="take files, too, of which more than a tenth is missing"
    )


def _add_degrade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="INPUT", help="an audio file")
    parser.add_argument(
        "-o", "--output", type=_path, required=True, metavar="FILE", help="the compressed file to write"
    )
    parser.add_argument("--codec", choices=CODEC_CHOICES, required=True)
    parser.add_argument("--bitrate", type=int, required=True, metavar="KBPS", help="nominal bitrate [kbps]")
    _add_overwrite(parser)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="FILE", help="an audio file")
    _add_track(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--port", type=int, help="(default: the first free one from 7860)")


def _add_encode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="INPUT", help="an audio file")
    parser.add_argument(
        "-o", "--output", type=_path, metavar="FILE", help="(default: song.embedding.safetensors beside song.flac)"
    )
    parser.add_argument("--bits", type=int, choices=(8, 4, 32), default=8, help="a value; 32 is float (default: 8)")
    _add_model(parser)
    _add_device(parser)
    _add_overwrite(parser)
    _add_oddities(parser)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="EMBEDDING", help="a file that `unlossy encode` made")
    parser.add_argument("-o", "--output", type=_path, metavar="FILE", help="(default: song.decoded.flac)")
    parser.add_argument(
        "--detail",
        type=_detail,
        default=1.0,
        metavar="0..1",
        help="0: closest to the original; 1: with all the regenerated texture (default: 1)",
    )
    parser.add_argument(
        "--bit-depth", choices=("16", "24", "32f"), default="24", help="of wav (all) and flac (16, 24) (default: 24)"
    )
    _add_model(parser)
    _add_device(parser)
    _add_overwrite(parser)


def _add_similar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", type=_path, metavar="QUERY", help="an audio file, or an embedding's")
    parser.add_argument("folder", type=_path, metavar="FOLDER", help="audio files and embeddings, with sub-folders")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many are listed (default: 10)")
    _add_model(parser)
    _add_device(parser)
    _add_oddities(parser)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line; the chosen command's name is left in `command`."""
    parser = _Parser(prog="unlossy", description="Restore audio that was saved as MP3, AAC, Vorbis or Opus.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add, description in (
        ("restore", _add_restore, "restore files and whole folders"),
        ("degrade", _add_degrade, "save a file with a real lossy encoder, to hear or to train on what it does"),
        ("encode", _add_encode, "turn a file into its embedding: 11 samples into one value"),
        ("decode", _add_decode, "turn an embedding back into audio"),
        ("similar", _add_similar, "list the files of a folder that sound most like one, by their embeddings"),
        ("info", _add_info, "show what a file is, what its codec cut off, and what a restoration would do"),
        ("demo", _add_demo, "open a web page to restore and compare in"),
    ):
        add(commands.add_parser(name, help=description, description=description[0].upper() + description[1:] + "."))
    return parser


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM, from launchers and service managers, and SIGHUP, from a closed terminal, clean up as Ctrl+C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP, and nohup has it ignored
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def process() -> NoReturn:
    """Run the command line as a process of its own, which starts and ends two seconds sooner with PyTorch in it."""
    # Importing makes hundreds of thousands of objects that all stay: looking through them after every 700 is in vain.
    gc.set_threshold(100_000, 20, 100)
    try:
        code = main()
    except SystemExit as ended:  # by argparse, with a number
        code = int(ended.code or 0)
    with suppress(BrokenPipeError):  # whoever read the output is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # without taking all these objects apart again


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (sequence of `str`, *optional*): the arguments; default: those of the process.

    Returns:
        `int`: the exit code. Wrong arguments, `--help` and `--version` raise `SystemExit`, as argparse does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    arguments = build_parser().parse_args(argv)
    command = importlib.import_module(f"unlossy_cli.{arguments.command}")
    try:
        with _terminated_like_interrupted():
            return command.run(arguments)
    except KeyboardInterrupt:
        print("unlossy: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"unlossy: {describe(error)}", file=sys.stderr)
        return 2
