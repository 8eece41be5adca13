"""Spend decisions between contract and domain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from finops.budget.v1 import budget_model_pb2, spend_messages_pb2, spend_model_pb2
from finops.common.v1.money_pb2 import Money as MoneyMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

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
from services.kernel.money import format_decimal, parse_decimal
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


def from_decided(one: SpendAuthorization) -> spend_messages_pb2.AuthorizeSpendResponse:
    """Converts an authorization into the answer that carries it, without a copy between."""
    answer = spend_messages_pb2.AuthorizeSpendResponse()
    fill_authorization(answer.spend_authorization, one)
    return answer


def from_authorization(one: SpendAuthorization) -> spend_model_pb2.SpendAuthorization:
    """Converts an authorization.

    Field by field: that takes a sixth of what constructors or nested mappings take, and this is
    part of every answer.
    """
    message = spend_model_pb2.SpendAuthorization()
    fill_authorization(message, one)
    return message


def fill_authorization(
    message: spend_model_pb2.SpendAuthorization, one: SpendAuthorization
) -> None:
    """Converts an authorization into a new message, which may be a part of another."""
    code = one.held.currency_code
    message.authorization_id = one.authorization_id
    message.tenant_id = one.tenant_id
    message.state = int(one.state)  # type: ignore[assignment] # numbers are the contract's
    _fill_subject(message.subject, one.subject)
    _fill_decision(message.decision, one.decision)
    _fill_amount(message.held, code, one.held.amount)
    if one.settled is not None:
        _fill_amount(message.settled, one.settled.currency_code, one.settled.amount)
    _fill_amount(message.excess, code, one.excess)
    message.settled_late = one.is_settled_late
    message.usage_source = one.usage_source
    message.usage_event_id = one.usage_event_id
    message.request_id = one.request_id
    _fill_stamp(message.create_time, one.created_at)
    _fill_stamp(message.expire_time, one.expires_at)
    if one.ended_at is not None:
        _fill_stamp(message.end_time, one.ended_at)


def _fill_subject(message: spend_model_pb2.SpendSubject, subject: SpendAttributes) -> None:
    message.user_id = subject.user_id
    message.department_id = subject.department_id
    message.project = subject.project
    message.resource_type = subject.resource_type
    message.resource_id = subject.resource_id
    message.service = subject.service
    message.provider = subject.provider
    message.region = subject.region
    if subject.tags:
        message.tags.update(subject.tags)


def _fill_decision(message: spend_model_pb2.SpendDecision, decision: SpendDecision) -> None:
    message.outcome = int(decision.outcome)  # type: ignore[assignment] # numbers are the contract's
    asked = decision.estimate.amount
    _fill_amount(message.asked, asked.currency_code, asked.amount)
    _fill_estimate(message.estimate, decision.estimate)
    for check in decision.checks:
        _fill_check(message.checks.add(), check)
    if decision.retry_at is not None:
        _fill_stamp(message.retry_time, decision.retry_at)
    message.explanation = decision.explanation


def _fill_estimate(message: spend_model_pb2.CostEstimate, estimate: CostEstimate) -> None:
    amount, worst = estimate.amount, estimate.worst_case
    message.method = int(estimate.method)  # type: ignore[assignment] # numbers are the contract's
    _fill_amount(message.amount, amount.currency_code, amount.amount)
    if worst is not None:
        _fill_amount(message.worst_case, worst.currency_code, worst.amount)
    message.quantile_ratio = _ratio(estimate.quantile)
    message.sample_count = estimate.sample_count
    message.excess_probability_ratio = _ratio(estimate.excess_probability)
    message.explanation = estimate.explanation


def _fill_check(message: spend_model_pb2.BudgetCheck, check: BudgetCheck) -> None:
    code = check.currency_code
    period = check.period
    message.budget_id = check.budget_id
    message.display_name = check.display_name
    message.version = check.version
    message.enforcement = _ENFORCEMENTS[check.enforcement]
    _fill_stamp(message.period.start_time, period.start)
    _fill_stamp(message.period.end_time, period.end)
    _fill_amount(message.limit, code, check.limit)
    _fill_amount(message.spent, code, check.spent)
    _fill_amount(message.held, code, check.held)
    _fill_amount(message.asked, code, check.asked)
    _fill_amount(message.remaining, code, check.remaining)
    message.exchange_rate = _ratio(check.rate)
    message.exchange_rate_date = check.rate_date
    if check.reset_at is not None:
        _fill_stamp(message.reset_time, check.reset_at)
    message.blocking = check.is_blocking
    message.reason = check.reason


def _fill_amount(message: MoneyMessage, currency_code: str, amount: Decimal) -> None:
    message.currency_code = currency_code
    message.amount = format_decimal(amount)


def _fill_stamp(message: Timestamp, instant: datetime) -> None:
    # A float tells microseconds apart until the year 2200, so none is rounded to the next second.
    message.seconds = int(instant.timestamp())
    message.nanos = instant.microsecond * 1_000


def _ratio(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)


def _quantities(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {meter: parse_decimal(text) for meter, text in texts.items()}


def _digest(request: Message) -> bytes:
    """Returns what tells two requests with one request_id apart."""
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()
