"""Checks that every event counts once everywhere, and mends roll-ups that do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from opentelemetry import metrics

from services.kernel import audit
from services.kernel.caller import caller_or_none
from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job
from services.kernel.period import day_start
from services.usage.domain.question import read_instant
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import reconciliation, rollups
from services.usage.store.reconciliation import DayComparison

EVERY_TENANT = "*"
JOB = "reconcile"
DRIFTS_MAX = 1_000
log = structlog.get_logger(__name__)
_drifts = metrics.get_meter("finops.usage").create_counter(
    "finops_usage_drifts_total", description="Days on which a record of usage differed from raw."
)


@dataclass(frozen=True, slots=True)
class Drift:
    """A day of a tenant on which one place differs from raw events."""

    tenant_id: str
    comparison: DayComparison


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared. days_repaired: whose roll-ups were rebuilt."""

    drifts: Sequence[Drift]
    days_checked: int
    raw_events: int
    rolled_up_events: int
    feed_events: int
    days_repaired: int


class Reconciler:
    """The use case of reconciling."""

    def __init__(self, database: Database, contexts: TenantContexts) -> None:
        """Takes the tenants' contexts for their zones."""
        self._database = database
        self._contexts = contexts

    async def reconcile_usage(
        self, tenant_id: str, *, start: str = "", end: str = "", repair: bool = False
    ) -> Reconciliation:
        """Compares the local days of a period, all days by default; `*` does every tenant."""
        tenants = [tenant_id]
        if tenant_id == EVERY_TENANT:
            async with self._database.system_transaction() as tx:
                tenants = await reconciliation.tenant_ids(tx)
        found = [await self._reconcile(each, start, end, repair=repair) for each in tenants]
        drifts = [drift for one in found for drift in one.drifts]
        return Reconciliation(
            drifts[:DRIFTS_MAX],
            sum(one.days_checked for one in found),
            sum(one.raw_events for one in found),
            sum(one.rolled_up_events for one in found),
            sum(one.feed_events for one in found),
            sum(one.days_repaired for one in found),
        )

    async def run_nightly(self, _: Job) -> None:
        """Compares every tenant and reports drift; mending is a person's decision."""
        found = await self.reconcile_usage(EVERY_TENANT)
        _drifts.add(len(found.drifts))
        for drift in found.drifts[:20]:
            log.error(
                "usage drift",
                day=drift.comparison.day.isoformat(),
                compared=drift.comparison.compared,
                events=drift.comparison.event_difference,
            )

    async def _reconcile(
        self, tenant_id: str, start: str, end: str, *, repair: bool
    ) -> Reconciliation:
        tz = (await self._contexts.frame(tenant_id)).tz

        async def work(tx: Transaction) -> Reconciliation:
            await rollups.lock_mark(tx, tenant_id)
            compared = await _compared(tx, tenant_id, tz, start, end)
            drifting = sorted({c.day for c in compared if c.is_drift and c.compared != "feed"})
            for day in drifting if repair else ():
                edges = (day_start(day, tz), day_start(day + timedelta(days=1), tz))
                await reconciliation.rebuild_day(tx, tenant_id, tz.key, day, edges)
            await audit.append(
                tx,
                action="usage.reconcile",
                resource=f"tenants/{tenant_id}",
                after={"repaired": [day.isoformat() for day in drifting] if repair else []},
                actor=None if caller_or_none() else "usage worker",
            )
            return _summary(tenant_id, compared, len(drifting) if repair else 0)

        return await self._database.run(tenant_id, work, isolation="REPEATABLE READ")


async def _compared(
    tx: Transaction, tenant_id: str, tz: ZoneInfo, start: str, end: str
) -> list[DayComparison]:
    span = await reconciliation.usage_span(tx, tenant_id)
    if span is None:
        return []
    first = read_instant(start, tz) if start else span[0]
    last = read_instant(end, tz) if end else span[1] + timedelta(microseconds=1)
    return await reconciliation.compare_days(tx, tenant_id, tz.key, *_day_edges(first, last, tz))


def _day_edges(first: datetime, last: datetime, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Widens a stretch of time to whole local days."""
    begin: date = first.astimezone(tz).date()
    until: date = (last - timedelta(microseconds=1)).astimezone(tz).date() + timedelta(days=1)
    return day_start(begin, tz), day_start(until, tz)


def _summary(tenant_id: str, compared: Sequence[DayComparison], repaired: int) -> Reconciliation:
    by_place = {
        place: [c for c in compared if c.compared == place]
        for place in ("rollup_hour", "rollup_day", "feed")
    }
    return Reconciliation(
        [Drift(tenant_id, one) for one in compared if one.is_drift],
        len({one.day for one in compared}),
        sum(one.raw_events for one in by_place["rollup_day"]),
        sum(one.compared_events for one in by_place["rollup_day"]),
        sum(one.compared_events for one in by_place["feed"]),
        repaired,
    )
