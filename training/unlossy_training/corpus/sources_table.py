"""Tables that describe the files of a folder: SOURCES.csv, or several tables whose names begin with SOURCES.

They lie in the folder or in one above it. Their columns are `file` (relative to the table), `license` and, where known,
`genre`, `attribution`, `origin` and `edge_hz`, the frequency above which an earlier codec has left nothing [Hz].
"""

import csv
from collections.abc import Iterable
from pathlib import Path


def read_sources(files: Iterable[Path]) -> dict[Path, dict[str, str]]:
    """Read the tables that are nearest to some files, in their folders or above them.

    Returns:
        `dict`: rows by resolved path, also of files that were not asked for.

    Raises:
        ValueError: a table lacks a column.
    """
    rows: dict[Path, dict[str, str]] = {}
    for folder in {file.resolve().parent for file in files}:
        tables = (sorted(parent.glob("SOURCES*.csv")) for parent in (folder, *folder.parents))
        for table in next(filter(None, tables), []):
            rows |= _read(table)
    return rows


def _read(table: Path) -> dict[Path, dict[str, str]]:
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"file", "license"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{table} has no column {' and no column '.join(sorted(missing))}")
        return {table.parent / row["file"]: row for row in rows}
