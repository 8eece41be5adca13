"""Records usage: rates it, stores it, counts it exactly once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from opentelemetry import metrics

from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.feed import current_traceparent
from services.kernel.money import format_decimal
from services.usage.domain.event import Costs, UsageEvent
from services.usage.domain.rating import Rating, metered_quantities, rate
from services.usage.domain.recording import (
    CONFLICT_TEXT,
    Problem,
    Receipt,
    Verdict,
    payload_digest,
)
from services.usage.domain.stateful_meter import MeterMonth, StatefulMeter
from services.usage.errors import BatchRaced
from services.usage.service.tenant_context import Resolution, TenantContext, TenantContexts
from services.usage.store import prices
from services.usage.store.dimensions import intern_rate_plans
from services.usage.store.events import (
    BATCH_EVENTS_MAX,
    EventRow,
    insert_events,
    make_partition,
    partition_months,
    stored_digests,
)

_ZERO = Decimal(0)
Settle = Callable[[Transaction, Receipt], Awaitable[None]]
_events = metrics.get_meter("finops.usage").create_counter(
    "finops_usage_events_total", description="Events received, by verdict."
)


class Recorder:
    """Takes batches of events of one tenant and answers what became of each."""

    def __init__(self, database: Database, contexts: TenantContexts) -> None:
        """Takes the database and the tenants' contexts."""
        self._database = database
        self._contexts = contexts
        self._months: set[date] = set()

    async def record_usage(
        self,
        by_tenant: Mapping[str, tuple[Sequence[int], Sequence[UsageEvent]]],
        as_tenant: Callable[[str], str],
    ) -> list[Receipt]:
        """Records the events of each tenant named, and answers in the same order.

        as_tenant: says which tenant a name acts on, or refuses; nothing is stored before all are
        allowed.
        """
        allowed = [(as_tenant(named), events) for named, (_, events) in by_tenant.items()]
        traceparent = current_traceparent()
        return [
            await self.record(tenant_id, events, traceparent=traceparent)
            for tenant_id, events in allowed
        ]

    async def record(
        self,
        tenant_id: str,
        events: Sequence[UsageEvent],
        *,
        traceparent: str | None = None,
        settle: Settle | None = None,
    ) -> Receipt:
        """Stores the events that are new, in one transaction a BATCH_EVENTS_MAX.

        Problems are indexed by position in `events`. settle: runs in the same transaction; then
        there are at most BATCH_EVENTS_MAX events, and it runs even for none.
        Raises Unavailable where the database is away; then nothing of the last transaction is
        stored, and sending the batch again is safe.
        """
        receipt = Receipt([], [])
        for start in range(0, max(len(events), 1), BATCH_EVENTS_MAX):
            part = events[start : start + BATCH_EVENTS_MAX]
            verdicts, problems = await self._record_batch(tenant_id, part, traceparent, settle)
            receipt.verdicts.extend(verdicts)
            receipt.problems.extend(
                problem._replace(position=problem.position + start) for problem in problems
            )
        for verdict in Verdict:
            count = receipt.verdicts.count(verdict)
            if count:
                _events.add(count, {"verdict": verdict.name.lower()})
        return receipt

    async def _record_batch(
        self,
        tenant_id: str,
        events: Sequence[UsageEvent],
        traceparent: str | None,
        settle: Settle | None,
    ) -> Receipt:
        context = await self._contexts.get(tenant_id)
        resolutions = await self._contexts.resolve(context, events)
        await self._require_partitions(events)
        batch = _Batch(context, events, resolutions)
        has_rows = bool(batch.rows or batch.metered)
        if not has_rows and settle is None:
            return batch.receipt()

        async def work(tx: Transaction) -> Receipt:
            receipt = batch.receipt()
            if has_rows:
                receipt = await self._store(tx, batch, traceparent)
            if settle is not None:
                await settle(tx, receipt)
            return receipt

        return await self._database.run(tenant_id, work)

    async def _store(self, tx: Transaction, batch: _Batch, traceparent: str | None) -> Receipt:
        rows = batch.rows
        metered = _Metered([], {}, set())
        if batch.metered:
            metered = await self._rate_metered(tx, batch)
            rows = sorted([*rows, *metered.rows])
        else:
            rows.sort()
        stored = await insert_events(tx, batch.tenant_id, rows, traceparent=traceparent)
        await prices.add_month_totals(tx, batch.tenant_id, metered.added)
        if stored is None:
            return batch.receipt()
        missed = [row for index, row in enumerate(rows) if index not in stored]
        if any(row.position in metered.counted for row in missed):
            # Its quantity was counted for a price, but another batch stored it first: start again.
            raise BatchRaced
        return await self._judge(tx, batch, missed)

    async def _judge(self, tx: Transaction, batch: _Batch, missed: Sequence[EventRow]) -> Receipt:
        digests = await stored_digests(
            tx, batch.tenant_id, [(row.source, row.event_id) for row in missed]
        )
        verdicts, problems = batch.receipt()
        for index, row in enumerate(missed):
            if digests.get(index) == row.digest:
                verdicts[row.position] = Verdict.DUPLICATE
            else:
                verdicts[row.position] = Verdict.CONFLICT
                problems.append(Problem(row.position, "", CONFLICT_TEXT))
        return Receipt(verdicts, sorted(problems))

    async def _rate_metered(self, tx: Transaction, batch: _Batch) -> _Metered:
        """Rates events whose price adds up over the month, in order, behind the totals' locks.

        Only events that are not stored yet count: their identities are read behind the locks.
        """
        running = await prices.lock_month_totals(tx, batch.tenant_id, batch.meter_months())
        positions = sorted(batch.metered, key=batch.key)
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
        ids = dict(
            zip(distinct, await intern_rate_plans(tx, batch.tenant_id, distinct), strict=True)
        )
        rated = [
            row._replace(rate_plan_id=ids[text]) for row, text in zip(rows, lines, strict=True)
        ]
        return _Metered(rated, added, counted)

    async def _require_partitions(self, events: Sequence[UsageEvent]) -> None:
        months = {date(event.start_at.year, event.start_at.month, 1) for event in events}
        if months <= self._months:
            return
        async with self._database.system_transaction() as tx:
            self._months = await partition_months(tx)
            for month in sorted(months - self._months):
                await make_partition(tx, month)
        self._months |= months


