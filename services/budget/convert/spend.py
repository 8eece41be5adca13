"""Spend decisions between contract and domain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from finops.budget.v1 import budget_model_pb2, spend_messages_pb2, spend_model_pb2
from google.protobuf.message import Message

from services.budget.convert.instants import to_money
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend import (
    BudgetCheck,
    CostEstimate,
    SpendAuthorization,
    SpendDecision,
)
from services.budget.domain.terms import Enforcement
from services.budget.service.asking import SpendQuestion
from services.budget.service.spend_request import Release, Settle
from services.kernel.caller import Caller
from services.kernel.listing import page_request
from services.kernel.money import Money, format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest

HOLD_DEFAULT: Final = timedelta(minutes=15)
_PROGRAMS: Final = ("service:", "api_key:")
_LIST_METHOD: Final = "finops.budget.v1.BudgetService/ListSpendAuthorizations"
_ENFORCEMENTS: Final = {
    Enforcement.ALERT: budget_model_pb2.BUDGET_ENFORCEMENT_ALERT,
    Enforcement.THROTTLE: budget_model_pb2.BUDGET_ENFORCEMENT_THROTTLE,
    Enforcement.HARD: budget_model_pb2.BUDGET_ENFORCEMENT_HARD,
}


def to_question(
    request: spend_messages_pb2.AuthorizeSpendRequest, tenant_id: str, caller: Caller
) -> SpendQuestion:
    """Converts a request. The user is by default the caller, when that is a person."""
    subject = request.subject
    is_person = not caller.subject.startswith(_PROGRAMS)
    return SpendQuestion(
        tenant_id=tenant_id,
        subject=SpendAttributes(
            user_id=subject.user_id or (caller.subject if is_person else ""),
            department_id=subject.department_id,
            project=subject.project,
            resource_type=subject.resource_type,
            resource_id=subject.resource_id,
            service=subject.service,
            provider=subject.provider,
            region=subject.region,
            tags=tuple(sorted(subject.tags.items())) if subject.tags else (),
        ),
        amount=to_money(request.amount) if request.HasField("amount") else None,
        usage=_quantities(request.usage),
        usage_max=_quantities(request.usage_max),
        hold_for=(
            request.hold_duration.ToTimedelta()
            if request.HasField("hold_duration")
            else HOLD_DEFAULT
        ),
        usage_source=request.usage_source,
        usage_event_id=request.usage_event_id,
        is_trial=request.validate_only,
        request_id=request.request_id,
        digest=_digest(request),
    )


def to_settle(request: spend_messages_pb2.SettleSpendRequest, tenant_id: str) -> Settle:
    """Converts a request."""
    return Settle(
        tenant_id,
        request.authorization_id,
        to_money(request.cost),
        request.usage_source,
        request.usage_event_id,
        request.request_id,
        _digest(request),
    )


def to_release(request: spend_messages_pb2.ReleaseSpendRequest, tenant_id: str) -> Release:
    """Converts a request."""
    return Release(
        tenant_id, request.authorization_id, request.reason, request.request_id, _digest(request)
    )


def to_page(
    request: spend_messages_pb2.ListSpendAuthorizationsRequest, tenant_id: str
) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=_LIST_METHOD)


def from_page(
    page: Page[SpendAuthorization],
) -> spend_messages_pb2.ListSpendAuthorizationsResponse:
    """Converts a page."""
    return spend_messages_pb2.ListSpendAuthorizationsResponse(
        authorizations=[from_authorization(item) for item in page.items],
        next_page_token=page.next_page_token,
    )


def from_authorization(one: SpendAuthorization) -> spend_model_pb2.SpendAuthorization:
    """Converts an authorization.

    Written as nested mappings, which protobuf takes in one step: messages inside messages are
    copied at each level, and this is part of every answer.
    """
    code = one.held.currency_code
    subject = one.subject
    return spend_model_pb2.SpendAuthorization(
        authorization_id=one.authorization_id,
        tenant_id=one.tenant_id,
        state=int(one.state),  # type: ignore[arg-type] # numbers are the contract's
        subject=_fields(
            user_id=subject.user_id,
            department_id=subject.department_id,
            project=subject.project,
            resource_type=subject.resource_type,
            resource_id=subject.resource_id,
            service=subject.service,
            provider=subject.provider,
            region=subject.region,
            tags=dict(subject.tags),
        ),
        decision=_decision(one.decision),
        held=_amount(code, one.held.amount),
        settled=None if one.settled is None else _money(one.settled),
        excess=_amount(code, one.excess),
        settled_late=one.is_settled_late,
        usage_source=one.usage_source,
        usage_event_id=one.usage_event_id,
        request_id=one.request_id,
        create_time=_stamp(one.created_at),
        expire_time=_stamp(one.expires_at),
        end_time=_stamp(one.ended_at),
    )


def _decision(decision: SpendDecision) -> Any:
    return _fields(
        outcome=int(decision.outcome),
        asked=_money(decision.estimate.amount),
        estimate=_estimate(decision.estimate),
        checks=[_check(check) for check in decision.checks],
        retry_time=_stamp(decision.retry_at),
        explanation=decision.explanation,
    )


def _estimate(estimate: CostEstimate) -> Any:
    worst = estimate.worst_case
    return _fields(
        method=int(estimate.method),
        amount=_money(estimate.amount),
        worst_case=None if worst is None else _money(worst),
        quantile_ratio=_ratio(estimate.quantile),
        sample_count=estimate.sample_count,
        excess_probability_ratio=_ratio(estimate.excess_probability),
        explanation=estimate.explanation,
    )


def _check(check: BudgetCheck) -> Any:
    code = check.currency_code
    period = check.period
    return _fields(
        budget_id=check.budget_id,
        display_name=check.display_name,
        version=check.version,
        enforcement=_ENFORCEMENTS[check.enforcement],
        period=_fields(start_time=_stamp(period.start), end_time=_stamp(period.end)),
        limit=_amount(code, check.limit),
        spent=_amount(code, check.spent),
        held=_amount(code, check.held),
        asked=_amount(code, check.asked),
        remaining=_amount(code, check.remaining),
        exchange_rate=_ratio(check.rate),
        exchange_rate_date=check.rate_date,
        reset_time=_stamp(check.reset_at),
        blocking=check.is_blocking,
        reason=check.reason,
    )


def _money(money: Money) -> Any:
    return _amount(money.currency_code, money.amount)


def _amount(currency_code: str, amount: Decimal) -> Any:
    return {"currency_code": currency_code, "amount": format_decimal(amount)}


def _stamp(instant: datetime | None) -> Any:
    if instant is None:
        return None
    # A float tells microseconds apart until the year 2200, so none is rounded to the next second.
    return {"seconds": int(instant.timestamp()), "nanos": instant.microsecond * 1_000}


def _fields(**fields: Any) -> Any:
    """Returns a message as its fields; one that is None stays unset."""
    return fields


def _ratio(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)


def _quantities(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {meter: parse_decimal(text) for meter, text in texts.items()}


def _digest(request: Message) -> bytes:
    """Returns what tells two requests with one request_id apart."""
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()
