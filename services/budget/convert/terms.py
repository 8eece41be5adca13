"""What an owner says about a budget, between contract and domain."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from finops.budget.v1 import budget_model_pb2 as models

from services.budget.convert.instants import (
    from_amount,
    from_money,
    from_optional,
    from_period,
    to_money,
    to_optional,
    to_period,
)
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
    default_unpriced,
)
from services.budget.domain.threshold import (
    DEFAULT_THRESHOLDS,
    Basis,
    Severity,
    Threshold,
    severity_of,
)
from services.kernel.errors import FieldViolations
from services.kernel.money import format_decimal, parse_decimal


def named(number: int, prefix: str, kind: Any, enum: Any) -> Any:
    """Returns the domain's member of a contract's number. enum: the contract's."""
    return kind[enum.Name(number).removeprefix(prefix)]


def to_terms(message: models.Budget, time_zone: str, now: datetime) -> BudgetTerms:
    """Converts what an owner says, with the defaults filled in. Raises FieldViolations."""
    enforcement = (
        named(message.enforcement, "BUDGET_ENFORCEMENT_", Enforcement, models.BudgetEnforcement)
        if message.enforcement
        else Enforcement.ALERT
    )
    return BudgetTerms(
        display_name=message.display_name,
        description=message.description,
        scope=to_scope(message.scope),
        rule=to_rule(message, time_zone, now),
        amount=to_money(message.amount),
        enforcement=enforcement,
        throttle=_to_throttle(message.throttle),
        unpriced_policy=_to_unpriced(message, enforcement),
        cost_type=CostType(message.cost_type or "billed"),
        includes_allocated=message.include_allocated,
        thresholds=tuple(map(to_threshold, message.thresholds)) or DEFAULT_THRESHOLDS,
        channel_ids=tuple(message.channel_ids),
        recipients=tuple(message.recipients),
        escalation_policy_id=message.escalation_policy_id,
        rollover=_to_rollover(message),
        plan=tuple(
            PlannedPoint(parse_decimal(each.period_ratio), parse_decimal(each.amount_ratio))
            for each in message.plan
        ),
        start_at=to_optional(message, "start_time"),
        end_at=to_optional(message, "end_time"),
        labels=tuple(sorted(message.labels.items())),
    )


def to_scope(message: models.BudgetScope) -> Scope:
    """Converts a scope. Raises FieldViolations."""
    return Scope(
        department_id=message.department_id,
        is_subtree_excluded=message.exclude_subdepartments,
        manager_id=message.manager_id,
        tags=tuple(sorted(message.tags.items())),
        **{name: getattr(message, name) for name in PLAIN},
    )


def to_rule(message: models.Budget, time_zone: str, now: datetime) -> PeriodRule:
    """Converts where periods begin. Raises FieldViolations, UnknownTimeZone, InvalidPeriod."""
    rule = message.period_rule
    cadence = named(message.cadence, "BUDGET_CADENCE_", Cadence, models.BudgetCadence)
    custom = to_period(rule.custom_period) if rule.HasField("custom_period") else None
    anchor_at = to_optional(rule, "anchor_time")
    if anchor_at is None and rule.custom_days:
        anchor_at = to_optional(message, "start_time") or now
    return PeriodRule(
        cadence=cadence,
        time_zone=rule.time_zone or time_zone,
        anchor_at=anchor_at,
        first_weekday=max(rule.first_weekday - 1, 0),  # the contract's Monday is 1
        first_month=rule.first_month or 1,
        custom_days=rule.custom_days,
        custom_period=custom,
    )


def to_threshold(message: models.AlertThreshold) -> Threshold:
    """Converts a threshold."""
    ratio = parse_decimal(message.threshold_ratio)
    return Threshold(
        ratio=ratio,
        basis=named(message.basis, "THRESHOLD_BASIS_", Basis, models.ThresholdBasis)
        if message.basis
        else Basis.ACTUAL,
        severity=named(message.severity, "ALERT_SEVERITY_", Severity, models.AlertSeverity)
        if message.severity
        else severity_of(ratio),
        channel_ids=tuple(message.channel_ids),
    )


def _to_throttle(message: models.ThrottlePolicy) -> Throttle:
    throttle = Throttle(
        parse_decimal(message.start_ratio or "0.9"),
        parse_decimal(message.authorizations_per_second or "1"),
    )
    if throttle.authorizations_per_second <= 0:
        raise FieldViolations(
            [("budget.throttle.authorizations_per_second", "must be more than zero")]
        )
    return throttle