class _Metered(NamedTuple):
    """Events rated behind the totals' locks.

    added: to the running quantities. counted: positions whose quantity is in `added`.
    """

    rows: list[EventRow]
    added: dict[MeterMonth, Decimal]
    counted: set[int]


class _Batch:
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
        """Builds the stored form of one event."""
        event = self.events[position]
        resolution = self._resolutions[position]
        start_at, end_at = event.start_at, event.end_at
        billed = costs.billed
        return EventRow(
            event.source,
            event.event_id,
            position,
            payload_digest(event, resolution.digest),
            start_at,
            None if end_at is start_at or end_at == start_at else end_at,
            self.context.hours.hour_of(start_at),
            resolution.dimension_id,
            str(event.quantity),
            str(billed),
            _unless_equal(costs.effective, billed),
            _unless_equal(costs.list, billed),
            _unless_equal(costs.contracted, billed),
            resolution.rate_plan_id,
            event.outcome,
            event.retries,
            event.latency_ms,
            event.error_code or None,
            event.utilization,
            None if event.capacity is None else str(event.capacity),
            _components_text(event) if event.components else None,
            is_unpriced,
        )

    def receipt(self) -> Receipt:
        """Returns the answer if everything that can be stored is new."""
        verdicts = [Verdict.ACCEPTED] * len(self.events)
        for problem in self._problems:
            verdicts[problem.position] = Verdict.INVALID
        return Receipt(verdicts, list(self._problems))


def _unless_equal(cost: Decimal, billed: Decimal) -> str | None:
    return None if cost is billed or cost == billed else str(cost)


def _components_text(event: UsageEvent) -> str:
    return json.dumps(
        [[meter, format_decimal(quantity)] for meter, quantity in event.components],
        separators=(",", ":"),
    )


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
