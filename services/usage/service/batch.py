"""One batch of events on its way to storage: its rows, and what is rated behind a lock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.kernel.database import Transaction
from services.kernel.errors import Error
from services.kernel.money import format_decimal
from services.usage.domain.event import Costs, Outcome, UsageEvent
from services.usage.domain.rating import Rating, metered_quantities, rate
from services.usage.domain.recording import Problem, Receipt, Verdict, payload_digest
from services.usage.domain.stateful_meter import MeterMonth, StatefulMeter
from services.usage.service.tenant_context import Resolution, TenantContext, components_format
from services.usage.store import prices
from services.usage.store.dimensions import intern_rate_plans
from services.usage.store.events import EventRow, stored_digests

_ZERO = Decimal(0)


class Metered(NamedTuple):
    """Events rated behind the totals' locks.

    added: to the running quantities. counted: positions whose quantity is in `added`.
    """

    rows: list[EventRow]
    added: dict[MeterMonth, Decimal]
    counted: set[int]


class Batch:
    """The rows of one batch, and the positions that are rated behind a lock."""

    def __init__(
        self,
        context: TenantContext,
        events: Sequence[UsageEvent],
        resolutions: Sequence[Resolution],
    ) -> None:
        self.context = context
        self.tenant_id = context.tenant_id
        self.events = events
        self._resolutions = resolutions
        self._problems: list[Problem] = []
        self.metered: set[int] = set()
        self.rows: list[EventRow] = []
        for position, (event, resolution) in enumerate(zip(events, resolutions, strict=True)):
            plan = resolution.plan
            if plan is None:
                costs = event.cost
            elif plan.is_stateful or event.end_at > resolution.valid_until:
                self.metered.add(position)
                continue
            else:
                costs = plan.costs(metered_quantities(event)[1], event.outcome)
            if costs is not None:
                is_unpriced = plan is not None and plan.is_unpriced
                self.rows.append(self.row(position, costs, is_unpriced=is_unpriced))
        self._drop_unratable()

    def _drop_unratable(self) -> None:
        for position in sorted(self.metered):
            try:
                rate(self.events[position], self.context.index)
            except Error as error:
                self.metered.discard(position)
                self._problems.append(Problem(position, "end_time", error.message))

    def key(self, position: int) -> tuple[str, str]:
        """Returns the identity of the event at a position."""
        event = self.events[position]
        return event.source, event.event_id

    def meter_months(self) -> set[MeterMonth]:
        """Returns the running quantities that the batch may add to."""
        found = set()
        for position in self.metered:
            event = self.events[position]
            for meter, _ in rate(event, self.context.index).metered:
                found.add(meter)
            plan = self._resolutions[position].plan
            for meter_rate in plan.rates if plan is not None else ():
                if meter_rate.price is not None and meter_rate.price.is_stateful:
                    found.add(StatefulMeter(meter_rate.price).month_of(event.start_at))
        return found

    def row(self, position: int, costs: Costs, *, is_unpriced: bool) -> EventRow:
        """Builds the stored form of one event. What has its column's default is left out."""
        event = self.events[position]
        resolution = self._resolutions[position]
        source, event_id, start_at, end_at = event[:4]
        billed, effective, listed, contracted = costs
        billed_text = str(billed)
        quantity = str(event.quantity)
        start_timestamp = start_at.timestamp()
        components = _components_text(event, resolution) if event.components else None
        values = (
            source,
            event_id,
            position,
            payload_digest(
                event,
                resolution.digest,
                start_timestamp=start_timestamp,
                quantity=quantity,
                components=components,
            ),
            start_at,
            None if end_at is start_at or end_at == start_at else end_at,
            self.context.hours.hour_of(start_timestamp),
            resolution.dimension_id,
            quantity,
            billed_text,
            None if effective is billed or effective == billed else str(effective),
            None if listed is billed or listed == billed else str(listed),
            None if contracted is billed or contracted == billed else str(contracted),
            resolution.rate_plan_id,
            None if event.outcome is Outcome.SUCCEEDED else int(event.outcome),
            event.retries or None,
            event.latency_ms,
            event.error_code or None,
            event.utilization,
            None if event.capacity is None else str(event.capacity),
            components,
            is_unpriced or None,
            event.bill_columns or None,
        )
        # Through the class's own constructor this takes twice as long, once an event.
        return tuple.__new__(EventRow, values)

    def receipt(self) -> Receipt:
        """Returns the answer if everything that can be stored is new."""
        verdicts = [Verdict.ACCEPTED] * len(self.events)
        for problem in self._problems:
            verdicts[problem.position] = Verdict.INVALID
        return Receipt(verdicts, list(self._problems))


def _components_text(event: UsageEvent, resolution: Resolution) -> str:
    if resolution.plan is None:  # an event that brings its cost may name any meters
        return components_format(tuple([meter for meter, _ in event.components])) % tuple(
            [quantity for _, quantity in event.components]
        )
    return resolution.components_format % tuple([quantity for _, quantity in event.components])


def _rating_lines(rating: Rating) -> str:
    """Returns the lines of an event that is rated by itself, with their quantities and amounts."""
    return json.dumps(
        [
            {
                "amount": format_decimal(line.amount),
                "meter": line.meter,
                "multiplier": format_decimal(line.multiplier),
                "price_id": line.price_id,
                "quantity": format_decimal(line.quantity),
            }
            for line in rating.lines
        ],
        separators=(",", ":"),
    )


async def rate_metered(tx: Transaction, batch: Batch, *, is_new: bool = False) -> Metered:
    """Rates events whose price adds up over the month, in order, behind the totals' locks.

    Only events that are not stored yet count: their identities are read behind the locks.
    is_new: counts all of them, because they are revisions of events that are stored.
    """
    if not batch.metered:
        return Metered([], {}, set())
    running = await prices.lock_month_totals(tx, batch.tenant_id, batch.meter_months())
    positions = sorted(batch.metered, key=batch.key)
    known: dict[int, bytes] = {}
    if not is_new:
        known = await stored_digests(tx, batch.tenant_id, [batch.key(p) for p in positions])
    added: dict[MeterMonth, Decimal] = {}
    seen: set[tuple[str, str]] = set()
    counted: set[int] = set()
    rows, lines = [], []
    for index, position in enumerate(positions):
        rating = rate(batch.events[position], batch.context.index, running=running)
        if index not in known and batch.key(position) not in seen:
            counted.add(position)
            for meter, quantity in rating.metered:
                running[meter] = running.get(meter, _ZERO) + quantity
                added[meter] = added.get(meter, _ZERO) + quantity
        seen.add(batch.key(position))
        rows.append(batch.row(position, rating.costs, is_unpriced=rating.is_unpriced))
        lines.append(_rating_lines(rating))
    distinct = list(dict.fromkeys(lines))
    ids = dict(zip(distinct, await intern_rate_plans(tx, batch.tenant_id, distinct), strict=True))
    rated = [row._replace(rate_plan_id=ids[text]) for row, text in zip(rows, lines, strict=True)]
    return Metered(rated, added, counted)
