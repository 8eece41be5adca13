"""Reads FOCUS files, CSV or Parquet, as columns of some thousand rows at a time."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from cli.errors import UsageError

BATCH_ROWS = 5_000
_NO_VALUE = frozenset(("", "NULL"))  # databases that export their nulls as text write the latter
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"


def batches_of(path: Path) -> Iterator[dict[str, list[object]]]:
    """Yields columns by their names; values are texts, typed ones in Parquet, or None."""
    with path.open("rb") as file:
        magic = file.read(len(_PARQUET))
    if magic == _PARQUET:
        yield from _parquet(path)
    else:
        yield from _csv(path, is_zipped=magic.startswith(_GZIP))


def _csv(path: Path, *, is_zipped: bool) -> Iterator[dict[str, list[object]]]:
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if is_zipped else raw
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        reader = csv.reader(text)
        header = next(reader, [])
        while rows := list(itertools.islice(reader, BATCH_ROWS)):
            try:
                columns = list(zip(*rows, strict=True))
                named = zip(header, columns, strict=True)
            except ValueError:
                raise UsageError(f"{path} has rows of another length than its header") from None
            yield {
                name: [None if value in _NO_VALUE else value for value in column]
                for name, column in named
            }


def _parquet(path: Path) -> Iterator[dict[str, list[object]]]:
    # Its library takes 40 MB and a while to load, so it is loaded only for such a file.
    import pyarrow.parquet as pq  # noqa: PLC0415 - as said

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            yield batch.to_pydict()
