"""Parquet: amounts as decimal128(38, 18), instants in UTC, texts as dictionaries, zstd."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.reporting.domain.exports import Column, Kind
from services.reporting.service.exports.tables import TYPES

ROW_GROUP_ROWS: Final = 1 << 14  # two pages of usage, which are held until then
AMOUNT: Final = pa.decimal128(38, 18)


class ParquetWriter:
    """Writes Parquet; implements `TableWriter`."""

    def __init__(self) -> None:
        """Starts with an empty buffer, which is emptied after each row group."""
        self._sink = _Buffer()
        self._columns: Sequence[Column] = ()
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Returns nothing yet: which texts are dictionaries is seen on the first page."""
        self._columns = columns
        return b""

    def add(self, page: pa.Table) -> bytes:
        """Returns row groups once there are enough rows for one."""
        self._held.append(self._typed(page))
        if sum(held.num_rows for held in self._held) >= ROW_GROUP_ROWS:
            self._flush()
        return self._sink.take()

    def end(self) -> Iterator[bytes]:
        """Yields the last row group and the footer."""
        self._flush()
        writer = self._opened(self._typed(self._empty()).schema)
        writer.close()
        yield self._sink.take()

    def close(self) -> None:
        """Forgets rows that were not written."""
        self._held.clear()
        self._writer = None

    def _typed(self, page: pa.Table) -> pa.Table:
        columns = [
            values.cast(AMOUNT) if column.kind is Kind.AMOUNT else values
            for column, values in zip(self._columns, page.columns, strict=True)
        ]
        return pa.table(columns, names=[column.name for column in self._columns])

    def _empty(self) -> pa.Table:
        return pa.table(
            [pa.array([], TYPES[column.kind]) for column in self._columns],
            names=[column.name for column in self._columns],
        )

    def _flush(self) -> None:
        if not self._held:
            return
        pages, self._held = self._held, []
        whole = pages[0] if len(pages) == 1 else pa.concat_tables(pages).unify_dictionaries()
        self._opened(whole.schema).write_table(whole, row_group_size=ROW_GROUP_ROWS)

    def _opened(self, schema: pa.Schema) -> pq.ParquetWriter:
        if self._writer is None:
            by_name = {column.name: column for column in self._columns}
            repeated = [
                each.name
                for each in schema
                if pa.types.is_dictionary(each.type) or by_name[each.name].kind is Kind.AMOUNT
            ]
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._sink, mode="w"),
                schema,
                compression="zstd",
                compression_level=1,
                # Ids and instants differ from row to row: to look for equal ones finds none.
                use_dictionary=repeated,
                # What readers leave row groups out by; of the others they cost a sixth of the time.
                write_statistics=[name for name in by_name if by_name[name].kind is Kind.INSTANT],
            )
        return self._writer


class _Buffer(io.RawIOBase):
    """Takes what Parquet writes until it is fetched; tells how much that was in all."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Keeps a copy: Arrow reuses its memory."""
        self._parts.append(bytes(content))
        self._length += len(content)
        return len(content)

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        """Returns what came since the last time."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content
