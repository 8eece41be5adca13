"""Sends budget and cost events to the channels that subscribed to them.

Each is a consumer of a feed: its cursor moves in the transaction that queues the notifications, so
that each event is queued once, and none is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final

from services.budget.domain.change import BudgetChange
from services.budget.domain.cost_block import CostBlock
from services.budget.domain.cost_fact import CostFact
from services.budget.domain.notification import (
    EventSubscription,
    Notification,
    Subject,
    matches,
)
from services.budget.service.cost_facts import facts_of
from services.budget.service.notifying import Notifier
from services.budget.store import channels
from services.budget.store.changes import BudgetFeed
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.kernel.money import format_decimal
from services.kernel.period import Period

BUDGET_CONSUMER: Final = "budget_events"
COST_CONSUMER: Final = "cost_events"
COST_EVENT: Final = "cost.recorded"
CHANGES_MAX: Final = 500  # costs that one notification lists, about 200 kB


class EventTelling:
    """Queues the events that somebody subscribed to."""

    def __init__(self, notifier: Notifier, feed: BudgetFeed, *, clock: Clock) -> None:
        """Takes what queues, and the feed of budgets."""
        self._notifier = notifier
        self._feed = feed
        self._clock = clock

    async def budget_pages(
        self, after: FeedPosition
    ) -> AsyncGenerator[FeedPage[BudgetChange], None]:
        """Yields the changes of all tenants' budgets after a position, as they come."""
        async for page in self._feed.watch(after=after, tenant_id=None):
            yield page

    async def tell_budgets(self, tx: Transaction, items: Sequence[FeedItem[BudgetChange]]) -> None:
        """Queues what happened to budgets."""
        subscriptions = await self._subscriptions(tx, {item.tenant_id for item in items})
        for item in items:
            event_type = f"budget.{item.fact.kind.value}"
            for one in subscriptions.get(item.tenant_id, ()):
                subject = Subject(
                    kind=event_type,
                    budget_id=item.fact.budget_id,
                    channel_id=one.channel_id,
                    amount=None if item.fact.totals is None else item.fact.totals.spent,
                )
                if one.created_at <= item.fact.changed_at and one.wants(event_type, subject):
                    notification = Notification(
                        event_type=event_type,
                        title=f"Budget {item.fact.budget_id}: {item.fact.kind.value}",
                        payload=_budget_payload(item),
                    )
                    await self._send(tx, item.tenant_id, notification, subject, one)

    async def tell_costs(self, tx: Transaction, items: Sequence[FeedItem[CostBlock]]) -> None:
        """Queues what was recorded, one notification a page for each subscription."""
        subscriptions = await self._subscriptions(tx, {item.tenant_id for item in items})
        for tenant_id, wanted in subscriptions.items():
            own = [fact for item in items if item.tenant_id == tenant_id for fact in facts_of(item)]
            for one in wanted:
                found = [fact for fact in own if _wants_cost(one, fact)]
                for start in range(0, len(found), CHANGES_MAX):
                    part = found[start : start + CHANGES_MAX]
                    notification = Notification(
                        event_type=COST_EVENT,
                        title=f"{len(part)} changes of cost",
                        payload={"changes": [_cost_payload(fact) for fact in part]},
                    )
                    subject = Subject(kind=COST_EVENT, channel_id=one.channel_id)
                    await self._send(tx, tenant_id, notification, subject, one)

    async def _subscriptions(
        self, tx: Transaction, tenants: set[str]
    ) -> dict[str, list[EventSubscription]]:
        found: dict[str, list[EventSubscription]] = defaultdict(list)
        for tenant_id in await channels.subscribed_tenants(tx, sorted(tenants)):
            for one in await channels.active_subscriptions(tx, tenant_id):
                found[tenant_id].append(one)
        return found

    async def _send(
        self,
        tx: Transaction,
        tenant_id: str,
        notification: Notification,
        subject: Subject,
        subscription: EventSubscription,
    ) -> None:
        await self._notifier.notify(
            tx,
            tenant_id,
            notification,
            subject,
            at=self._clock.now(),
            channel_ids=[subscription.channel_id],
            is_broadcast=False,
        )


def _wants_cost(subscription: EventSubscription, fact: CostFact) -> bool:
    if not any(matches(each, COST_EVENT) for each in subscription.event_types):
        return False
    subject = Subject(
        kind=COST_EVENT,
        department_id=fact.attributes.department_id,
        user_id=fact.attributes.user_id,
        resource_type=fact.attributes.resource_type,
        channel_id=subscription.channel_id,
        amount=fact.billed_cost,
    )
    # What was recorded before somebody subscribed is history, not an event.
    return subscription.created_at <= fact.recorded_at and subscription.wants(COST_EVENT, subject)


def _budget_payload(item: FeedItem[BudgetChange]) -> dict[str, Any]:
    fact = item.fact
    payload: dict[str, Any] = {
        "budgetId": fact.budget_id,
        "tenantId": item.tenant_id,
        "version": fact.version,
        "change": fact.kind.name,
        "currencyCode": fact.currency_code,
        "changeTime": fact.changed_at.isoformat(),
        "sequence": str(item.position),
        "period": None if fact.period is None else _period(fact.period),
    }
    if fact.totals is not None:
        payload["limit"] = format_decimal(fact.totals.limit)
        payload["spent"] = format_decimal(fact.totals.spent)
        payload["held"] = format_decimal(fact.totals.held)
    return payload


def _cost_payload(fact: CostFact) -> dict[str, Any]:
    named = {
        "userId": fact.attributes.user_id,
        "departmentId": fact.attributes.department_id,
        "project": fact.attributes.project,
        "resourceType": fact.attributes.resource_type,
        "resourceId": fact.attributes.resource_id,
        "service": fact.attributes.service,
        "provider": fact.attributes.provider,
        "region": fact.attributes.region,
    }
    return {
        "sequence": fact.sequence,
        "hourTime": _text(fact.hour_at),
        "recordedTime": _text(fact.recorded_at),
        "billedCost": {
            "currencyCode": fact.currency_code,
            "amount": format_decimal(fact.billed_cost),
        },
        "events": fact.events,
        "isCorrection": fact.is_correction,
        **{name: value for name, value in named.items() if value},
        "tags": dict(fact.attributes.tags),
    }


def _period(period: Period) -> dict[str, str]:
    return {"startTime": _text(period.start), "endTime": _text(period.end)}


def _text(instant: datetime) -> str:
    return instant.isoformat()
