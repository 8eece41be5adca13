"""ListAnomalyEvents: the usage behind an anomaly, costliest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from services.kernel.database import Database
from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.figures import quoted
from services.reporting.errors import AnomalyNotFound, TooManyAnomalyEvents
from services.reporting.store import anomalies as store

# Usage lists events by time alone; to order them by cost, all of them are read.
EVENTS_MAX: Final = 20_000
ORDERS: Final = ("cost", "start_time", "event_id")


@dataclass(frozen=True, slots=True)
class UsedEvent:
    """A usage event. cost: as billed."""

    source: str
    event_id: str
    start_at: datetime
    user_id: str
    department: str
    project: str
    resource_id: str
    quantity: Decimal
    currency_code: str
    cost: Decimal

    @property
    def key(self) -> str:
        """Identifies it within its tenant."""
        return f"{self.source}/{self.event_id}"


class UsageEvents(Protocol):
    """The usage service."""

    async def events(
        self, tenant_id: str, period: Period, filter_text: str, *, most: int
    ) -> list[UsedEvent]:
        """Returns events, up to one more than `most`. Raises UsageQuestionRefused."""
        ...


class AnomalyEvents:
    """Reads the events behind an anomaly."""

    def __init__(self, database: Database, usage: UsageEvents, *, tokens: PageTokens) -> None:
        """Takes whom it asks."""
        self._database = database
        self._usage = usage
        self._tokens = tokens

    async def list_anomaly_events(self, request: PageRequest, anomaly_id: str) -> Page[UsedEvent]:
        """Returns a page of events.

        Raises AnomalyNotFound, TooManyAnomalyEvents, InvalidFilter, InvalidOrder,
        UsageQuestionRefused.
        """
        wanted = parse_filter(request.filter)
        first, *_ = parse_order(request.order_by, ORDERS, default="cost desc", tie_break="event_id")
        async with self._database.read(request.tenant_id) as tx:
            found = await store.find(tx, request.tenant_id, anomaly_id)
        if found is None:
            raise AnomalyNotFound(anomaly_id=anomaly_id)
        events = await self._usage.events(
            request.tenant_id,
            Period(found.start_at, found.end_at),
            scope_filter(found),
            most=EVENTS_MAX,
        )
        if len(events) > EVENTS_MAX:
            raise TooManyAnomalyEvents(events_max=EVENTS_MAX)
        code = found.scope.currency_code
        kept = [
            each
            for each in events
            if evaluate(wanted, _record(each)) and each.currency_code == code
        ]

        def key(event: UsedEvent) -> list[Any]:
            values = {"cost": event.cost, "start_time": event.start_at}
            return [values.get(first.field, event.key), event.key]

        kept.sort(key=key, reverse=first.is_descending)
        after = self._tokens.decode(request)
        if after is not None:
            kept = [
                each
                for each in kept
                if (key(each) < list(after) if first.is_descending else key(each) > list(after))
            ]
        return self._tokens.page(request, kept[: request.limit + 1], key)


def scope_filter(anomaly: Anomaly) -> str:
    """Returns the filter over usage that an anomaly's series has."""
    return " AND ".join(f"{name} = {quoted(value)}" for name, value in anomaly.scope.named.items())


def _record(event: UsedEvent) -> dict[str, object]:
    return {
        "user_id": event.user_id,
        "department": event.department,
        "project": event.project,
        "resource_id": event.resource_id,
        "start_time": event.start_at,
    }
