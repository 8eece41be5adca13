"""Escalation policies and suppression rules between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from finops.budget.v1 import alert_model_pb2 as models
from finops.budget.v1 import alert_policy_service_pb2 as messages
from finops.budget.v1 import budget_model_pb2 as budget_models
from google.protobuf.duration_pb2 import Duration
from google.type import dayofweek_pb2

from services.budget.convert.alerts import from_severity, to_severity
from services.budget.convert.instants import from_instant, from_period, to_period
from services.budget.convert.merging import merged
from services.budget.domain.alert_errors import etag_of
from services.budget.domain.escalation import EscalationPolicy, EscalationStep
from services.budget.domain.suppression import (
    COUNT_DEFAULT,
    WINDOW_DEFAULT,
    AlertGrouping,
    QuietHours,
    SuppressionKind,
    SuppressionRule,
)
from services.budget.domain.threshold import Severity
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_UNSPECIFIED: Final = budget_models.AlertSeverity.ALERT_SEVERITY_UNSPECIFIED
_SERVICE: Final = "finops.budget.v1.AlertPolicyService"
_MADE_LATER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # the use case sets the instants
_POLICY_FIELDS: Final = ("display_name", "steps")
_POLICY_IGNORED: Final = ("policy_id", "etag", "create_time", "update_time")
_RULE_FIELDS: Final = (
    *("display_name", "kind", "filter", "severity_through", "quiet_hours", "window"),
    *("grouping", "disabled"),
)
_RULE_IGNORED: Final = ("rule_id", "etag", "create_time", "suppressed_count")


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_policy(message: models.EscalationPolicy) -> EscalationPolicy:
    """Converts a policy."""
    return EscalationPolicy(
        policy_id=message.policy_id,
        display_name=message.display_name,
        steps=tuple(
            EscalationStep(
                after=timedelta(minutes=step.after_minutes),
                channel_ids=tuple(step.channel_ids),
                severity_min=to_severity(step.severity_min) or Severity.INFO,
                repeats=step.repeat_count,
            )
            for step in message.steps
        ),
        created_at=_MADE_LATER,
        updated_at=_MADE_LATER,
    )


def to_policy_change(
    request: messages.UpdateEscalationPolicyRequest,
) -> Callable[[EscalationPolicy], EscalationPolicy]:
    """Returns what the update makes of a policy. Raises UnknownMaskPath."""
    message = request.policy
    fields = fields_to_update(
        message, request.update_mask, updatable=_POLICY_FIELDS, ignored=_POLICY_IGNORED
    )
    return lambda policy: to_policy(merged(from_policy(policy), message, fields))


def from_policy(policy: EscalationPolicy) -> models.EscalationPolicy:
    """Converts a policy."""
    return models.EscalationPolicy(
        policy_id=policy.policy_id,
        display_name=policy.display_name,
        steps=[
            models.EscalationStep(
                after_minutes=step.after // timedelta(minutes=1),
                channel_ids=step.channel_ids,
                severity_min=from_severity(step.severity_min),
                repeat_count=step.repeats,
            )
            for step in policy.steps
        ],
        etag=etag_of(policy.policy_id, policy.revision),
        create_time=from_instant(policy.created_at),
        update_time=from_instant(policy.updated_at),
    )


def from_policies(page: Page[EscalationPolicy]) -> messages.ListEscalationPoliciesResponse:
    """Converts a page."""
    return messages.ListEscalationPoliciesResponse(
        policies=map(from_policy, page.items), next_page_token=page.next_page_token
    )


def to_rule(message: models.SuppressionRule) -> SuppressionRule:
    """Converts a rule. Raises InvalidSuppressionRule, InvalidFilter, UnknownTimeZone."""
    name = models.SuppressionKind.Name(message.kind).removeprefix("SUPPRESSION_KIND_")
    kind = SuppressionKind[name]
    through = to_severity(message.severity_through)
    if through is None and kind is SuppressionKind.QUIET_HOURS:
        through = Severity.CRITICAL
    return SuppressionRule(
        rule_id=message.rule_id,
        display_name=message.display_name,
        kind=kind,
        created_at=_MADE_LATER,
        filter=message.filter,
        severity_through=through,
        quiet_hours=_to_hours(message.quiet_hours) if message.HasField("quiet_hours") else None,
        window=to_period(message.window) if message.HasField("window") else None,
        grouping=_to_grouping(message, kind),
        is_disabled=message.disabled,
    )


def to_rule_change(
    request: messages.UpdateSuppressionRuleRequest,
) -> Callable[[SuppressionRule], SuppressionRule]:
    """Returns what the update makes of a rule. Raises UnknownMaskPath."""
    message = request.rule
    fields = fields_to_update(
        message, request.update_mask, updatable=_RULE_FIELDS, ignored=_RULE_IGNORED
    )
    return lambda rule: to_rule(merged(from_rule(rule), message, fields))


def from_rule(rule: SuppressionRule) -> models.SuppressionRule:
    """Converts a rule."""
    through, hours, grouping = rule.severity_through, rule.quiet_hours, rule.grouping
    return models.SuppressionRule(
        rule_id=rule.rule_id,
        display_name=rule.display_name,
        kind=models.SuppressionKind.Value(f"SUPPRESSION_KIND_{rule.kind.name}"),
        filter=rule.filter,
        severity_through=_UNSPECIFIED if through is None else from_severity(through),
        quiet_hours=None if hours is None else _from_hours(hours),
        window=None if rule.window is None else from_period(rule.window),
        grouping=None if grouping is None else _from_grouping(grouping),
        disabled=rule.is_disabled,
        suppressed_count=rule.suppressed_count,
        etag=etag_of(rule.rule_id, rule.revision),
        create_time=from_instant(rule.created_at),
    )


def from_rules(page: Page[SuppressionRule]) -> messages.ListSuppressionRulesResponse:
    """Converts a page."""
    return messages.ListSuppressionRulesResponse(
        rules=map(from_rule, page.items), next_page_token=page.next_page_token
    )


def _to_hours(message: models.QuietHours) -> QuietHours:
    return QuietHours(
        time_zone=message.time_zone,
        start_minute=_minute(message.start_clock),
        end_minute=_minute(message.end_clock),
        weekdays=frozenset(day - 1 for day in message.weekdays),
    )


def _from_hours(hours: QuietHours) -> models.QuietHours:
    return models.QuietHours(
        time_zone=hours.time_zone,
        start_clock=_clock(hours.start_minute),
        end_clock=_clock(hours.end_minute),
        weekdays=[
            dayofweek_pb2.DayOfWeek.Name(day + 1)  # Monday is 1 there
            for day in sorted(hours.weekdays)
        ],
    )


def _to_grouping(message: models.SuppressionRule, kind: SuppressionKind) -> AlertGrouping | None:
    if not message.HasField("grouping"):
        # All of a grouping has defaults.
        return AlertGrouping() if kind is SuppressionKind.GROUPING else None
    grouping = message.grouping
    has_window = grouping.HasField("window")
    return AlertGrouping(
        window=grouping.window.ToTimedelta() if has_window else WINDOW_DEFAULT,
        count_min=grouping.alert_count_min or COUNT_DEFAULT,
        group_by=tuple(grouping.group_by),
    )


def _from_grouping(grouping: AlertGrouping) -> models.AlertGrouping:
    window = Duration()
    window.FromTimedelta(grouping.window)
    return models.AlertGrouping(
        window=window, alert_count_min=grouping.count_min, group_by=grouping.group_by
    )


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
