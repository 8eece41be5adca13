"""Tables as Arrow pages, whatever they are made from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from services.reporting.domain.exports import USAGE_COLUMNS, Column, ExportQuestion, Kind
from services.reporting.service.exports.peers import RowSource, UsageEntries

INSTANT: Final = pa.timestamp("us", tz="UTC")
TYPES: Final[dict[Kind, Any]] = {
    Kind.TEXT: pa.string(),
    Kind.AMOUNT: pa.string(),
    Kind.INSTANT: INSTANT,
    Kind.COUNT: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.JSON: pa.string(),
}


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table that is being read: its columns, and its rows in pages of these columns."""

    columns: Sequence[Column]
    pages: AsyncGenerator[pa.Table, None]


async def open_rows(source: RowSource, question: ExportQuestion) -> OpenTable:
    """Opens a dataset that comes as rows."""
    columns = source.columns(question)
    schema = pa.schema([pa.field(column.name, TYPES[column.kind]) for column in columns])

    async def pages() -> AsyncGenerator[pa.Table, None]:
        async for rows in source.pages(question):
            if rows:
                values = zip(*rows, strict=True)
                yield pa.table([list(column) for column in values], schema=schema)

    return OpenTable(columns, pages())


async def open_usage(entries: UsageEntries, question: ExportQuestion) -> OpenTable:
    """Opens the entries of usage as they are."""
    found = await entries.entries(question)

    async def pages() -> AsyncGenerator[pa.Table, None]:
        names = [column.name for column in USAGE_COLUMNS]
        async for page in found.pages:
            yield read_page(page).select(names)

    return OpenTable(USAGE_COLUMNS, pages())


def read_page(page: bytes) -> pa.Table:
    """Returns a page of an answer as a table."""
    return pa.ipc.open_stream(page).read_all()
