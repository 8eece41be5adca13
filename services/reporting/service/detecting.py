"""Keeps the hours of watched series, and judges each once it is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.kernel.ids import new_id
from services.kernel.period import Granularity, Period
from services.reporting.domain.anomaly.anomaly import GAP, Anomaly, Cause, State
from services.reporting.domain.anomaly.cost_fact import CostFact
from services.reporting.domain.anomaly.settings import AnomalySettings
from services.reporting.domain.anomaly.watch import (
    ENDED_AFTER,
    HISTORY,
    HOUR,
    WatchedSeries,
    unusual_hours,
)
from services.reporting.service.peers import SeriesQuestion, UsageReader
from services.reporting.store import anomalies, watching
from services.reporting.store import anomaly_settings as rules
from services.reporting.store.anomalies import AnomalyFeed

News = Callable[[Transaction, Anomaly], Awaitable[None]]
Pages = Callable[[FeedPosition], AsyncGenerator[FeedPage[CostFact], None]]

# Usage arrives late; an hour is judged when it has been over for this long.
SETTLED_AFTER: Final = timedelta(minutes=15)
SERIES_AT_ONCE: Final = 200
# Anomalies of history that is read for the first time are told for this long back.
FIRST_LOOK: Final = timedelta(days=30)
CAUSE_DIMENSIONS: Final = ("user", "resource_id", "project", "region")
CAUSES_MAX: Final = 5
# What an hour usually costs by a dimension is the mean of the same hour on so many days before.
USUAL_DAYS: Final = 7
log = structlog.get_logger(__name__)


async def untold(_: Transaction, anomaly: Anomaly) -> None:
    """Leaves an anomaly to those who follow the feed."""
    log.debug("anomaly is not sent", anomaly=anomaly.anomaly_id)


class Detection:
    """Feeds the detector and stores what it finds."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        feed: AnomalyFeed,
        *,
        news: News = untold,
        clock: Clock,
    ) -> None:
        """Takes what it reads from and writes to. news: told of what people are to hear of."""
        self._database = database
        self._usage = usage
        self._feed = feed
        self._news = news
        self._clock = clock

    @property
    def feed(self) -> AnomalyFeed:
        """The feed that it writes to."""
        return self._feed

    async def apply(self, tx: Transaction, items: Sequence[FeedItem[CostFact]]) -> None:
        """Adds changes of cost in the transaction that moves the cursor."""
        await rules.hold_grouping(tx)
        settings = await rules.of_tenants(tx, {item.tenant_id for item in items})
        await watching.add(
            tx,
            [
                replace(
                    item,
                    fact=replace(item.fact, scope=settings[item.tenant_id].folded(item.fact.scope)),
                )
                for item in items
            ],
        )

    async def judge_all(self) -> int:
        """Judges every hour that is over; returns how many anomalies were found or grew."""
        now = self._clock.now()
        complete_until = (now - SETTLED_AFTER).replace(minute=0, second=0, microsecond=0)
        found = 0
        while True:
            async with self._database.system_transaction() as tx:
                due = await watching.due(
                    tx, complete_until, ended_after=ENDED_AFTER, limit=SERIES_AT_ONCE
                )
            if not due:
                break
            for series in due:
                found += await self._judge(series, now)
        async with self._database.system_transaction() as tx:
            for closed in await anomalies.close_idle(tx, complete_until - GAP, now):
                await self._feed.append(tx, closed)
        return found

    async def _judge(self, series: WatchedSeries, now: datetime) -> int:
        end = series.judge_until
        async with self._database.system_transaction() as tx:
            hours = await watching.hours_since(tx, series, end - HISTORY)
            settings = await rules.find(tx, series.tenant_id)
            windows = await rules.windows_since(tx, series.tenant_id, end - HISTORY)
        watched = series
        if series.judged_until is None:
            watched = replace(series, judged_until=end - FIRST_LOOK)
        tz = (await self._usage.tenant(series.tenant_id)).tz
        hits = (
            []
            if settings.is_disabled
            else unusual_hours(
                watched, hours, end=end, now=now, tz=tz, settings=settings, windows=windows
            )
        )
        # What goes on has the causes that it began with.
        causes = [await self._causes(hit.anomaly) if hit.is_onset else () for hit in hits]
        async with self._database.system_transaction() as tx:
            if not await watching.mark_judged(tx, series, end):
                return 0
            for hit, found in zip(hits, causes, strict=True):
                whole = replace(hit.anomaly, causes=found)
                await self._enter(tx, whole, settings, is_onset=hit.is_onset)
        return len(hits)

    async def _enter(
        self, tx: Transaction, hit: Anomaly, settings: AnomalySettings, *, is_onset: bool
    ) -> None:
        """Lets an anomaly of the series grow that is going on, or opens one."""
        key = hit.scope.key
        before = None
        for known in await anomalies.going_on(tx, hit.tenant_id, key):
            is_same_side = hit.impact * known.impact > 0
            if hit.start_at - known.end_at < GAP and is_same_side:
                before, changed = known, known.grown(hit)
                break
        else:
            if not is_onset:
                return
            planned = await anomalies.expected_of(tx, hit.tenant_id, key)
            is_planned = any(is_alike(hit, each) for each in planned)
            state = State.EXPECTED if is_planned else State.OPEN
            changed = replace(hit, anomaly_id=new_id(), state=state)
        await anomalies.save(tx, changed)
        await self._feed.append(tx, changed)
        if changed.state is State.OPEN and settings.is_news(before, changed):
            await self._news(tx, changed)

    async def _causes(self, hit: Anomaly) -> tuple[Cause, ...]:
        """Compares the hour by each dimension with the same hour of the days before."""
        found = []
        for dimension in CAUSE_DIMENSIONS:
            days = [hit.start_at - timedelta(days=day) for day in range(USUAL_DAYS, 0, -1)]
            usual: dict[str, Decimal] = {}
            for day in days:
                for value, cost in (await self._costs(hit, day, dimension)).items():
                    usual[value] = usual.get(value, Decimal(0)) + cost / USUAL_DAYS
            costs = await self._costs(hit, hit.start_at, dimension)
            for value in costs.keys() | usual.keys():
                contribution = costs.get(value, Decimal(0)) - usual.get(value, Decimal(0))
                if value and contribution * hit.impact > 0:
                    found.append(Cause(dimension, value, contribution, value not in usual))
        found.sort(key=lambda cause: (-abs(cause.contribution), cause.dimension, cause.value))
        return tuple(found[:CAUSES_MAX])

    async def _costs(self, hit: Anomaly, at: datetime, dimension: str) -> dict[str, Decimal]:
        conditions = [f'{name} = "{quoted(value)}"' for name, value in hit.scope.named.items()]
        answer = await self._usage.series(
            SeriesQuestion(
                tenant_id=hit.tenant_id,
                period=Period(at, at + HOUR),
                granularity=Granularity.HOUR,
                group_by=(dimension,),
                filter=" AND ".join(conditions),
                currency_code=hit.scope.currency_code,
            )
        )
        costs: dict[str, Decimal] = {}
        for point in answer.points:
            value = dict(point.group)[dimension]
            costs[value] = costs.get(value, Decimal(0)) + point.cost
        return costs

    async def trim(self) -> None:
        """Forgets hours that no verdict stands on any more."""
        async with self._database.system_transaction() as tx:
            await watching.trim(tx, self._clock.now() - HISTORY - ENDED_AFTER)


def is_alike(hit: Anomaly, planned: Anomaly) -> bool:
    """Tells whether an anomaly is like one that was planned: direction, and time of day or week."""
    distance = abs(hit.start_at - planned.start_at) % timedelta(days=1)
    is_near = min(distance, timedelta(days=1) - distance) <= HOUR
    return hit.direction == planned.direction and is_near


def quoted(value: str) -> str:
    """Escapes a text for a filter."""
    return value.replace("\\", "\\\\").replace('"', '\\"')
