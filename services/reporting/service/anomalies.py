"""ListAnomalies, GetAnomaly, GiveFeedback, WatchAnomalies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.feed_page import FeedPage, FeedPosition
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import Anomaly, Feedback, State
from services.reporting.domain.forecast.steps import read_instant
from services.reporting.errors import AnomalyNotFound
from services.reporting.service.peers import UsageReader
from services.reporting.store import anomalies as store
from services.reporting.store import watching
from services.reporting.store.anomalies import AnomalyFeed

EVERY_TENANT: Final = "*"
NOW: Final = "now"
LOOK_BACK: Final = timedelta(days=30)


def anomaly_feed(database: Database) -> AnomalyFeed:
    """Returns the feed of all changes of anomalies."""
    return AnomalyFeed(database)


class Anomalies:
    """Reads anomalies, and learns what people say about them."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        feed: AnomalyFeed,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """usage: knows the zone in which dates are meant."""
        self._database = database
        self._usage = usage
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    async def list_anomalies(self, request: PageRequest, start: str, end: str) -> Page[Anomaly]:
        """Returns a page of anomalies that began in a period, as callers write its ends."""
        tz = (await self._usage.tenant(request.tenant_id)).tz
        until = read_instant(end, tz) if end else self._clock.now()
        since = read_instant(start, tz) if start else until - LOOK_BACK
        async with self._database.read(request.tenant_id) as tx:
            return await store.page(tx, Period(since, until), request, self._tokens)

    async def get_anomaly(self, tenant_id: str, anomaly_id: str) -> tuple[Anomaly, list[str]]:
        """Returns an anomaly and the ids of earlier ones like it. Raises AnomalyNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = await store.find(tx, tenant_id, anomaly_id)
            if found is None:
                raise AnomalyNotFound(anomaly_id=anomaly_id)
            return found, await store.similar(tx, found)

    async def give_feedback(
        self, tenant_id: str, anomaly_id: str, feedback: Feedback, note: str
    ) -> Anomaly:
        """Takes a judgement in; a false alarm makes its series less sensitive.

        A later judgement replaces an earlier one, and its effect. Raises AnomalyNotFound.
        """
        async with self._database.transaction(tenant_id) as tx:
            found = await store.find(tx, tenant_id, anomaly_id)
            if found is None:
                raise AnomalyNotFound(anomaly_id=anomaly_id)
            state = State.EXPECTED if feedback is Feedback.EXPECTED else found.state
            if found.state is State.EXPECTED and feedback is not Feedback.EXPECTED:
                state = State.CLOSED if found.closed_at else State.OPEN
            changed = replace(
                found,
                state=state,
                feedback=feedback,
                feedback_actor=current_caller().subject,
                feedback_note=note,
            )
            change = (feedback is Feedback.FALSE_ALARM) - (found.feedback is Feedback.FALSE_ALARM)
            if change:
                await watching.count_false_alarm(tx, tenant_id, found.scope.key, change)
            await store.save(tx, changed)
            await self._feed.append(tx, changed)
            await audit.append(
                tx,
                action="anomaly.give_feedback",
                resource=f"anomalies/{anomaly_id}",
                # The note may name persons, and entries stay when persons go.
                before={"feedback": found.feedback.name},
                after={"feedback": feedback.name, "has_note": bool(note)},
            )
        return changed

    async def watch_anomalies(self, tenant_id: str, after: str) -> AsyncIterator[FeedPage[Anomaly]]:
        """Yields pages of changes for ever. tenant_id: `*` for all tenants.

        after: a position, "" for the oldest kept, `now` for what comes.
        """
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        if after == NOW:
            async with (
                self._database.system_transaction() if owner is None else self._database.read(owner)
            ) as tx:
                position = await self._feed.horizon(tx)
        else:
            position = FeedPosition.parse(after)
        pages = self._feed.watch(after=position, tenant_id=owner)
        try:
            async for page in pages:
                yield page
        finally:
            await pages.aclose()
