"""`unlossy decode`: an embedding back to audio."""

import argparse
from pathlib import Path

from unlossy_cli.entry import warn
from unlossy_cli.planning import is_taken
from unlossy_cli.progress import progress_bar
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Decode the embedding that the arguments name, and return the exit code."""
    silence_libraries()
    from unlossy import decode, load_autoencoder, load_embedding
    from unlossy.embedding import SUFFIX

    source: Path = arguments.input
    stem = source.name.removesuffix(SUFFIX).removesuffix(".safetensors")
    output: Path = arguments.output or source.with_name(f"{stem}.decoded.flac")
    if is_taken(output, arguments.overwrite):
        raise ValueError(f"{output}: exists already; add --overwrite to replace it")
    embedding = load_embedding(source)  # a file that can't be used is reported before the model is loaded
    model = load_autoencoder(arguments.model, arguments.device, arguments.backend)
    with progress_bar(source.name) as report:
        decoded = decode(
            embedding,
            model,
            detail=arguments.detail,
            output=output,
            bit_depth=arguments.bit_depth,
            overwrite=arguments.overwrite,
            progress=report,
        )
    warn(decoded.warnings)
    print(f"{source} -> {output}")
    return 0
