"""JSON: one array with an object a row, amounts as exact text, instants as RFC 3339."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from services.reporting.domain.exports import Column, Kind
from services.reporting.service.exports import texts

SLICE_ROWS: Final = 4_096  # as objects they are four times as large as in columns
_CONTROL: Final = r"[\x00-\x1f]"


class JsonWriter:
    """Writes JSON; implements `TableWriter`."""

    def __init__(self) -> None:
        """Starts before the first row."""
        self._columns: Sequence[Column] = ()
        self._has_rows = False

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Returns the array's beginning."""
        self._columns = columns
        return b"["

    def add(self, page: pa.Table) -> bytes:
        """Returns more objects, one a line."""
        slices = range(0, page.num_rows, SLICE_ROWS)
        return b"".join(self._lines(page.slice(start, SLICE_ROWS)) for start in slices)

    def _lines(self, page: pa.Table) -> bytes:
        parts: list[Any] = []
        for place, column in enumerate(self._columns):
            parts.append(("{" if not place else ",") + json.dumps(column.name) + ":")
            parts.append(_json(page.column(place), column.kind))
        parts.append("}")
        lines = pc.binary_join_element_wise(*parts, "").combine_chunks()
        whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
        text: str = pc.binary_join(whole, ",\n")[0].as_py()
        head = ",\n" if self._has_rows else "\n"
        self._has_rows = True
        return (head + text).encode()

    def end(self) -> Iterator[bytes]:
        """Yields the array's end."""
        yield b"\n]\n"

    def close(self) -> None:
        """Holds nothing."""
        self._columns = ()


def _json(column: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
    match kind:
        case Kind.TEXT:
            found = texts.each_text(column, _quoted)
        case Kind.AMOUNT:
            found = pc.binary_join_element_wise('"', column, '"', "")
        case Kind.INSTANT:
            found = pc.binary_join_element_wise('"', texts.instants(column), '"', "")
        case Kind.JSON | Kind.COUNT | Kind.NUMBER:
            found = column
        case Kind.FLAG:
            found = pc.if_else(column, "true", "false")
    return pc.fill_null(found.cast(pa.string()), "null")


def _quoted(column: Any) -> Any:
    if pc.any(pc.match_substring_regex(column, _CONTROL)).as_py():
        found = [
            None if text is None else json.dumps(text, ensure_ascii=False)
            for text in column.to_pylist()
        ]
        return pa.array(found, pa.string())
    escaped = pc.replace_substring(column, "\\", "\\\\")
    return pc.binary_join_element_wise('"', pc.replace_substring(escaped, '"', '\\"'), '"', "")
