"""Allocation rules and previews between contract and domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import allocation_model_pb2 as models
from finops.usage.v1 import allocation_service_pb2 as messages

from services.kernel.listing import page_request
from services.kernel.money import format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.usage.convert.costs import from_instant
from services.usage.convert.usage import to_instant
from services.usage.domain.allocation_rule import (
    DEFAULT_PRIORITY,
    AllocationMethod,
    AllocationRule,
)
from services.usage.service.allocating import PreviewedAllocation

_METHOD = "finops.usage.v1.AllocationService/ListAllocationRules"
# The contract's name of each field that an update may change, and the domain's.
_FIELDS = {
    "display_name": "display_name",
    "priority": "priority",
    "source": "source",
    "method": "method",
    "target_dimension": "target_dimension",
    "targets": "targets",
    "driver_resource_type": "driver_resource_type",
    "driver_unit": "driver_unit",
    "effective_start_time": "effective_start_at",
    "effective_end_time": "effective_end_at",
}


def to_rule(message: models.AllocationRule) -> AllocationRule:
    """Converts a rule, with its defaults filled in. Raises InvalidAllocationRule."""
    has_start = message.HasField("effective_start_time")
    has_end = message.HasField("effective_end_time")
    return AllocationRule(
        allocation_rule_id=message.allocation_rule_id,
        display_name=message.display_name,
        priority=message.priority or DEFAULT_PRIORITY,
        source=tuple((condition.dimension, condition.value) for condition in message.source),
        method=AllocationMethod(message.method),
        target_dimension=message.target_dimension,
        targets=tuple(
            (target.value, parse_decimal(target.weight or "0")) for target in message.targets
        ),
        driver_resource_type=message.driver_resource_type,
        driver_unit=message.driver_unit,
        effective_start_at=to_instant(message.effective_start_time) if has_start else None,
        effective_end_at=to_instant(message.effective_end_time) if has_end else None,
    )


def from_rule(rule: AllocationRule) -> models.AllocationRule:
    """Converts a stored rule."""
    message = models.AllocationRule(
        allocation_rule_id=rule.allocation_rule_id,
        display_name=rule.display_name,
        priority=rule.priority,
        source=[
            models.AllocationCondition(dimension=dimension, value=value)
            for dimension, value in rule.source
        ],
        method=models.AllocationMethod.Name(rule.method.value),  # type: ignore[arg-type]
        target_dimension=rule.target_dimension,
        targets=[
            models.AllocationTarget(value=value, weight=format_decimal(weight))
            for value, weight in rule.targets
        ],
        driver_resource_type=rule.driver_resource_type,
        driver_unit=rule.driver_unit,
        version=rule.version,
    )
    if rule.effective_start_at is not None:
        message.effective_start_time.CopyFrom(from_instant(rule.effective_start_at))
    if rule.effective_end_at is not None:
        message.effective_end_time.CopyFrom(from_instant(rule.effective_end_at))
    return message


def to_page(request: messages.ListAllocationRulesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=_METHOD)


def from_rules(page: Page[AllocationRule]) -> messages.ListAllocationRulesResponse:
    """Converts a page."""
    return messages.ListAllocationRulesResponse(
        allocation_rules=[from_rule(rule) for rule in page.items],
        next_page_token=page.next_page_token,
    )


def changed_fields(request: messages.UpdateAllocationRuleRequest) -> frozenset[str]:
    """Returns the domain's names of the fields that an update changes. Raises UnknownMaskPath."""
    fields = fields_to_update(
        request.allocation_rule,
        request.update_mask,
        updatable=_FIELDS,
        ignored=("allocation_rule_id", "version"),
    )
    return frozenset(_FIELDS[name] for name in fields)


def to_change(
    request: messages.UpdateAllocationRuleRequest, fields: frozenset[str]
) -> Callable[[AllocationRule], AllocationRule]:
    """Returns what the update makes of a rule."""
    wanted = to_rule(request.allocation_rule)
    values: dict[str, Any] = {name: getattr(wanted, name) for name in fields}
    return lambda rule: replace(rule, **values)


def to_candidate(request: messages.PreviewAllocationRequest) -> AllocationRule | None:
    """Returns the rule to try, None without one. Raises InvalidAllocationRule."""
    return to_rule(request.candidate) if request.HasField("candidate") else None


def from_preview(previewed: PreviewedAllocation) -> messages.PreviewAllocationResponse:
    """Converts what would be moved."""
    return messages.PreviewAllocationResponse(
        lines=[
            models.AllocationLine(
                allocation_rule_id=line.allocation_rule_id,
                version=line.version,
                target_dimension=line.target_dimension,
                target=line.target,
                weight=format_decimal(line.weight),
                cost=Money(currency_code=line.currency_code, amount=format_decimal(line.amount)),
            )
            for line in previewed.lines
        ],
        totals_before=_totals(previewed.before),
        totals_after=_totals(previewed.after),
    )


def _totals(amounts: Mapping[str, Decimal]) -> list[Money]:
    return [
        Money(currency_code=code, amount=format_decimal(amounts[code])) for code in sorted(amounts)
    ]
