"""Reads Parquet as the text a CSV export of the same table would hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.usage.service.importers.rows import RowProblem, UnreadableImportFile
from services.usage.service.importers.values import rounded_to_scale

_DAMAGES = (pa.ArrowException, OSError, UnicodeDecodeError)
_BATCH_ROWS = 2048  # of a hundred columns of text: about 10 MB


def parquet_columns(path: Path) -> list[str]:
    """Returns the names of the top-level columns. Raises UnreadableImportFile."""
    try:
        with pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    except _DAMAGES as error:
        raise _damaged(error) from error


def parquet_rows(path: Path) -> Iterator[tuple[int, Sequence[str] | RowProblem]]:
    """Yields record numbers from 1 and cells, with one blank cell after the last."""
    rows_before = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                blank = [""] * batch.num_rows
                texts = [_texts(column) for column in batch.columns]
                for number, cells in enumerate(zip(*texts, blank, strict=True), 1):
                    yield rows_before + number, cells
                rows_before += batch.num_rows
    except _DAMAGES as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> UnreadableImportFile:
    return UnreadableImportFile(f"the Parquet file cannot be read; export it again: {error}")


def _texts(column: pa.Array) -> list[str]:
    """Returns a column as text, "" for null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Arrow does not check text; as bytes, a value that is not UTF-8 costs its own row only.
        column = column.cast(pa.large_binary())
    elif pa.types.is_timestamp(kind):
        # Python's datetime ends at the microsecond; what is below is cut off, as in text.
        column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    elif pa.types.is_floating(kind):
        # Arrow writes the shortest text of a float of any width; Python would widen it first.
        return [_float_text(text) for text in column.cast(pa.string()).to_pylist()]
    return ["" if value is None else _text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case list() | dict():
            return json.dumps(_tag_object(value), ensure_ascii=False)
        case bytes():
            return value.decode(errors="surrogateescape")
    return str(value)


def _float_text(shortest: str | None) -> str:
    """Returns a float's shortest decimal, at most 18 digits after the point."""
    if shortest is None:
        return ""
    value = Decimal(shortest)
    if not value.is_finite():
        return shortest  # no number for whoever reads the cell
    return format(rounded_to_scale(value), "f")


def _tag_object(value: Any) -> Any:
    """Returns tags as a JSON object, which Parquet holds as a map, a struct or a list of pairs."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    if all(isinstance(item, tuple) for item in value):
        return dict(value)
    if all(isinstance(item, dict) and item.keys() == {"key", "value"} for item in value):
        return {item["key"]: item["value"] for item in value}
    return value
