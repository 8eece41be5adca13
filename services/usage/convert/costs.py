"""Cost questions and answers between contract and domain."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from finops.common.v1.money_pb2 import Money
from finops.common.v1.period_pb2 import Period as PeriodMessage
from finops.usage.v1 import cost_model_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.money import format_decimal
from services.kernel.pagination import PageRequest
from services.kernel.period import Granularity, Period
from services.usage.domain.answer import AppliedRate, CostGroup, CostSum
from services.usage.domain.question import CostQuestion, CostType, read_period
from services.usage.service.costs import CostPage

METHOD = "finops.usage.v1.UsageService/QueryCosts"


def to_question(
    request: cost_model_pb2.QueryCostsRequest, tenant_id: str, tz: ZoneInfo, now: datetime
) -> CostQuestion:
    """Converts a request, with its defaults filled in."""
    return CostQuestion(
        tenant_id=tenant_id,
        period=read_period(request.start, request.end, tz, now=now),
        tz=tz,
        group_by=tuple(request.group_by),
        granularity=Granularity(request.granularity or "total"),
        filter=request.filter,
        cost_type=CostType[(request.cost_type or "billed").upper()],
        currency_code=request.currency,
        has_previous=request.compare_previous,
        is_allocated=request.allocated,
    )


def to_page(request: cost_model_pb2.QueryCostsRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked, bound to everything else that is asked."""
    return PageRequest(
        tenant_id=tenant_id,
        method=METHOD,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
        arguments={
            "group_by": ",".join(request.group_by),
            "start": request.start,
            "end": request.end,
            "granularity": request.granularity,
            "cost_type": request.cost_type,
            "currency": request.currency,
            "compare_previous": str(request.compare_previous),
            "allocated": str(request.allocated),
        },
    )


def from_page(page: CostPage, question: CostQuestion) -> cost_model_pb2.QueryCostsResponse:
    """Converts one page of an answer."""
    answer = page.answer
    return cost_model_pb2.QueryCostsResponse(
        rows=[_row(group, question.group_by) for group in page.groups],
        totals=[_total(total) for total in answer.totals],
        next_page_token=page.next_page_token,
        period=from_period(answer.period),
        time_zone=answer.time_zone,
        exchange_rates=[_rate(rate) for rate in answer.rates],
        sequence=answer.position,
        newest_sequence=answer.newest,
    )


def _row(group: CostGroup, group_by: tuple[str, ...]) -> cost_model_pb2.CostRow:
    row = cost_model_pb2.CostRow(
        group=dict(zip(group_by, group.keys, strict=True)),
        cost=Money(currency_code=group.currency_code, amount=format_decimal(group.cost)),
        quantity="" if group.quantity is None else format_decimal(group.quantity),
        unit=group.unit,
        events=group.events,
        unpriced_events=group.unpriced_events,
        failed_events=group.failed_events,
        allocation_rule_ids=group.rule_ids,
    )
    if group.start_at is not None:
        row.start_time.CopyFrom(from_instant(group.start_at))
    if group.previous_cost is not None:
        row.previous_cost.currency_code = group.currency_code
        row.previous_cost.amount = format_decimal(group.previous_cost)
    return row


def _total(total: CostSum) -> cost_model_pb2.CostTotal:
    message = cost_model_pb2.CostTotal(
        cost=Money(currency_code=total.currency_code, amount=format_decimal(total.cost)),
        events=total.events,
        unpriced_events=total.unpriced_events,
        groups=total.groups,
    )
    if total.previous_cost is not None:
        message.previous_cost.currency_code = total.currency_code
        message.previous_cost.amount = format_decimal(total.previous_cost)
    return message


def _rate(rate: AppliedRate) -> cost_model_pb2.ExchangeRate:
    return cost_model_pb2.ExchangeRate(
        from_currency=rate.from_currency,
        to_currency=rate.to_currency,
        usage_date=rate.usage_date.isoformat(),
        rate_date=rate.rate_date.isoformat(),
        rate=format_decimal(rate.rate),
    )


def from_period(period: Period) -> PeriodMessage:
    """Converts a period."""
    return PeriodMessage(start_time=from_instant(period.start), end_time=from_instant(period.end))


def from_instant(instant: datetime) -> Timestamp:
    """Converts an aware instant."""
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp
