"""`unlossy encode`: an audio file to its embedding, and what that is in kbps."""

import argparse
from pathlib import Path

from unlossy_cli.entry import warn
from unlossy_cli.planning import is_taken, offer_partial
from unlossy_cli.progress import progress_bar
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Encode the file that the arguments name, and return the exit code."""
    silence_libraries()
    from unlossy import encode, load_autoencoder, save_embedding
    from unlossy.embedding import SUFFIX
    from unlossy.hub.audio_unlossy import AudioReader

    source: Path = arguments.input
    output: Path = arguments.output or source.with_name(source.stem + SUFFIX)
    if not output.name.endswith(".safetensors"):
        raise ValueError(f"{output}: an embedding's file ends in .safetensors, such as {source.stem}{SUFFIX}")
    if is_taken(output, arguments.overwrite):
        raise ValueError(f"{output}: exists already; add --overwrite to replace it")
    # A file that can't be opened is reported before the model is loaded.
    with offer_partial(), AudioReader(source, strict=arguments.strict, partial=arguments.partial) as reader:
        model = load_autoencoder(arguments.model, arguments.device, arguments.backend)
        with progress_bar(source.name) as report:
            embedding = encode(reader, model, progress=report)
    warn(embedding.warnings)
    size = save_embedding(embedding, output, bits=arguments.bits, overwrite=arguments.overwrite)
    plain = embedding.values.size * arguments.bits
    print(
        f"{source} -> {output}: {8 * size / embedding.seconds / 1000:.1f} kbps "
        f"({embedding.values.size / embedding.seconds:,.0f} values a second of {arguments.bits} bits are "
        f"{plain / embedding.seconds / 1000:.1f} kbps)"
    )
    return 0
