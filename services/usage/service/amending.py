"""Corrects recorded usage: what was stored stays, and a reversal and a revision are added."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.kernel import audit
from services.kernel.database import Database, Transaction
from services.kernel.money import EXACT, format_decimal
from services.kernel.telemetry import current_traceparent
from services.usage.domain.event import Costs, UsageEvent
from services.usage.domain.stateful_meter import MeterMonth, StatefulMeter
from services.usage.domain.stored_event import EventVoided, StoredEvent, negated
from services.usage.errors import ReplacementMismatch, UsageEventNotFound
from services.usage.service.batch import Batch, rate_metered
from services.usage.service.tenant_context import TenantContext, TenantContexts
from services.usage.store import amendments, event_rows, prices
from services.usage.store.events import EventRow

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """How one event is corrected. replacement: None voids it. reason: kept with the event."""

    tenant_id: str
    source: str
    event_id: str
    reason: str
    replacement: UsageEvent | None = None


class Amendments:
    """The use case of amending."""

    def __init__(self, database: Database, contexts: TenantContexts) -> None:
        """Takes the tenants' contexts, which rate replacements."""
        self._database = database
        self._contexts = contexts

    async def amend_usage(self, amendment: Amendment) -> StoredEvent:
        """Replaces or voids an event and returns it as it stands then.

        Raises UsageEventNotFound, EventVoided, ReplacementMismatch.
        """
        key = (amendment.source, amendment.event_id)
        new = amendment.replacement
        if new is not None and (new.source, new.event_id) != key:
            raise ReplacementMismatch
        context = await self._contexts.get(amendment.tenant_id)
        batch = None
        if new is not None:
            batch = Batch(context, [new], await self._contexts.resolve(context, [new]))
            await self._contexts.require_partitions([new])

        async def work(tx: Transaction) -> StoredEvent:
            return await _amend(tx, context, amendment, batch)

        return await self._database.run(amendment.tenant_id, work)


async def _amend(
    tx: Transaction, context: TenantContext, amendment: Amendment, batch: Batch | None
) -> StoredEvent:
    tenant_id = amendment.tenant_id
    key = (amendment.source, amendment.event_id)
    identity = await amendments.lock_identity(tx, tenant_id, *key)
    if identity is None:
        raise UsageEventNotFound(source=key[0], event_id=key[1])
    if identity.is_voided:
        raise EventVoided(source=key[0], event_id=key[1])
    history = await event_rows.revisions(tx, tenant_id, *key)
    current = next(row for row in history if row.revision == identity.revision and row.weight == 1)
    traceparent = current_traceparent()
    taken_back = _reversal(current, context, await _taken_back(tx, context, current))
    await amendments.add_row(
        tx,
        tenant_id,
        taken_back,
        revision=identity.revision,
        weight=-1,
        amend_reason=amendment.reason,
        traceparent=traceparent,
    )
    revision, row = identity.revision, taken_back
    if batch is not None:
        revision += 1
        metered = await rate_metered(tx, batch, is_new=True)
        row = [*batch.rows, *metered.rows][0]
        await prices.add_month_totals(tx, tenant_id, metered.added)
        await amendments.add_row(
            tx,
            tenant_id,
            row,
            revision=revision,
            weight=1,
            amend_reason=amendment.reason,
            traceparent=traceparent,
        )
    await amendments.move_identity(
        tx, tenant_id, row, revision=revision, is_voided=batch is None, start_at=row.start_at
    )
    history = await event_rows.revisions(tx, tenant_id, *key)
    amended = next(item for item in history if item.revision == revision and item.weight == 1)
    await audit.append(
        tx,
        action="usage.amend",
        resource=f"usage/{key[0]}/{key[1]}",
        before=_summary(current),
        after=None if batch is None else _summary(amended) | {"reason": amendment.reason},
    )
    return amended


async def _taken_back(tx: Transaction, context: TenantContext, current: StoredEvent) -> Costs:
    """Returns what taking the revision back costs, and lowers the running totals it was in.

    A price that adds up over the month gives back f(total) - f(total - quantity), so the month's
    cost stays f of its total.
    """
    metered: dict[MeterMonth, tuple[StatefulMeter, Decimal]] = {}
    linear = current.costs.billed
    for line in current.applied or ():
        price = context.index.price(line.price_id)
        if price is None or not price.is_stateful or line.quantity is None:
            continue
        meter = StatefulMeter(price)
        metered[meter.month_of(current.event.start_at)] = (meter, line.quantity)
        linear = EXACT.subtract(linear, line.amount or _ZERO)
    if not metered:
        return negated(current.costs)
    running = await prices.lock_month_totals(tx, current.tenant_id, metered)
    billed = EXACT.minus(linear)
    for month, (meter, quantity) in metered.items():
        billed = EXACT.add(billed, meter.change_cost(running[month], -quantity))
    await prices.add_month_totals(
        tx, current.tenant_id, {month: -quantity for month, (_, quantity) in metered.items()}
    )
    return negated(current.costs)._replace(billed=billed, effective=billed, contracted=billed)


def _reversal(current: StoredEvent, context: TenantContext, costs: Costs) -> EventRow:
    event = current.event
    return EventRow(
        source=event.source,
        event_id=event.event_id,
        position=0,
        digest=b"",
        start_at=event.start_at,
        end_at=event.end_at,
        hour=context.hours.hour_of(event.start_at.timestamp()),
        dimension_id=current.dimension_id,
        quantity=str(-event.quantity),
        billed=str(costs.billed),
        effective=str(costs.effective),
        list=str(costs.list),
        contracted=str(costs.contracted),
        rate_plan_id=None,
        outcome=event.outcome,
        retries=event.retries,
        latency_ms=event.latency_ms,
        error_code=event.error_code or None,
        utilization=event.utilization,
        capacity=None if event.capacity is None else str(event.capacity),
        components=None,
        is_unpriced=current.is_unpriced,
        bill_columns=None,
    )


def _summary(stored: StoredEvent) -> dict[str, str]:
    return {
        "quantity": format_decimal(stored.event.quantity),
        "billed_cost": format_decimal(stored.costs.billed),
        "start_at": stored.event.start_at.isoformat(),
        "revision": str(stored.revision),
    }
