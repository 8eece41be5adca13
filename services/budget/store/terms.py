"""A budget's terms as the JSON of a version's row."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.scope import PLAIN, Scope
from services.budget.domain.terms import (
    BudgetTerms,
    CostType,
    Enforcement,
    PlannedPoint,
    Rollover,
    Throttle,
    UnpricedPolicy,
)
from services.budget.domain.threshold import Basis, Severity, Threshold
from services.kernel.money import Money, format_decimal
from services.kernel.period import Period


def terms_json(terms: BudgetTerms) -> dict[str, Any]:
    """Returns what is stored; `terms_of` gives the same terms back."""
    return {
        "display_name": terms.display_name,
        "description": terms.description,
        "scope": _scope_json(terms.scope),
        "rule": _rule_json(terms.rule),
        "amount": format_decimal(terms.amount.amount),
        "currency_code": terms.amount.currency_code,
        "enforcement": terms.enforcement.value,
        "throttle": {
            "start_ratio": format_decimal(terms.throttle.start_ratio),
            "authorizations_per_second": format_decimal(terms.throttle.authorizations_per_second),
        },
        "unpriced_policy": terms.unpriced_policy.value,
        "cost_type": terms.cost_type.value,
        "includes_allocated": terms.includes_allocated,
        "thresholds": [
            {
                "ratio": format_decimal(each.ratio),
                "basis": each.basis.value,
                "severity": each.severity.value,
                "channel_ids": list(each.channel_ids),
            }
            for each in terms.thresholds
        ],
        "channel_ids": list(terms.channel_ids),
        "recipients": list(terms.recipients),
        "escalation_policy_id": terms.escalation_policy_id,
        "rollover": {
            "is_enabled": terms.rollover.is_enabled,
            "cap_ratio": format_decimal(terms.rollover.cap_ratio),
            "cap_amount": _decimal_json(terms.rollover.cap_amount),
            "carries_overspend": terms.rollover.carries_overspend,
        },
        "plan": [
            [format_decimal(point.period_ratio), format_decimal(point.amount_ratio)]
            for point in terms.plan
        ],
        "start_at": _instant_json(terms.start_at),
        "end_at": _instant_json(terms.end_at),
        "labels": dict(terms.labels),
    }


def terms_of(stored: dict[str, Any]) -> BudgetTerms:
    """Returns the terms of a row."""
    rollover, throttle = stored["rollover"], stored["throttle"]
    return BudgetTerms(
        display_name=stored["display_name"],
        description=stored["description"],
        scope=_scope_of(stored["scope"]),
        rule=_rule_of(stored["rule"]),
        amount=Money(stored["currency_code"], Decimal(stored["amount"])),
        enforcement=Enforcement(stored["enforcement"]),
        throttle=Throttle(
            Decimal(throttle["start_ratio"]), Decimal(throttle["authorizations_per_second"])
        ),
        unpriced_policy=UnpricedPolicy(stored["unpriced_policy"]),
        cost_type=CostType(stored["cost_type"]),
        includes_allocated=stored["includes_allocated"],
        thresholds=tuple(
            Threshold(
                Decimal(each["ratio"]),
                Basis(each["basis"]),
                Severity(each["severity"]),
                tuple(each["channel_ids"]),
            )
            for each in stored["thresholds"]
        ),
        channel_ids=tuple(stored["channel_ids"]),
        recipients=tuple(stored["recipients"]),
        escalation_policy_id=stored["escalation_policy_id"],
        rollover=Rollover(
            rollover["is_enabled"],
            Decimal(rollover["cap_ratio"]),
            _decimal_of(rollover["cap_amount"]),
            rollover["carries_overspend"],
        ),
        plan=tuple(PlannedPoint(Decimal(x), Decimal(y)) for x, y in stored["plan"]),
        start_at=_instant_of(stored["start_at"]),
        end_at=_instant_of(stored["end_at"]),
        labels=tuple(sorted(stored["labels"].items())),
    )


def _scope_json(scope: Scope) -> dict[str, Any]:
    return {
        "department_id": scope.department_id,
        "is_subtree_excluded": scope.is_subtree_excluded,
        "manager_id": scope.manager_id,
        "tags": dict(scope.tags),
        **{name: getattr(scope, name) for name in PLAIN},
    }


def _scope_of(stored: dict[str, Any]) -> Scope:
    return Scope(**{**stored, "tags": tuple(sorted(stored["tags"].items()))})


def _rule_json(rule: PeriodRule) -> dict[str, Any]:
    custom = rule.custom_period
    return {
        "cadence": rule.cadence.value,
        "time_zone": rule.time_zone,
        "anchor_at": _instant_json(rule.anchor_at),
        "first_weekday": rule.first_weekday,
        "first_month": rule.first_month,
        "custom_days": rule.custom_days,
        "custom_start_at": _instant_json(custom.start if custom is not None else None),
        "custom_end_at": _instant_json(custom.end if custom is not None else None),
    }


def _rule_of(stored: dict[str, Any]) -> PeriodRule:
    start, end = _instant_of(stored["custom_start_at"]), _instant_of(stored["custom_end_at"])
    return PeriodRule(
        cadence=Cadence(stored["cadence"]),
        time_zone=stored["time_zone"],
        anchor_at=_instant_of(stored["anchor_at"]),
        first_weekday=stored["first_weekday"],
        first_month=stored["first_month"],
        custom_days=stored["custom_days"],
        custom_period=Period(start, end) if start is not None and end is not None else None,
    )


def _instant_json(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant_of(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


def _decimal_json(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value)


def _decimal_of(stored: str | None) -> Decimal | None:
    return None if stored is None else Decimal(stored)
