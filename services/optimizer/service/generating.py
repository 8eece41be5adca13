"""Runs the detectors for one tenant and merges what they find with what is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.feed import EncodedFeed
from services.kernel.ids import new_id
from services.kernel.period import Period
from services.optimizer.domain.detectors import PROFILES, detect, expected_value
from services.optimizer.domain.finding import Finding
from services.optimizer.domain.lifecycle import (
    LIFETIME,
    OPEN,
    Recommendation,
    State,
    StateChange,
    refreshed,
)
from services.optimizer.domain.run import TargetOutcome
from services.optimizer.domain.savings import trust
from services.optimizer.domain.statistics import Statistics
from services.optimizer.service.detailing import Details
from services.optimizer.service.statistics import StatisticsLoader
from services.optimizer.store import detectors as settings_rows
from services.optimizer.store import recommendations as rows

ACTOR = "system"
HISTORY_DAYS = 90  # that a run looks at when nothing else is said
LATE_MAX = timedelta(hours=6)  # that a run may wait for its turn and still end now
ROUNDS_MAX = 10  # of reading; usage that never pauses must not keep advice waiting
DAYS_READ_MAX = 800  # of changed days before a run: more than a period can have


class Generation:
    """Finds advice for a tenant."""

    def __init__(
        self,
        database: Database,
        loader: StatisticsLoader,
        details: Details,
        *,
        feed: EncodedFeed,
        clock: Clock,
    ) -> None:
        """feed: of recommendations."""
        self._database = database
        self._loader = loader
        self._details = details
        self._feed = feed
        self._clock = clock

    async def run_tenant(
        self, tenant_id: str, period: Period, *, detector_ids: Sequence[str], text: str
    ) -> TargetOutcome:
        """Looks at a tenant's usage and stores what is found.

        A run over a part of the detectors or of the usage lets nothing expire that it did not
        look for. One over a part of the usage, or over a shorter or past period, only adds.
        """
        for _ in range(ROUNDS_MAX):
            # Without its samples and failures a day tells other advice than with them; while days
            # are read, more usage comes.
            if not await self._details.refresh(tenant_id, period=period, limit=DAYS_READ_MAX):
                break
        statistics = await self._loader.load(tenant_id, period, text)
        async with self._database.read(tenant_id) as tx:
            stored = await settings_rows.load(tx, tenant_id)
            judged = await rows.judged_counts(tx, tenant_id)
        settings = {name: one.settings for name, one in stored.items()}
        trusted = {name: trust(wrong, total) for name, (wrong, total, _) in judged.items()}
        findings = await asyncio.to_thread(
            detect, statistics, settings, trust=trusted, detector_ids=detector_ids
        )
        wanted = tuple(detector_ids) or tuple(PROFILES)

        is_past = period.end < self._clock.now() - LATE_MAX
        is_short = period.duration < timedelta(days=HISTORY_DAYS)
        is_partial = bool(text) or is_past or is_short

        async def merge(tx: Transaction) -> TargetOutcome:
            return await self._merge(
                tx, tenant_id, statistics, findings, wanted, is_partial=is_partial
            )

        return await self._database.run(tenant_id, merge)

    async def _merge(
        self,
        tx: Transaction,
        tenant_id: str,
        statistics: Statistics,
        findings: Sequence[Finding],
        detector_ids: Sequence[str],
        *,
        is_partial: bool,
    ) -> TargetOutcome:
        now = self._clock.now()
        await rows.lock_all(tx, tenant_id)
        known = await rows.alive(tx, tenant_id)
        settled = await rows.settled_causes(tx, tenant_id, since=statistics.period.start)
        by_cause = {_cause(one.finding): one for one in known}
        current: dict[str, Recommendation] = {one.recommendation_id: one for one in known}
        found = renewed = 0
        for finding in findings:
            if _cause(finding) in settled:
                continue  # the usage from before it was done shows it still
            before = by_cause.pop(_cause(finding), None)
            if is_partial and before is not None and before.state is not State.EXPIRED:
                continue
            if before is None:
                one = _proposed(tenant_id, finding, statistics.period, now)
                found += 1
            else:
                one = refreshed(before, finding, statistics.period, now=now)
                renewed += 1
            await rows.save(tx, one)
            current[one.recommendation_id] = one
            if before is None or before.state is not one.state:
                await self._tell(tx, one, None if before is None else before.state, "found", now)
        gone = [
            one
            for one in by_cause.values()
            if one.finding.detector_id in detector_ids and not is_partial
        ]
        expired = await self._expire(tx, gone, current, now)
        await rows.rank_all(tx, tenant_id, ranks(list(current.values())))
        events = sum(one.events for one in statistics.series)
        return TargetOutcome(events=events, found=found, refreshed=renewed, expired=expired)

    async def _expire(
        self,
        tx: Transaction,
        gone: Sequence[Recommendation],
        current: dict[str, Recommendation],
        now: datetime,
    ) -> int:
        """Lets proposals expire whose cause is gone, and anything open that is too old."""
        count = 0
        for one in gone:
            is_old = one.state in OPEN and one.expires_at <= now
            if one.state is State.PROPOSED or is_old:
                ended = one.moved(State.EXPIRED, now=now)
                await rows.save(tx, ended)
                await self._tell(tx, ended, one.state, "its cause is gone", now)
                current[one.recommendation_id] = ended
                count += 1
        return count

    async def _tell(
        self, tx: Transaction, one: Recommendation, before: State | None, note: str, at: datetime
    ) -> None:
        change = StateChange(before=before, after=one.state, actor=ACTOR, note=note, at=at)
        await rows.append_event(tx, self._feed, one, change)


def _cause(finding: Finding) -> tuple[str, str, int, str]:
    return finding.detector_id, finding.key, int(finding.kind), finding.currency_code


def _proposed(tenant_id: str, finding: Finding, period: Period, now: datetime) -> Recommendation:
    return Recommendation(
        recommendation_id=new_id(),
        tenant_id=tenant_id,
        finding=finding,
        period=period,
        state=State.PROPOSED,
        created_at=now,
        updated_at=now,
        expires_at=now + LIFETIME,
    )


def ranks(known: Sequence[Recommendation]) -> dict[str, int]:
    """Returns the places of recommendations: open ones by expected value, then all others."""

    def order(one: Recommendation) -> tuple[bool, Decimal, str]:
        return one.state not in OPEN, -expected_value(one.finding), one.recommendation_id

    return {
        one.recommendation_id: place for place, one in enumerate(sorted(known, key=order), start=1)
    }
