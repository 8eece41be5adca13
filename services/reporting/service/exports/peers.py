"""What exports read, and from whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from services.reporting.domain.exports import Column, ExportQuestion

Value: TypeAlias = object  # a text, number, flag, aware instant or None, as its column's kind says
Rows: TypeAlias = Sequence[tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class EventPages:
    """Entries of usage. pages: each an Arrow IPC stream. bill_columns: names they may have."""

    bill_columns: Sequence[str]
    pages: AsyncIterator[bytes]


class UsageEntries(Protocol):
    """Every entry of usage in a period, from one snapshot."""

    async def entries(self, question: ExportQuestion) -> EventPages:
        """Begins to read. Raises UsageQuestionRefused, then or from the pages."""
        ...


class RowSource(Protocol):
    """A dataset that comes as rows."""

    def columns(self, question: ExportQuestion) -> tuple[Column, ...]:
        """Returns what the rows consist of."""
        ...

    def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the rows, some hundreds at a time. Raises what the peer refuses."""
        ...
