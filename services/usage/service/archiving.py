"""Archives months of raw events to Parquet and drops them; roll-ups, and so costs, stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from services.kernel import audit
from services.kernel.caller import caller_or_none
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.usage.errors import ArchiveIncomplete
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import archive, events

JOB = "archive"
PARTITIONS_JOB = "partitions"
MONTHS_AHEAD = 2
AUDIT_TENANT = "platform"


@dataclass(frozen=True, slots=True)
class ArchivedMonth:
    """A month of events. file_bytes 0 and file_path "" where nothing was written."""

    month: date
    events: int
    file_bytes: int = 0
    file_path: str = ""


class Archive:
    """The use cases of retention."""

    def __init__(
        self,
        database: Database,
        contexts: TenantContexts,
        *,
        folder: Path,
        retention_months: int,
        clock: Clock,
    ) -> None:
        """folder: where months are written. retention_months: 0 keeps raw events for ever."""
        self._database = database
        self._contexts = contexts
        self._folder = folder
        self._retention_months = retention_months
        self._clock = clock

    async def archive_usage(self, before: date, *, is_dry_run: bool) -> Sequence[ArchivedMonth]:
        """Archives every month that ends on or before a date, oldest first.

        A month's file is complete and read back before its partition is dropped. Raises
        ArchiveIncomplete.
        """
        async with self._database.system_transaction() as tx:
            months = sorted(await events.partition_months(tx))
        return [
            await self._archive(month, is_dry_run=is_dry_run)
            for month in months
            if _next_month(month) <= before
        ]

    async def run_retention(self, _: Job) -> None:
        """Archives what is older than the retention."""
        if self._retention_months:
            month = self._clock.now().date().replace(day=1)
            for _month in range(self._retention_months):
                month = (month - timedelta(days=1)).replace(day=1)
            await self.archive_usage(month, is_dry_run=False)

    async def make_partitions(self, _: Job) -> None:
        """Makes the partitions of this month and the next ones ahead of their usage."""
        month = self._clock.now().date().replace(day=1)
        async with self._database.system_transaction() as tx:
            for _month in range(MONTHS_AHEAD + 1):
                await events.make_partition(tx, month)
                month = _next_month(month)

    async def _archive(self, month: date, *, is_dry_run: bool) -> ArchivedMonth:
        if is_dry_run:
            async with self._database.system_transaction() as tx:
                return ArchivedMonth(month, await archive.count_events(tx, month))
        self._folder.mkdir(parents=True, exist_ok=True)
        path = (
            self._folder / f"usage-events-{month:%Y-%m}-{self._clock.now():%Y%m%dT%H%M%S}.parquet"
        )
        try:
            return await self._write(month, path)
        finally:
            _unfinished(path).unlink(missing_ok=True)

    async def _write(self, month: date, path: Path) -> ArchivedMonth:
        """Writes under a name that no erasure reads, so that a crash leaves no broken archive."""
        made = _unfinished(path)
        async with self._database.system_transaction(statement_timeout=timedelta(hours=1)) as tx:
            await archive.wait_for_files(tx)
            # No erasure misses the file that comes, nor waits for the month while we wait for it.
            await archive.lock_files(tx)
            # Nobody stores events of the month while it is copied and dropped.
            await archive.lock_month(tx, month)
            # Its library takes 40 MB, so it is loaded only when a month is archived.
            from services.usage.service import archive_file  # noqa: PLC0415 - as said

            count = await archive_file.write(made, archive.COLUMNS, archive.month_rows(tx, month))
            if archive_file.count_rows(made) != await archive.count_events(tx, month):
                raise ArchiveIncomplete(month=f"{month:%Y-%m}", path=path.name)
            size = made.stat().st_size
            await archive.drop_month(tx, month, events=count, size=size, path=path.name)
            await audit.append(
                tx,
                action="usage.archive",
                resource=f"months/{month:%Y-%m}",
                after={"events": count, "file": path.name},
                tenant_id=AUDIT_TENANT,
                actor=None if caller_or_none() else "usage worker",
            )
            made.rename(path)
        self._contexts.forget_partitions()
        return ArchivedMonth(month, count, size, path.name)


def _unfinished(path: Path) -> Path:
    return path.with_suffix(".writing")


def _next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)
