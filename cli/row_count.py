"""Rows of a file, so that a progress bar knows its end."""

from __future__ import annotations

import gzip
from pathlib import Path

from pyarrow import parquet

_BLOCK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"


def count_rows(file: Path) -> int | None:
    """Returns the file's data rows, about: a line break within a quoted field counts as a row.

    Reads the file once, 1 GB of plain text a second. None when it cannot be read.
    """
    with file.open("rb") as reader:
        beginning = reader.read(4)
    if beginning == _PARQUET:
        return int(parquet.ParquetFile(file).metadata.num_rows)
    try:
        with gzip.open(file) if beginning.startswith(_GZIP) else file.open("rb") as reader:
            lines = 0
            while block := reader.read(_BLOCK_BYTES):
                lines += block.count(b"\n")
    except (OSError, EOFError):
        return None
    return max(1, lines - 1)
