"""Reads stored events: pages of them, and one down to the prices and rules behind its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.allocation_rule import rules_in_force
from services.usage.domain.question import read_period
from services.usage.domain.rating import RatingLine
from services.usage.domain.stored_event import StoredEvent, rating_lines
from services.usage.errors import UsageEventNotFound
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import event_rows
from services.usage.store.allocation import allocation_rules


@dataclass(frozen=True, slots=True)
class EventDetail:
    """One event as it stands, how its cost came about, its history and the rules that move it."""

    current: StoredEvent
    lines: Sequence[RatingLine]
    history: Sequence[StoredEvent]
    rule_ids: Sequence[str]


class StoredEvents:
    """The use cases of reading events."""

    def __init__(
        self, database: Database, contexts: TenantContexts, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the tenants' contexts for their zones and prices."""
        self._database = database
        self._contexts = contexts
        self._tokens = tokens
        self._clock = clock

    async def list_usage_events(
        self, page: PageRequest, *, start: str, end: str
    ) -> Page[StoredEvent]:
        """Returns a page of the events of a period, newest usage first unless ordered otherwise."""
        tz = (await self._contexts.frame(page.tenant_id)).tz
        period = read_period(start, end, tz, now=self._clock.now())
        async with self._database.read(page.tenant_id) as tx:
            return await event_rows.list_events(tx, page, period, self._tokens)

    async def get_usage_event(self, tenant_id: str, source: str, event_id: str) -> EventDetail:
        """Returns one event in full. Raises UsageEventNotFound."""
        context = await self._contexts.get(tenant_id)
        async with self._database.read(tenant_id) as tx:
            history = await event_rows.revisions(tx, tenant_id, source, event_id)
            rules = await allocation_rules(tx, tenant_id)
        if not history:
            raise UsageEventNotFound(source=source, event_id=event_id)
        current = [row for row in history if row.weight == 1][-1]
        known = {
            line.price_id: context.index.price(line.price_id) for line in current.applied or ()
        }
        prices = {price_id: price for price_id, price in known.items() if price is not None}
        attributes = current.event.attributes._replace(department=current.resolved_department)
        matching = [
            rule.allocation_rule_id
            for rule in rules_in_force(rules, current.event.start_at)
            if rule.matches(attributes)
        ]
        return EventDetail(current, rating_lines(current, prices), history, matching)
