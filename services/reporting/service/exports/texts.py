"""Columns as texts: instants, and cells that a spreadsheet would take for a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

# What spreadsheets compute, or, after a tab or carriage return, look at again.
# Source: OWASP, CSV Injection.
FORMULA: Final = r"^[=+\-@\t\r]"
_SECONDS: Final = "%Y-%m-%dT%H:%M:%SZ"


def each_text(column: pa.ChunkedArray, change: Callable[[Any], Any]) -> pa.ChunkedArray:
    """Changes texts; those of a dictionary once each."""
    if not pa.types.is_dictionary(column.type):
        return change(column)
    return pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(chunk.indices, change(chunk.dictionary))
            for chunk in column.chunks
        ],
        pa.dictionary(column.type.index_type, pa.string()),
    )


def guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Puts an apostrophe before texts that a spreadsheet would compute."""

    def change(texts: Any) -> Any:
        is_formula = pc.match_substring_regex(texts, FORMULA)
        if not pc.any(is_formula).as_py():
            return texts
        return pc.if_else(is_formula, pc.binary_join_element_wise("'", texts, ""), texts)

    return each_text(column, change)


def instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns RFC 3339 texts in UTC, with microseconds where any of the column has some."""
    is_whole = pc.all(pc.equal(pc.floor_temporal(column, unit="second"), column)).as_py()
    if is_whole is False:
        return pc.strftime(column, format=_SECONDS)
    return pc.strftime(column.cast(pa.timestamp("s", tz="UTC"), safe=False), format=_SECONDS)
