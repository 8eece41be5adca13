"""Create, Get, List, Update, Delete and RunReportSchedule, and what runs by the calendar."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import zone
from services.reporting.domain.report.report import Report
from services.reporting.domain.report.schedule import ReportSchedule
from services.reporting.domain.report.span_of_time import last_full
from services.reporting.errors import (
    NotificationsNotConnected,
    ScheduleChanged,
    ScheduleNotFound,
)
from services.reporting.service.peers import UsageReader
from services.reporting.service.reports import Reports
from services.reporting.service.schedules_ticks import last_tick, next_tick, require_cron
from services.reporting.store import schedules as rows

DUE_AT_ONCE: Final = 500
# Fields after whose change the next run is another.
TIMING: Final = frozenset({"schedule", "time_zone", "disabled"})

Change = Callable[[ReportSchedule], ReportSchedule]
log = structlog.get_logger(__name__)


class Schedules:
    """Keeps schedules, and makes their reports when they are due."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        reports: Reports,
        *,
        can_send: bool,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """can_send: whether a budget service is connected, which delivers what is made."""
        self._database = database
        self._usage = usage
        self._reports = reports
        self._can_send = can_send
        self._tokens = tokens
        self._clock = clock

    async def create_report_schedule(self, given: ReportSchedule) -> ReportSchedule:
        """Stores a schedule under a new id. time_zone: empty is the tenant's.

        Raises FieldViolations, UnknownTimeZone, InvalidFilter, UsageQuestionRefused,
        NotificationsNotConnected.
        """
        made = replace(given, schedule_id=new_id(), created_at=self._clock.now())
        made = self._timed(await self._checked(made))
        async with self._database.transaction(made.tenant_id) as tx:
            await rows.add(tx, made)
            await audit.append(
                tx,
                action="report_schedule.create",
                resource=made.resource,
                after=_audited(made),
            )
        return made

    async def get_report_schedule(self, tenant_id: str, schedule_id: str) -> ReportSchedule:
        """Returns a schedule. Raises ScheduleNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await _found(tx, tenant_id, schedule_id)

    async def list_report_schedules(self, request: PageRequest) -> Page[ReportSchedule]:
        """Returns a page of schedules."""
        async with self._database.read(request.tenant_id) as tx:
            return await rows.page(tx, request, self._tokens)

    async def update_report_schedule(
        self,
        tenant_id: str,
        schedule_id: str,
        change: Change,
        *,
        fields: Collection[str],
        etag: str,
    ) -> ReportSchedule:
        """Changes a schedule. fields: those that change. etag: as it was read, "" for any.

        Raises ScheduleNotFound, ScheduleChanged, and as create_report_schedule.
        """
        known = await self.get_report_schedule(tenant_id, schedule_id)
        checked = await self._checked(change(known))
        async with self._database.transaction(tenant_id) as tx:
            before = await _found(tx, tenant_id, schedule_id, is_locked=True)
            if (etag and etag != before.etag) or before.version != known.version:
                raise ScheduleChanged(schedule_id=schedule_id, etag=before.etag)
            after = replace(
                checked,
                version=before.version + 1,
                next_run_at=before.next_run_at,
                last_run_at=before.last_run_at,
                last_report_id=before.last_report_id,
            )
            if TIMING.intersection(fields):
                after = self._timed(after)
            await rows.save(tx, after)
            await audit.append(
                tx,
                action="report_schedule.update",
                resource=after.resource,
                before=_audited(before),
                after=_audited(after),
            )
        return after

    async def delete_report_schedule(self, tenant_id: str, schedule_id: str, etag: str) -> None:
        """Deletes a schedule. Raises ScheduleNotFound, ScheduleChanged."""
        async with self._database.transaction(tenant_id) as tx:
            before = await _found(tx, tenant_id, schedule_id, is_locked=True)
            if etag and etag != before.etag:
                raise ScheduleChanged(schedule_id=schedule_id, etag=before.etag)
            await rows.remove(tx, tenant_id, schedule_id)
            await audit.append(
                tx,
                action="report_schedule.delete",
                resource=before.resource,
                before=_audited(before),
            )

    async def run_report_schedule(self, tenant_id: str, schedule_id: str) -> Report:
        """Makes the report of a schedule now, about the last full period. Raises ScheduleNotFound.

        Its next run stays as it is.
        """
        async with self._database.transaction(tenant_id) as tx:
            schedule = await _found(tx, tenant_id, schedule_id, is_locked=True)
            made = await self._run(tx, schedule, self._clock.now(), current_caller().subject)
            await audit.append(
                tx,
                action="report_schedule.run",
                resource=schedule.resource,
                after={"report": made.resource},
            )
        return made

    async def run_due(self, _: Job) -> None:
        """Makes the reports that are due, of all tenants; of several missed runs the last one."""
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            candidates = await rows.due(tx, now, limit=DUE_AT_ONCE)
        for tenant_id, schedule_id in candidates:
            try:
                await self._run_one(tenant_id, schedule_id, now)
            except Error as error:
                # One schedule's trouble is its own; the others run.
                log.warning("schedule failed", schedule=schedule_id, reason=error.reason)

    async def _run_one(self, tenant_id: str, schedule_id: str, now: datetime) -> None:
        async with self._database.system_transaction() as tx:
            schedule = await rows.take_due(tx, tenant_id, schedule_id, now)
            if schedule is None:
                return
            tick = last_tick(schedule.cron, now, zone(schedule.time_zone))
            author = f"schedule:{schedule_id}"
            made = await self._run(tx, self._timed(schedule), tick, author)
            await audit.append(
                tx,
                action="report.create",
                resource=made.resource,
                after={"kind": made.wish.kind.name, "title": made.title},
                tenant_id=tenant_id,
                actor=author,
            )

    async def _run(
        self, tx: Transaction, schedule: ReportSchedule, at: datetime, author: str
    ) -> Report:
        period = last_full(schedule.period_kind, at, zone(schedule.time_zone))
        made = self._reports.made(
            schedule.tenant_id,
            schedule.wish,
            period,
            schedule.time_zone,
            author=author,
            schedule_id=schedule.schedule_id,
        )
        await self._reports.add(tx, made)
        changed = replace(schedule, last_run_at=self._clock.now(), last_report_id=made.report_id)
        await rows.save(tx, changed)
        return made

    async def _checked(self, schedule: ReportSchedule) -> ReportSchedule:
        if schedule.is_sent and not self._can_send:
            raise NotificationsNotConnected
        if not schedule.time_zone:
            tenant = await self._usage.tenant(schedule.tenant_id)
            schedule = replace(schedule, time_zone=tenant.tz.key)
        tz, now = zone(schedule.time_zone), self._clock.now()
        require_cron(schedule.cron, now, tz)
        period = last_full(schedule.period_kind, now, tz)
        await self._reports.check(schedule.tenant_id, schedule.wish, period)
        return schedule

    def _timed(self, schedule: ReportSchedule) -> ReportSchedule:
        if schedule.disabled:
            return replace(schedule, next_run_at=None)
        following = next_tick(schedule.cron, self._clock.now(), zone(schedule.time_zone))
        return replace(schedule, next_run_at=following)


async def _found(
    tx: Transaction, tenant_id: str, schedule_id: str, *, is_locked: bool = False
) -> ReportSchedule:
    found = await rows.find(tx, tenant_id, schedule_id, is_locked=is_locked)
    if found is None:
        raise ScheduleNotFound(schedule_id=schedule_id)
    return found


def _audited(schedule: ReportSchedule) -> dict[str, object]:
    """Returns what an audit entry keeps; of people only how many there are."""
    return {
        "display_name": schedule.display_name,
        "kind": schedule.wish.kind.name,
        "schedule": schedule.cron,
        "time_zone": schedule.time_zone,
        "disabled": schedule.disabled,
        "recipients": len(schedule.recipients),
        "channels": list(schedule.channel_ids),
    }
