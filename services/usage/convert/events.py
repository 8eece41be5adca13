"""Stored events and amendments between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence

from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import usage_model_pb2 as model
from finops.usage.v1 import usage_service_pb2 as messages

from services.kernel.errors import FieldViolations
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.validation import violations_of
from services.usage.convert.costs import from_instant
from services.usage.convert.usage import to_event
from services.usage.convert.validity import semantic_violations
from services.usage.domain.rating import RatingLine
from services.usage.domain.stored_event import StoredEvent
from services.usage.service.amending import Amendment
from services.usage.service.events import EventDetail

_SERVICE = "finops.usage.v1.UsageService"


def to_page(request: messages.ListUsageEventsRequest, tenant_id: str) -> PageRequest:
    """Returns which page of events is asked."""
    return PageRequest(
        tenant_id=tenant_id,
        method=f"{_SERVICE}/ListUsageEvents",
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
        arguments={"start": request.start, "end": request.end},
    )


def to_amendment(request: messages.AmendUsageRequest, tenant_id: str) -> Amendment:
    """Converts a correction. Raises FieldViolations for a replacement that is not valid."""
    replacement = None
    if request.HasField("replacement"):
        found = violations_of(request.replacement) or semantic_violations(request.replacement)
        if found:
            raise FieldViolations([(f"replacement.{field}", text) for field, text in found])
        replacement = to_event(request.replacement)
    return Amendment(
        tenant_id=tenant_id,
        source=request.source,
        event_id=request.event_id,
        reason=request.amend_reason,
        replacement=replacement,
    )


def from_events(page: Page[StoredEvent]) -> messages.ListUsageEventsResponse:
    """Converts a page of events."""
    return messages.ListUsageEventsResponse(
        events=[from_stored(stored) for stored in page.items],
        next_page_token=page.next_page_token,
    )


def from_detail(detail: EventDetail) -> messages.GetUsageEventResponse:
    """Converts one event with its rating, revisions and rules."""
    stored = detail.current
    message = from_stored(stored)
    currency = stored.event.attributes.currency_code
    message.rating.extend(_rating_line(line, currency) for line in detail.lines)
    message.revisions.extend(_revisions(detail.history))
    message.allocation_rule_ids.extend(detail.rule_ids)
    return messages.GetUsageEventResponse(event=message)


def from_stored(stored: StoredEvent) -> model.StoredUsageEvent:
    """Converts an event as it stands."""
    event, costs = stored.event, stored.costs
    attributes = event.attributes
    cost = model.UsageCost(
        currency_code=attributes.currency_code,
        billed=format_decimal(costs.billed),
        effective=format_decimal(costs.effective),
        list=format_decimal(costs.list),
        contracted=format_decimal(costs.contracted),
    )
    message = model.UsageEvent(
        event_id=event.event_id,
        source=event.source,
        tenant_id=stored.tenant_id,
        start_time=from_instant(event.start_at),
        end_time=from_instant(event.end_at),
        resource_type=attributes.resource_type,
        quantity=format_decimal(event.quantity),
        unit=attributes.unit,
        components=[
            model.UsageComponent(meter=meter, quantity=format_decimal(quantity))
            for meter, quantity in event.components
        ],
        cost=cost if event.cost is not None else None,
        user_id=attributes.user_id,
        department=attributes.department,
        project=attributes.project,
        resource_id=attributes.resource_id,
        service=attributes.service,
        service_category=attributes.service_category,
        provider=attributes.provider,
        region=attributes.region,
        sub_account_id=attributes.sub_account_id,
        charge_category=attributes.charge_category,
        tags=dict(attributes.tags),
        outcome=model.Outcome.Name(event.outcome),  # type: ignore[arg-type]
        error_code=event.error_code,
        retries=event.retries,
        latency_ms=event.latency_ms,
        capacity=None if event.capacity is None else format_decimal(event.capacity),
        utilization=event.utilization,
    )
    return model.StoredUsageEvent(
        event=message,
        tenant_id=stored.tenant_id,
        sequence=f"{stored.sequence:019d}",
        recorded_time=from_instant(stored.recorded_at),
        cost=cost,
        is_unpriced=stored.is_unpriced,
        revision=stored.revision,
        is_voided=stored.is_voided,
        resolved_department=stored.resolved_department,
    )


def _rating_line(line: RatingLine, currency_code: str) -> model.RatingLine:
    return model.RatingLine(
        meter=line.meter,
        quantity=format_decimal(line.quantity),
        unit_price="" if line.unit_price is None else format_decimal(line.unit_price),
        multiplier=format_decimal(line.multiplier),
        price_id=line.price_id,
        cost=Money(currency_code=currency_code, amount=format_decimal(line.amount)),
    )


def _revisions(history: Sequence[StoredEvent]) -> list[model.UsageRevision]:
    return [
        model.UsageRevision(
            revision=row.revision,
            recorded_time=from_instant(row.recorded_at),
            quantity=format_decimal(row.event.quantity),
            billed_cost=Money(
                currency_code=row.event.attributes.currency_code,
                amount=format_decimal(row.costs.billed),
            ),
            is_reversal=row.weight < 0,
            amend_reason=row.amend_reason,
        )
        for row in history
    ]
