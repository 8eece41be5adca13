"""CreateReport, GetReport, ListReports, DeleteReport, GetReportContent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.filter import parse_filter
from services.kernel.ids import new_id
from services.kernel.jobs import enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period, zone
from services.reporting.domain.costs import CostQuestion
from services.reporting.domain.forecast.steps import read_instant
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import (
    JobState,
    Report,
    ReportFormat,
    ReportKind,
    ReportWish,
)
from services.reporting.domain.report.span_of_time import last_full
from services.reporting.domain.report.wording import Wording
from services.reporting.domain.stored_file import StoredFile
from services.reporting.errors import (
    ReportFormatNotMade,
    ReportNotDone,
    ReportNotFound,
)
from services.reporting.service.peers import TenantSettings, UsageReader
from services.reporting.service.reports_kinds import PARTS, TITLES
from services.reporting.service.reports_numbers import locale_of
from services.reporting.service.reports_writing import period_name
from services.reporting.store import files as file_rows
from services.reporting.store import reports as rows

JOB: Final = "report"
EXPIRED_AT_ONCE: Final = 50  # the files of one transaction


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report with the sections that are finished."""

    report: Report
    sections: Sequence[Section]


class Reports:
    """Takes wishes for reports, and shows what became of them."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        *,
        tokens: PageTokens,
        kept: timedelta,
        clock: Clock,
    ) -> None:
        """kept: how long files stay."""
        self._database = database
        self._usage = usage
        self._tokens = tokens
        self._kept = kept
        self._clock = clock

    async def create_report(self, tenant_id: str, wish: ReportWish, start: str, end: str) -> Report:
        """Queues a report. start, end: as callers write them; empty is the last full month.

        Raises FieldViolations, InvalidFilter, InvalidPeriod, UsageQuestionRefused.
        """
        tenant = await self._usage.tenant(tenant_id)
        period = self._period(start, end, tenant)
        await self.check(tenant_id, wish, period)
        made = self.made(tenant_id, wish, period, tenant.tz.key, author=current_caller().subject)
        async with self._database.transaction(tenant_id) as tx:
            await self.add(tx, made)
            await audit.append(
                tx,
                action="report.create",
                resource=made.resource,
                after={"kind": wish.kind.name, "title": made.title},
            )
        return made

    async def check(self, tenant_id: str, wish: ReportWish, period: Period) -> None:
        """Raises what making the report would fail with, where that can be known before."""
        locale_of(wish.locale)
        parse_filter(wish.filter)
        # The first hour tells whether usage knows the dimensions and the filter's fields.
        probe = Period(period.start, min(period.end, period.start + timedelta(hours=1)))
        await self._usage.costs(
            CostQuestion(
                tenant_id=tenant_id,
                period=probe,
                group_by=wish.group_by,
                filter=wish.filter,
                currency_code=wish.currency_code,
            )
        )

    def made(
        self,
        tenant_id: str,
        wish: ReportWish,
        period: Period,
        time_zone: str,
        *,
        author: str,
        schedule_id: str = "",
    ) -> Report:
        """Returns a new report, not stored yet."""
        now = self._clock.now()
        words = Wording(locale_of(wish.locale).language)
        label = period_name(period, time_zone, wish.locale)
        if wish.kind is ReportKind.FORECAST:
            # What it is about begins today, whatever period it was asked for.
            label = f"{now.astimezone(zone(time_zone)):%Y-%m-%d}"
        return Report(
            tenant_id=tenant_id,
            report_id=new_id(),
            wish=wish,
            title=wish.title or f"{words.word(TITLES[wish.kind])} {label}",
            period=period,
            time_zone=time_zone,
            state=JobState.PENDING,
            author=author,
            created_at=now,
            expires_at=now + self._kept,
            schedule_id=schedule_id,
            total_units=len(PARTS[wish.kind]) + len(wish.formats),
        )

    async def add(self, tx: Transaction, made: Report) -> None:
        """Stores a report and queues its making, which exist together or not at all."""
        await rows.add(tx, made)
        await queue(tx, made, priority=0 if made.schedule_id else 1)

    def _period(self, start: str, end: str, tenant: TenantSettings) -> Period:
        month = last_full("month", self._clock.now(), tenant.tz)
        return Period(
            read_instant(start, tenant.tz) if start else month.start,
            read_instant(end, tenant.tz) if end else month.end,
        )

    async def get_report(self, tenant_id: str, report_id: str) -> MadeReport:
        """Returns a report with all its figures so far. Raises ReportNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = await found_report(tx, tenant_id, report_id)
            sections = await rows.sections(tx, tenant_id, report_id)
        return MadeReport(found, [sections[place] for place in sorted(sections)])

    async def list_reports(self, request: PageRequest) -> Page[Report]:
        """Returns a page of reports."""
        async with self._database.read(request.tenant_id) as tx:
            return await rows.page(tx, request, self._tokens)

    async def delete_report(self, tenant_id: str, report_id: str) -> None:
        """Deletes a report with its files; one that is being made stops. Raises ReportNotFound."""
        async with self._database.transaction(tenant_id) as tx:
            found = await found_report(tx, tenant_id, report_id, is_locked=True)
            await drop_files(tx, found)
            await rows.remove(tx, tenant_id, report_id)
            await audit.append(
                tx,
                action="report.delete",
                resource=found.resource,
                before={"kind": found.wish.kind.name, "title": found.title},
            )

    async def get_report_content(
        self, tenant_id: str, report_id: str, format_: ReportFormat | None
    ) -> tuple[StoredFile, AsyncIterator[bytes]]:
        """Returns a format's file and its bytes; None is the first format of the report.

        Raises ReportNotFound, ReportNotDone, ReportFormatNotMade, FileGone.
        """
        async with self._database.read(tenant_id) as tx:
            found = await found_report(tx, tenant_id, report_id)
            if found.state is not JobState.SUCCEEDED:
                raise ReportNotDone(report_id=report_id, state=found.state.name)
            wanted = format_ or found.wish.formats[0]
            made = {each.format: each for each in await rows.files(tx, tenant_id, report_id)}
            stored = (
                await file_rows.find(tx, tenant_id, made[wanted].file_id)
                if wanted in made
                else None
            )
        if stored is None:
            formats = ", ".join(each.name.lower() for each in found.wish.formats)
            raise ReportFormatNotMade(format=wanted.name.lower(), formats=formats)
        return stored, file_rows.read(self._database, tenant_id, stored.file_id)

    async def expire(self) -> None:
        """Deletes the files of reports that are past their time, of all tenants."""
        while True:
            async with self._database.system_transaction() as tx:
                past = await rows.expired(tx, self._clock.now(), limit=EXPIRED_AT_ONCE)
                for each in past:
                    await drop_files(tx, each)
                    await rows.change(
                        tx, each.tenant_id, each.report_id, state=JobState.EXPIRED.value
                    )
            if len(past) < EXPIRED_AT_ONCE:
                return


async def found_report(
    tx: Transaction, tenant_id: str, report_id: str, *, is_locked: bool = False
) -> Report:
    """Returns a report. Raises ReportNotFound."""
    found = await rows.find(tx, tenant_id, report_id, is_locked=is_locked)
    if found is None:
        raise ReportNotFound(report_id=report_id)
    return found


async def queue(tx: Transaction, made: Report, *, priority: int = 0) -> None:
    """Queues the making of a report, unless it waits or runs already."""
    payload = json.dumps({"report_id": made.report_id}).encode()
    key = f"{JOB}/{made.tenant_id}/{made.report_id}"
    await enqueue(tx, JOB, payload, tenant_id=made.tenant_id, priority=priority, key=key)


async def drop_files(tx: Transaction, made: Report) -> None:
    """Deletes a report's files, and forgets them."""
    for each in await rows.files(tx, made.tenant_id, made.report_id):
        await file_rows.delete(tx, made.tenant_id, each.file_id)
    await rows.remove_files(tx, made.tenant_id, made.report_id)
