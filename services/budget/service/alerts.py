"""Shows alerts and takes the steps that people ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.budget.domain.alert import Alert, AlertChange, AlertTransition
from services.budget.domain.alert_errors import AlertNotFound, etag_of, require_etag
from services.budget.service.alert_life import AlertLife
from services.budget.service.alert_notices import subject_of
from services.budget.store import alerts as store
from services.budget.store.alerts import AlertFeed
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.feed_page import FeedPage, FeedPosition
from services.kernel.filter import evaluate, parse_filter
from services.kernel.pagination import Page, PageRequest, PageTokens

EVERY_TENANT: Final = "*"
NOW: Final = "now"


@dataclass(frozen=True, slots=True)
class AlertStep:
    """What a person does with an alert. etag: "" for whatever is stored."""

    alert_id: str
    actor: str
    note: str = ""
    etag: str = ""


class Alerts:
    """A tenant's alerts."""

    def __init__(
        self,
        database: Database,
        life: AlertLife,
        feed: AlertFeed,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what steps alerts, and their feed."""
        self._database = database
        self._life = life
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    async def list_alerts(self, page: PageRequest) -> Page[Alert]:
        """Returns alerts. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_alerts(tx, page, self._tokens)

    async def get_alert(
        self, tenant_id: str, alert_id: str
    ) -> tuple[Alert, Sequence[AlertTransition]]:
        """Returns an alert and its history. Raises AlertNotFound."""
        async with self._database.read(tenant_id) as tx:
            alert = await store.find_alert(tx, tenant_id, alert_id)
            if alert is None:
                raise AlertNotFound(alert_id=alert_id)
            return alert, await store.transitions_of(tx, tenant_id, alert_id)

    async def acknowledge_alert(self, tenant_id: str, step: AlertStep) -> Alert:
        """Puts an alert into a person's hands. Raises AlertNotFound, AlertClosed."""
        return await self._step(
            tenant_id, step, "acknowledged", lambda alert: alert.acknowledged(step.actor)
        )

    async def resolve_alert(self, tenant_id: str, step: AlertStep) -> Alert:
        """Closes an alert. Raises AlertNotFound, AlertClosed."""
        now = self._clock.now()
        return await self._step(tenant_id, step, "resolved", lambda alert: alert.resolved(now))

    async def snooze_alert(self, tenant_id: str, step: AlertStep, until: datetime) -> Alert:
        """Silences an alert. Raises AlertNotFound, AlertClosed, SnoozeNotInFuture."""
        now = self._clock.now()
        return await self._step(tenant_id, step, "snoozed", lambda alert: alert.snoozed(until, now))

    async def _step(
        self, tenant_id: str, step: AlertStep, verb: str, change: Callable[[Alert], Alert]
    ) -> Alert:
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            stored = await store.lock_alert(tx, tenant_id, step.alert_id)
            if stored is None:
                raise AlertNotFound(alert_id=step.alert_id)
            before = stored.alert
            require_etag(step.etag, etag_of(before.alert_id, before.revision))
            after = change(before)
            ids = await self._life.tell(tx, after, verb, at=now)
            after = await self._life.step(
                tx, stored, after, actor=step.actor, note=step.note, at=now, delivery_ids=ids
            )
            await audit.append(
                tx,
                action=f"alerts.{verb}",
                resource=f"alerts/{after.alert_id}",
                before=_state(before),
                after=_state(after) | {"note": step.note},
            )
        return after

    async def watch_alerts(
        self, tenant_id: str, *, after: str, text: str
    ) -> AsyncIterator[FeedPage[AlertChange]]:
        """Yields pages of changes for ever. tenant_id: `*` for all tenants. text: a filter.

        after: a position, "" for the oldest kept, `now` for what comes. Raises
        InvalidFeedPosition, FeedPositionExpired, InvalidFilter.
        """
        wanted = parse_filter(text)
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        if after == NOW:
            position = await self._feed.horizon(owner)
        else:
            position = FeedPosition.parse(after)
        pages = self._feed.watch(after=position, tenant_id=owner)
        try:
            async for page in pages:
                items = [item for item in page.items if evaluate(wanted, _record(item.fact.alert))]
                if items or not page.items:
                    yield FeedPage(items, page.position)
        finally:
            await pages.aclose()


def _record(alert: Alert) -> dict[str, object]:
    return subject_of(alert).record() | {"state": alert.state.name}


def _state(alert: Alert) -> dict[str, Any]:
    return {
        "state": alert.state.value,
        "acknowledged_by": alert.acknowledged_by,
        "snooze_end_at": alert.snooze_end_at,
        "revision": alert.revision,
    }
