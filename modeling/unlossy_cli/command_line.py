"""Arguments of the `unlossy` command."""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from unlossy_cli import entry
from unlossy_cli.planning import OUTPUT_FORMATS, STANDARD

CODEC_CHOICES = ("mp3", "aac", "vorbis", "opus")


def _path(text: str) -> Path:
    path = entry.path(text)
    return path.absolute() if path == STANDARD and text != str(STANDARD) else path  # ./- is a file


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


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--track",
        type=entry.whole(),
        metavar="N",
        help="the audio track of a video, from 1 (default: the file's default)",
    )


def _add_detail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detail",
        type=entry.share,
        default=1.0,
        metavar="0..1",
        help="0: closest to what the codec kept; 1: with all the regenerated treble (default: 1)",
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
    _add_detail(parser)
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


def _add_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=entry.whole(), required=True, metavar="HZ", help="of the samples, 8000 to 192000"
    )
    parser.add_argument("--channels", type=int, choices=range(1, 9), default=2, metavar="N", help="1 to 8 (default: 2)")
    parser.add_argument(
        "--samples",
        choices=("s16le", "s32le", "f32le"),
        default="s16le",
        help="what they are, in FFmpeg's words: integers of 16 or 32 bits, or floats within 1 (default: s16le)",
    )
    _add_detail(parser)
    _add_model(parser)
    _add_device(parser)
    _add_backend(parser)


def _add_degrade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="INPUT", help="an audio file")
    parser.add_argument(
        "-o", "--output", type=_path, required=True, metavar="FILE", help="the compressed file to write"
    )
    parser.add_argument("--codec", choices=CODEC_CHOICES, required=True)
    parser.add_argument("--bitrate", type=entry.whole(), required=True, metavar="KBPS", help="nominal bitrate [kbps]")
    _add_overwrite(parser)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="FILE", help="an audio file")
    _add_track(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--port", type=entry.whole(), help="(default: the first free one from 7860)")


def _add_encode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="INPUT", help="an audio file")
    parser.add_argument(
        "-o", "--output", type=_path, metavar="FILE", help="(default: song.embedding.safetensors beside song.flac)"
    )
    parser.add_argument("--bits", type=int, choices=(8, 4, 32), default=8, help="a value; 32 is float (default: 8)")
    _add_model(parser)
    _add_device(parser)
    _add_backend(parser)
    _add_overwrite(parser)
    _add_oddities(parser)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=_path, metavar="EMBEDDING", help="a file that `unlossy encode` made")
    parser.add_argument("-o", "--output", type=_path, metavar="FILE", help="(default: song.decoded.flac)")
    parser.add_argument(
        "--detail",
        type=entry.share,
        default=1.0,
        metavar="0..1",
        help="0: closest to the original; 1: with all the regenerated texture (default: 1)",
    )
    parser.add_argument(
        "--bit-depth", choices=("16", "24", "32f"), default="24", help="of wav (all) and flac (16, 24) (default: 24)"
    )
    _add_model(parser)
    _add_device(parser)
    _add_backend(parser)
    _add_overwrite(parser)


def _add_similar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", type=_path, metavar="QUERY", help="an audio file, or an embedding's")
    parser.add_argument("folder", type=_path, metavar="FOLDER", help="audio files and embeddings, with sub-folders")
    parser.add_argument("--top", type=entry.whole(), default=10, metavar="N", help="how many are listed (default: 10)")
    _add_model(parser)
    _add_device(parser)
    _add_backend(parser)
    _add_oddities(parser)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line; the chosen command's name is left in `command`."""
    parser = entry.Parser(prog="unlossy", description="Restore audio that was saved as MP3, AAC, Vorbis or Opus.")
    parser.add_argument("--version", action=entry.Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add, description in (
        ("restore", _add_restore, "restore files and whole folders"),
        ("stream", _add_stream, "restore raw samples between two programs, while they play"),
        ("degrade", _add_degrade, "save a file with a real lossy encoder, to hear or to train on what it does"),
        ("encode", _add_encode, "turn a file into its embedding: 11 samples into one value"),
        ("decode", _add_decode, "turn an embedding back into audio"),
        ("similar", _add_similar, "list the files of a folder that sound most like one, by their embeddings"),
        ("info", _add_info, "show what a file is, what its codec cut off, and what a restoration would do"),
        ("demo", _add_demo, "open a web page to restore and compare in"),
    ):
        add(commands.add_parser(name, help=description, description=description[0].upper() + description[1:] + "."))
    return parser


def process() -> NoReturn:
    """Run the command line as a process of its own."""
    entry.process(main)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (sequence of `str`, *optional*): the arguments; default: those of the process.

    Returns:
        `int`: the exit code, see `entry`. Wrong arguments, `--help` and `--version` raise `SystemExit`, as argparse
        does.
    """
    arguments = build_parser().parse_args(argv)
    command = importlib.import_module(f"unlossy_cli.{arguments.command}")
    return entry.run("unlossy", lambda: command.run(arguments))
