"""Alerts between contract and domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from finops.budget.v1 import alert_model_pb2 as models
from finops.budget.v1 import alert_service_pb2 as messages
from finops.budget.v1 import budget_model_pb2 as budget_models

from services.budget.convert.instants import from_instant, from_money, from_optional, from_period
from services.budget.domain.alert import Alert, AlertChange, AlertState, AlertTransition
from services.budget.domain.alert_errors import etag_of
from services.budget.domain.threshold import Severity
from services.budget.service.alerts import AlertStep
from services.kernel.caller import current_caller
from services.kernel.feed_page import FeedPage
from services.kernel.listing import page_request
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest

_LIST: Final = "finops.budget.v1.AlertService/ListAlerts"
StepRequest = (
    messages.AcknowledgeAlertRequest | messages.ResolveAlertRequest | messages.SnoozeAlertRequest
)


def to_page(request: messages.ListAlertsRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=_LIST)


def to_step(request: StepRequest) -> AlertStep:
    """Converts what a person does with an alert."""
    return AlertStep(request.alert_id, current_caller().subject, request.note, request.etag)


def to_severity(value: budget_models.AlertSeverity.ValueType) -> Severity | None:
    """Converts a severity; None where none is given."""
    if not value:
        return None
    return Severity[budget_models.AlertSeverity.Name(value).removeprefix("ALERT_SEVERITY_")]


def from_severity(severity: Severity) -> budget_models.AlertSeverity.ValueType:
    """Converts a severity."""
    return budget_models.AlertSeverity.Value(f"ALERT_SEVERITY_{severity.name}")


def from_alert(alert: Alert, steps: Sequence[AlertTransition] = ()) -> models.Alert:
    """Converts an alert."""
    cause, ratio = alert.cause, alert.observed_ratio
    return models.Alert(
        alert_id=alert.alert_id,
        tenant_id=alert.tenant_id,
        budget_id=cause.budget_id,
        budget_display_name=cause.display_name,
        kind=models.AlertKind.Value(f"ALERT_KIND_{cause.kind.name}"),
        severity=from_severity(cause.severity),
        state=_from_state(alert.state),
        period=None if cause.period is None else from_period(cause.period),
        threshold=_from_threshold(alert),
        observed=None if cause.observed is None else from_money(cause.observed),
        limit=None if cause.limit is None else from_money(cause.limit),
        observed_ratio="" if ratio is None else format_decimal(ratio),
        message=cause.message,
        usage_event_id=cause.usage_event_id,
        feed_sequence=cause.feed_sequence,
        escalation_level=alert.escalation_level,
        next_escalation_time=from_optional(alert.next_escalation_at),
        snooze_end_time=from_optional(alert.snooze_end_at),
        acknowledged_by=alert.acknowledged_by,
        suppression_rule_id=alert.suppression_rule_id,
        fire_time=from_instant(alert.fired_at),
        resolve_time=from_optional(alert.resolved_at),
        transitions=map(_from_step, steps),
        etag=etag_of(alert.alert_id, alert.revision),
    )


def from_page(page: Page[Alert]) -> messages.ListAlertsResponse:
    """Converts a page."""
    return messages.ListAlertsResponse(
        alerts=map(from_alert, page.items), next_page_token=page.next_page_token
    )


def from_changes(page: FeedPage[AlertChange]) -> Iterator[messages.WatchAlertsResponse]:
    """Converts a page of changes, one message each; an empty one is a heartbeat."""
    if not page.items:
        yield messages.WatchAlertsResponse(sequence=str(page.position))
    for item in page.items:
        yield messages.WatchAlertsResponse(
            sequence=str(item.position),
            alert=from_alert(item.fact.alert),
            transition=_from_step(item.fact.step),
        )


def _from_threshold(alert: Alert) -> budget_models.AlertThreshold | None:
    cause = alert.cause
    if cause.threshold_ratio is None or cause.basis is None:
        return None
    return budget_models.AlertThreshold(
        threshold_ratio=format_decimal(cause.threshold_ratio),
        basis=budget_models.ThresholdBasis.Value(f"THRESHOLD_BASIS_{cause.basis.name}"),
        severity=from_severity(cause.severity),
    )


def _from_state(state: AlertState) -> models.AlertState.ValueType:
    return models.AlertState.Value(f"ALERT_STATE_{state.name}")


def _from_step(step: AlertTransition) -> models.AlertTransition:
    return models.AlertTransition(
        from_state=models.AlertState.ALERT_STATE_UNSPECIFIED
        if step.from_state is None
        else _from_state(step.from_state),
        to_state=_from_state(step.to_state),
        actor=step.actor,
        note=step.note,
        delivery_ids=step.delivery_ids,
        transition_time=from_instant(step.transitioned_at),
    )
