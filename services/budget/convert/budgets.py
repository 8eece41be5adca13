"""Budgets between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from finops.budget.v1 import budget_model_pb2 as models
from finops.budget.v1 import budget_service_pb2 as messages
from google.protobuf.message import Message

from services.budget.convert.instants import from_instant, to_optional
from services.budget.convert.terms import from_terms, to_terms
from services.budget.domain.budget import Budget, BudgetState, BudgetVersion
from services.budget.domain.terms import BudgetTerms, default_unpriced
from services.budget.service.budgets import BudgetDraft, BudgetUpdate
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

SERVICE: Final = "finops.budget.v1.BudgetService"
_UPDATABLE: Final = (
    *("display_name", "description", "scope", "cadence", "period_rule", "amount", "enforcement"),
    *("throttle", "unpriced_policy", "cost_type", "include_allocated", "thresholds"),
    *("channel_ids", "recipients", "escalation_policy_id", "rollover", "plan", "start_time"),
    *("end_time", "labels"),
)
_IGNORED: Final = (
    *("budget_id", "tenant_id", "state", "version", "etag", "create_subject"),
    *("create_time", "update_time"),
)


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/{method}")


def to_draft(request: messages.CreateBudgetRequest, tenant_id: str) -> BudgetDraft:
    """Converts a budget to create."""
    return BudgetDraft(tenant_id, to_builder(request.budget), is_draft=request.draft)


def to_builder(message: models.Budget) -> Callable[[str, datetime], BudgetTerms]:
    """Returns what makes the terms, given the tenant's zone and the instant of creation."""
    return lambda time_zone, now: to_terms(message, time_zone, now)


def to_update(request: messages.UpdateBudgetRequest) -> BudgetUpdate:
    """Converts a change. Raises UnknownMaskPath."""
    message = request.budget
    mask = fields_to_update(message, request.update_mask, updatable=_UPDATABLE, ignored=_IGNORED)
    return BudgetUpdate(
        budget_id=message.budget_id,
        etag=message.etag,
        effective_at=to_optional(request, "effective_time"),
        note=request.reason,
        change=lambda terms, now: changed_terms(terms, message, mask, now),
    )


def set_fields(message: models.Budget) -> frozenset[str]:
    """Returns the names of the fields that are set and can be changed."""
    return frozenset(field.name for field, _ in message.ListFields()).intersection(_UPDATABLE)


def changed_terms(
    terms: BudgetTerms, message: models.Budget, fields: frozenset[str], now: datetime
) -> BudgetTerms:
    """Returns the terms with the named fields taken from a message. Raises FieldViolations."""
    merged = from_terms(terms)
    for name in fields:
        merged.ClearField(name)  # type: ignore[arg-type]
        chosen = models.Budget()
        chosen.CopyFrom(message)
        for field, _ in message.ListFields():
            if field.name != name:
                chosen.ClearField(field.name)  # type: ignore[arg-type]
        merged.MergeFrom(chosen)
    is_default = terms.unpriced_policy is default_unpriced(terms.enforcement)
    if "enforcement" in fields and "unpriced_policy" not in fields and is_default:
        merged.ClearField("unpriced_policy")  # the default of the new enforcement
    return to_terms(merged, terms.rule.time_zone, now)


def to_at_time(request: Message, now: datetime) -> datetime:
    """Returns the instant that a request names in `at_time`, default now."""
    return to_optional(request, "at_time") or now


def from_state(state: BudgetState) -> models.BudgetState.ValueType:
    """Converts where a budget is in its life."""
    return models.BudgetState.Value(f"BUDGET_STATE_{state.name}")


def from_budget(budget: Budget, version: BudgetVersion, now: datetime) -> models.Budget:
    """Converts a budget as a version has it."""
    message = from_terms(version.terms)
    message.budget_id = budget.budget_id
    message.tenant_id = budget.tenant_id
    message.state = from_state(budget.state_at(now))
    message.version = version.number
    message.etag = budget.etag
    message.create_subject = budget.created_by
    message.create_time.CopyFrom(from_instant(budget.created_at))
    message.update_time.CopyFrom(from_instant(budget.newest.created_at))
    if budget.started_at is not None:
        message.start_time.CopyFrom(from_instant(budget.started_at))
    if budget.counts_until is not None:
        message.end_time.CopyFrom(from_instant(budget.counts_until))
    return message


def from_budgets(page: Page[Budget], now: datetime) -> messages.ListBudgetsResponse:
    """Converts a page, each budget as it is in force now."""
    return messages.ListBudgetsResponse(
        budgets=[from_budget(each, each.version_at(now), now) for each in page.items],
        next_page_token=page.next_page_token,
    )
