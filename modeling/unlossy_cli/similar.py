"""`unlossy similar`: the files of a folder that sound most like one, by their embeddings."""

import argparse
import sys
from pathlib import Path

from unlossy_cli.entry import describe, warn
from unlossy_cli.planning import offer_partial, search
from unlossy_cli.progress import progress_bar
from unlossy_cli.quiet import silence_libraries


def run(arguments: argparse.Namespace) -> int:
    """Rank the files of the folder that the arguments name, and return the exit code."""
    silence_libraries()
    from unlossy import Embedding, load_autoencoder
    from unlossy.embedding import SUFFIX
    from unlossy.similarity import embedding_of, rank

    folder, query = arguments.folder, arguments.query
    if not folder.is_dir():
        raise ValueError(f"{folder}: is no folder")
    errors: list[str] = []
    files = [*search(folder, None, errors), *sorted(folder.rglob(f"*{SUFFIX}"))]
    # A link to nowhere fails in its turn.
    files = [path for path in files if not (path.exists() and query.exists() and path.samefile(query))]
    if not files:
        raise ValueError(f"{folder}: no audio files or embeddings in this folder to compare with")
    model = load_autoencoder(arguments.model, arguments.device, arguments.backend)
    options = {"strict": arguments.strict, "partial": arguments.partial}
    with offer_partial():
        wanted = embedding_of(query, model, **options)
    odd = list(wanted.warnings)
    found: list[tuple[Path, Embedding]] = []
    with progress_bar(folder.name) as report:
        for number, path in enumerate(files, start=1):
            try:
                with offer_partial():
                    embedding = embedding_of(path, model, **options)
                found.append((path, embedding))
                odd.extend(embedding.warnings)
            except (ValueError, OSError) as error:  # one bad file doesn't stop the rest
                errors.append(describe(error))
            report(number / len(files))
    warn(odd)
    for place, neighbour in enumerate(rank(wanted, found, model.config)[: arguments.top], start=1):
        print(f"{place:3}  {neighbour.similarity:6.3f}  {neighbour.shift_s:+8.1f} s  {neighbour.path}")
    if errors:
        print("\n  ".join([f"unlossy: {len(errors)} could not be compared:", *errors]), file=sys.stderr)
    return 1 if errors else 0