def _to_unpriced(message: models.Budget, enforcement: Enforcement) -> UnpricedPolicy:
    if not message.unpriced_policy:
        return default_unpriced(enforcement)
    return UnpricedPolicy[
        models.UnpricedPolicy.Name(message.unpriced_policy).removeprefix("UNPRICED_POLICY_")
    ]


def _to_rollover(message: models.Budget) -> Rollover:
    rollover = message.rollover
    cap = to_money(rollover.cap_amount) if rollover.HasField("cap_amount") else None
    if cap is not None and cap.currency_code != message.amount.currency_code:
        raise FieldViolations(
            [("budget.rollover.cap_amount", "must have the currency of the amount")]
        )
    return Rollover(
        is_enabled=rollover.enabled,
        cap_ratio=parse_decimal(rollover.cap_ratio or "1"),
        cap_amount=None if cap is None else cap.amount,
        carries_overspend=rollover.carry_overspend,
    )


def from_terms(terms: BudgetTerms) -> models.Budget:
    """Converts what an owner said."""
    rule = terms.rule
    return models.Budget(
        display_name=terms.display_name,
        description=terms.description,
        scope=from_scope(terms.scope),
        cadence=models.BudgetCadence.Value(f"BUDGET_CADENCE_{rule.cadence.name}"),
        period_rule=models.PeriodRule(
            time_zone=rule.time_zone,
            anchor_time=from_optional(rule.anchor_at),
            first_weekday=rule.first_weekday + 1,
            first_month=rule.first_month,
            custom_days=rule.custom_days,
            custom_period=None if rule.custom_period is None else from_period(rule.custom_period),
        ),
        amount=from_money(terms.amount),
        enforcement=from_enforcement(terms.enforcement),
        throttle=models.ThrottlePolicy(
            start_ratio=format_decimal(terms.throttle.start_ratio),
            authorizations_per_second=format_decimal(terms.throttle.authorizations_per_second),
        ),
        unpriced_policy=models.UnpricedPolicy.Value(
            f"UNPRICED_POLICY_{terms.unpriced_policy.name}"
        ),
        cost_type=terms.cost_type.value,
        include_allocated=terms.includes_allocated,
        thresholds=[from_threshold(each) for each in terms.thresholds],
        channel_ids=terms.channel_ids,
        recipients=terms.recipients,
        escalation_policy_id=terms.escalation_policy_id,
        rollover=_from_rollover(terms),
        plan=[
            models.PlannedAmount(
                period_ratio=format_decimal(each.period_ratio),
                amount_ratio=format_decimal(each.amount_ratio),
            )
            for each in terms.plan
        ],
        start_time=from_optional(terms.start_at),
        end_time=from_optional(terms.end_at),
        labels=dict(terms.labels),
    )


def from_scope(scope: Scope) -> models.BudgetScope:
    """Converts a scope."""
    return models.BudgetScope(
        department_id=scope.department_id,
        exclude_subdepartments=scope.is_subtree_excluded,
        manager_id=scope.manager_id,
        tags=dict(scope.tags),
        **{name: getattr(scope, name) for name in PLAIN},
    )


def from_enforcement(enforcement: Enforcement) -> models.BudgetEnforcement.ValueType:
    """Converts what happens at the limit."""
    return models.BudgetEnforcement.Value(f"BUDGET_ENFORCEMENT_{enforcement.name}")


def from_threshold(threshold: Threshold) -> models.AlertThreshold:
    """Converts a threshold."""
    return models.AlertThreshold(
        threshold_ratio=format_decimal(threshold.ratio),
        basis=models.ThresholdBasis.Value(f"THRESHOLD_BASIS_{threshold.basis.name}"),
        severity=models.AlertSeverity.Value(f"ALERT_SEVERITY_{threshold.severity.name}"),
        channel_ids=threshold.channel_ids,
    )


def _from_rollover(terms: BudgetTerms) -> models.RolloverPolicy:
    rollover = terms.rollover
    cap = rollover.cap_amount
    return models.RolloverPolicy(
        enabled=rollover.is_enabled,
        cap_ratio=format_decimal(rollover.cap_ratio),
        cap_amount=None if cap is None else from_amount(terms.amount.currency_code, cap),
        carry_overspend=rollover.carries_overspend,
    )


def ratio_text(value: Decimal | None, digits: int = 6) -> str:
    """Returns a ratio as decimal text of so many digits; "" for none."""
    return "" if value is None else format_decimal(round(value, digits))
