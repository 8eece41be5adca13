"""Cost changes, reconciliations and archives between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence

from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import cost_model_pb2 as model

from services.kernel.feed import FeedItem
from services.kernel.money import format_decimal
from services.usage.convert.costs import from_instant
from services.usage.domain.cost_change import CostChange
from services.usage.domain.event import Attributes
from services.usage.service.archiving import ArchivedMonth
from services.usage.service.reconciling import Drift, Reconciliation
from services.usage.service.watching import ChangePage

WATCH_BATCH = 500


def from_page(page: ChangePage) -> model.WatchCostsResponse:
    """Converts a page of changes; an empty one is a heartbeat."""
    return model.WatchCostsResponse(
        changes=[_change(item, attributes) for item, attributes in page.items],
        sequence=str(page.position),
    )


def _change(item: FeedItem[CostChange], attributes: Attributes) -> model.CostChange:
    fact, code = item.fact, attributes.currency_code
    change = model.CostChange(
        sequence=str(item.position),
        tenant_id=item.tenant_id,
        hour_time=from_instant(fact.hour_at),
        dimension=_dimension(fact.dimension_id, attributes),
        billed_cost=Money(currency_code=code, amount=format_decimal(fact.billed_cost)),
        effective_cost=Money(currency_code=code, amount=format_decimal(fact.effective_cost)),
        list_cost=Money(currency_code=code, amount=format_decimal(fact.list_cost)),
        contracted_cost=Money(currency_code=code, amount=format_decimal(fact.contracted_cost)),
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
        change.recorded_time.CopyFrom(from_instant(item.appended_at))
    return change


def _dimension(dimension_id: int, attributes: Attributes) -> model.CostDimension:
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
