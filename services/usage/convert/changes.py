"""Cost changes, reconciliations and archives between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import cost_model_pb2 as model

from services.kernel.feed_page import FeedItem
from services.kernel.money import format_decimal
from services.usage.convert.costs import from_instant
from services.usage.domain.cost_change import CostChange
from services.usage.domain.event import Attributes
from services.usage.service.archiving import ArchivedMonth
from services.usage.service.reconciling import Drift, Reconciliation
from services.usage.service.watching import PAGES_KEPT, ChangePage

WATCH_BATCH = 500


@lru_cache(maxsize=PAGES_KEPT)
def from_page(page: ChangePage) -> model.WatchCostsResponse:
    """Converts a page of changes; an empty one is a heartbeat.

    The answer is kept, because every service that follows the feed gets the same one: making it
    costs many times sending it. Nobody may change it.
    """
    return model.WatchCostsResponse(
        changes=[_change(item, attributes) for item, attributes in page.items],
        sequence=str(page.position),
    )


def _change(item: FeedItem[CostChange], attributes: Attributes) -> model.CostChange:
    fact, code = item.fact, attributes.currency_code
    billed = _money(code, fact.billed_cost)
    change = model.CostChange(
        sequence=str(item.position),
        tenant_id=item.tenant_id,
        hour_time=_hour(fact.hour_at),
        dimension=dimension_message(fact.dimension_id, attributes),
        billed_cost=billed,
        # Most often all four are one amount.
        effective_cost=_same_or_new(billed, fact.billed_cost, fact.effective_cost),
        list_cost=_same_or_new(billed, fact.billed_cost, fact.list_cost),
        contracted_cost=_same_or_new(billed, fact.billed_cost, fact.contracted_cost),
        quantity=format_decimal(fact.quantity),
        events=fact.events,
        failed_events=fact.failed_events,
        unpriced_events=fact.unpriced_events,
        retries=fact.retries,
        utilization_samples=fact.utilization_samples,
        is_correction=fact.is_correction,
        traceparent=item.traceparent or "",
    )
    if item.appended_at is not None:
        change.recorded_time.FromDatetime(item.appended_at)
    return change


def _money(code: str, amount: Decimal) -> Money:
    return Money(currency_code=code, amount=format_decimal(amount))


def _same_or_new(known: Money, known_amount: Decimal, amount: Decimal) -> Money:
    return known if amount == known_amount else _money(known.currency_code, amount)


# A feed names few hours and few combinations of attributes, again and again.
_hour = lru_cache(maxsize=1_000)(from_instant)


@lru_cache(maxsize=10_000)
def dimension_message(dimension_id: int, attributes: Attributes) -> model.CostDimension:
    """Converts a dimension; remembered, so nobody may change it."""
    fields = attributes._asdict() | {"tags": dict(attributes.tags)}
    return model.CostDimension(dimension_id=str(dimension_id), **fields)


def from_reconciliation(found: Reconciliation) -> model.ReconcileUsageResponse:
    """Converts what was compared and what differs."""
    return model.ReconcileUsageResponse(
        drifts=[_drift(drift) for drift in found.drifts],
        days_checked=found.days_checked,
        raw_events=found.raw_events,
        rolled_up_events=found.rolled_up_events,
        feed_events=found.feed_events,
        days_repaired=found.days_repaired,
    )


def _drift(drift: Drift) -> model.UsageDrift:
    one = drift.comparison
    return model.UsageDrift(
        tenant_id=drift.tenant_id,
        date=one.day.isoformat(),
        compared=one.compared,
        event_difference=one.event_difference,
        quantity_difference=format_decimal(one.quantity_difference),
        cost_difference=format_decimal(one.cost_difference),
    )


def from_archive(months: Sequence[ArchivedMonth]) -> model.ArchiveUsageResponse:
    """Converts archived months."""
    return model.ArchiveUsageResponse(
        months=[
            model.ArchivedMonth(
                month=f"{month.month:%Y-%m}",
                events=month.events,
                file_bytes=month.file_bytes,
                file_path=month.file_path,
            )
            for month in months
        ]
    )
