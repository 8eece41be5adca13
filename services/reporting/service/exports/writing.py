"""What makes a file of a table, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from services.reporting.domain.exports import Column


class TableWriter(Protocol):
    """Turns one table into the bytes of a file. Its methods compute, and may take a while."""

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Returns the file's beginning."""
        ...

    def add(self, page: pa.Table) -> bytes:
        """Returns the bytes that more rows add; none where they come later. Raises ExportTooLarge.

        page: columns as given to `begin`, of `tables.TYPES`; texts may be dictionaries.
        """
        ...

    def end(self) -> Iterator[bytes]:
        """Yields the rest of the file, in pieces."""
        ...

    def close(self) -> None:
        """Gives back what the writer holds, whether it came to the end or not."""
        ...


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column without dictionaries."""
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
