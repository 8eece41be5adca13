"""Reads the events behind failures, repeats and samples, day by day, where the feed told of them.

A day is read whole and replaces what was known of it, so late events and corrections end in the
same figures as if they had come in time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import structlog

from services.kernel.database import Database
from services.kernel.money import EXACT
from services.kernel.period import Period
from services.optimizer.domain.statistics import AttemptGroup
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import DetailedEvent
from services.optimizer.service.usage import UsageReader
from services.optimizer.store import statistics
from services.optimizer.store.statistics import ChangedDay, DaySamples

DAYS_A_ROUND = 20
IDLE_SECONDS = 1.0  # how late a changed day is read at worst
log = structlog.get_logger(__name__)


class _Day:
    """What the events of one day say."""

    def __init__(self, subjects: dict[Subject, int]) -> None:
        self._subjects = subjects
        # Where somebody moved departments meanwhile, the rest of the attributes still tells.
        self._loose = {one._replace(department=""): number for one, number in subjects.items()}
        self._samples: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        self._capacity: dict[tuple[str, str], tuple[Decimal | None, str]] = {}
        self._attempts: dict[tuple[int, int, str, bool, int], tuple[int, Decimal]] = {}

    def add(self, event: DetailedEvent) -> None:
        minute = statistics.minute_of_day(event.start_at)
        if event.utilization is not None and event.subject.resource_id:
            key = (event.subject.resource_id, event.measure)
            self._samples[key].append((minute, event.utilization))
            self._capacity[key] = (event.capacity, event.subject.unit)
        series_id = self._series(event.subject)
        if series_id is None or not (event.is_failed or event.retries):
            return
        group = (series_id, minute // 60, event.error_code, event.is_failed, event.retries)
        count, cost = self._attempts.get(group, (0, Decimal(0)))
        self._attempts[group] = (count + 1, EXACT.add(cost, event.cost))

    def _series(self, subject: Subject) -> int | None:
        found = self._subjects.get(subject)
        return self._loose.get(subject._replace(department="")) if found is None else found

    def samples(self) -> list[DaySamples]:
        """Returns the samples by resource and measure, in order."""
        found = []
        for key, pairs in sorted(self._samples.items()):
            pairs.sort()
            capacity, unit = self._capacity[key]
            minutes, ratios = zip(*pairs, strict=True)
            found.append(DaySamples(*key, capacity, unit, minutes, ratios))
        return found

    def attempts(self) -> list[AttemptGroup]:
        """Returns failed and repeated work; hours are of the day."""
        return [
            AttemptGroup(series_id, code, is_failed, retries, hour, count, cost)
            for (series_id, hour, code, is_failed, retries), (count, cost) in sorted(
                self._attempts.items()
            )
        ]


class Details:
    """Keeps samples and attempts in step with the events."""

    def __init__(self, database: Database, usage: UsageReader) -> None:
        """usage: asked outside of transactions."""
        self._database = database
        self._usage = usage

    async def run(self) -> None:
        """Reads changed days of all tenants until cancelled."""
        while True:
            if not await self.refresh():
                await asyncio.sleep(IDLE_SECONDS)

    async def refresh(
        self,
        tenant_id: str | None = None,
        *,
        period: Period | None = None,
        limit: int = DAYS_A_ROUND,
    ) -> int:
        """Reads changed days, of one tenant or all, of a period or all, and returns how many."""
        async with self._database.system_transaction() as tx:
            days = await statistics.changed_days(
                tx, limit=limit, tenant_id=tenant_id, period=period
            )
        for day in days:
            await self._read(day)
        return len(days)

    async def _read(self, changed: ChangedDay) -> None:
        start = datetime.combine(changed.day, time.min, tzinfo=UTC)
        async with self._database.system_transaction() as tx:
            day = _Day(await statistics.load_subjects(tx, changed.tenant_id))
        period = Period(start, start + timedelta(days=1))
        async for event in self._usage.events(changed.tenant_id, period):
            day.add(event)
        async with self._database.system_transaction() as tx:
            await statistics.replace_details(tx, changed, day.samples(), day.attempts())
        log.debug("day read again", tenant=changed.tenant_id, day=changed.day.isoformat())
