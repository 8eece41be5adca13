"""Exports anything in any form, as it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from typing import Final, NamedTuple

from services.kernel.ahead import one_ahead
from services.kernel.arrow import give_freed_memory_back
from services.kernel.caller import current_caller, require_permission
from services.kernel.clock import Clock
from services.kernel.period import Period, day_start
from services.reporting.domain.exports import (
    PERMISSIONS,
    TIMELESS,
    Dataset,
    ExportFormat,
    ExportQuestion,
    ExportWish,
)
from services.reporting.domain.forecast.steps import read_instant
from services.reporting.errors import ServiceNotConnected
from services.reporting.service.exports.csv_file import CsvWriter
from services.reporting.service.exports.focus_rows import open_focus
from services.reporting.service.exports.json_file import JsonWriter
from services.reporting.service.exports.parquet_file import ParquetWriter
from services.reporting.service.exports.pdf_file import PdfWriter
from services.reporting.service.exports.peers import RowSource, UsageEntries
from services.reporting.service.exports.tables import OpenTable, open_rows, open_usage
from services.reporting.service.exports.writing import TableWriter
from services.reporting.service.exports.xlsx_file import XlsxWriter
from services.reporting.service.peers import UsageReader

give_freed_memory_back()
DEFAULT_DAYS: Final = 30
# Few, because each that ever worked on a page keeps some memory of it.
_threads: Final = ThreadPoolExecutor(2, thread_name_prefix="export")


class Piece(NamedTuple):
    """Bytes of a file, maybe none, and the rows that were read for it so far."""

    content: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class ExportSources:
    """Where each dataset is read. rows: without those whose service is not connected."""

    entries: UsageEntries
    rows: Mapping[Dataset, RowSource]


class Exports:
    """The use case of exporting at once."""

    def __init__(self, usage: UsageReader, sources: ExportSources, *, clock: Clock) -> None:
        """usage: knows the zone in which dates are meant."""
        self._usage = usage
        self._sources = sources
        self._clock = clock

    async def export(self, wish: ExportWish) -> AsyncIterator[bytes]:
        """Yields the file. Raises PermissionDenied, ExportTooLarge, what the source refuses."""
        require_readable(wish)
        question = await self.fixed(wish)
        async for piece in self.pieces(question):
            if piece.content:
                yield piece.content

    async def fixed(self, wish: ExportWish) -> ExportQuestion:
        """Returns the wish with its period, by the tenant's zone and the present instant."""
        if wish.dataset in TIMELESS:
            return ExportQuestion(wish=wish, period=None)
        tz = (await self._usage.tenant(wish.tenant_id)).tz
        end = read_instant(wish.end, tz) if wish.end else self._clock.now()
        if wish.start:
            start = read_instant(wish.start, tz)
        else:
            first = (end.astimezone(tz) - timedelta(days=DEFAULT_DAYS)).date()
            start = day_start(first, tz)
        period = Period(start.astimezone(UTC), end.astimezone(UTC))
        return ExportQuestion(wish=wish, period=period)

    async def pieces(self, question: ExportQuestion) -> AsyncIterator[Piece]:
        """Yields the file in pieces; memory is bounded by a page and what the form must hold."""
        table = await self._open(question)
        run = partial(asyncio.get_running_loop().run_in_executor, _threads)
        writer = await run(_writer, question)
        rows = 0
        try:
            async with aclosing(one_ahead(table.pages)) as pages:
                yield Piece(await run(writer.begin, table.columns), rows)
                async for page in pages:
                    rows += page.num_rows
                    yield Piece(await run(writer.add, page), rows)
            rest = writer.end()
            while (content := await run(next, rest, None)) is not None:
                yield Piece(content, rows)
        finally:
            writer.close()

    async def _open(self, question: ExportQuestion) -> OpenTable:
        wish = question.wish
        if wish.format is ExportFormat.FOCUS:
            return await open_focus(self._sources.entries, question)
        if wish.dataset is Dataset.USAGE:
            return await open_usage(self._sources.entries, question)
        source = self._sources.rows.get(wish.dataset)
        if source is None:
            raise ServiceNotConnected(
                f"no service that has {wish.dataset} is connected; add it to FINOPS_PEERS",
                dataset=wish.dataset,
            )
        return await open_rows(source, question)


def require_readable(wish: ExportWish) -> None:
    """Raises PermissionDenied unless the caller may read what is exported."""
    for permission in _permissions(wish):
        require_permission(current_caller(), permission)


def may_read(wish: ExportWish) -> bool:
    """Tells whether the caller may read what is exported."""
    return all(map(current_caller().may, _permissions(wish)))


def _permissions(wish: ExportWish) -> list[str]:
    needed = [PERMISSIONS[wish.dataset]]
    if wish.format is ExportFormat.FOCUS:
        needed.append(PERMISSIONS[Dataset.USAGE])  # its rows are of single events
    return needed


def file_name(question: ExportQuestion) -> str:
    """Returns a name for the file: what it holds and of when."""
    wish, period = question.wish, question.period
    stem = "focus-1.2" if wish.format is ExportFormat.FOCUS else wish.dataset.value
    ending = "csv" if wish.format is ExportFormat.FOCUS else wish.format.value
    when = "" if period is None else f"-{period.start:%Y%m%d}-{period.end:%Y%m%d}"
    return f"finops-{stem}{when}.{ending}"


def _writer(question: ExportQuestion) -> TableWriter:
    match question.wish.format:
        case ExportFormat.CSV:
            return CsvWriter()
        case ExportFormat.FOCUS:
            # For programs, and given back as it came: a guard would change values.
            return CsvWriter(is_guarded=False)
        case ExportFormat.JSON:
            return JsonWriter()
        case ExportFormat.PARQUET:
            return ParquetWriter()
        case ExportFormat.XLSX:
            return XlsxWriter()
        case ExportFormat.PDF:
            return PdfWriter(_title(question))


def _title(question: ExportQuestion) -> str:
    wish, period = question.wish, question.period
    name = wish.dataset.value.capitalize()
    if period is None:
        return f"{name} of {wish.tenant_id}"
    start, end = (f"{at:%Y-%m-%d %H:%M}" for at in (period.start, period.end))
    return f"{name} of {wish.tenant_id}, {start} to {end} UTC"
