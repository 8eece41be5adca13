"""CSV: UTF-8, comma, quotes around texts, null as nothing, instants as RFC 3339."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.csv as pv

from services.reporting.domain.exports import Column, Kind
from services.reporting.service.exports import texts

_OPTIONS: Final = pv.WriteOptions(include_header=False)


class CsvWriter:
    """Writes CSV; implements `TableWriter`."""

    def __init__(self, *, is_guarded: bool = True) -> None:
        """is_guarded: whether texts that a spreadsheet would compute get an apostrophe before."""
        self._is_guarded = is_guarded
        self._columns: Sequence[Column] = ()

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Returns the header."""
        self._columns = columns
        names = pa.table({str(place): [column.name] for place, column in enumerate(columns)})
        return _csv(names)

    def add(self, page: pa.Table) -> bytes:
        """Returns more lines."""
        written = {}
        for place, column in enumerate(self._columns):
            values = page.column(place)
            if column.kind is Kind.INSTANT:
                values = texts.instants(values)
            elif self._is_guarded and column.kind in (Kind.TEXT, Kind.JSON):
                values = texts.guarded(values)
            written[str(place)] = values
        return _csv(pa.table(written))

    def end(self) -> Iterator[bytes]:
        """Yields nothing more."""
        return iter(())

    def close(self) -> None:
        """Holds nothing."""
        self._columns = ()


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pv.write_csv(table, sink, _OPTIONS)
    return sink.getvalue()
