"""What people and programs read about an alert."""

from __future__ import annotations

from typing import Any

from services.budget.domain.alert import Alert
from services.budget.domain.notification import Notification, Subject
from services.kernel.money import Money, format_decimal


def subject_of(alert: Alert) -> Subject:
    """Returns what filters see of an alert."""
    cause = alert.cause
    return Subject(
        severity=cause.severity,
        kind=cause.kind.value,
        budget_id=cause.budget_id,
        department_id=cause.department_id,
        amount=None if cause.observed is None else cause.observed.amount,
    )


def notice_of(alert: Alert, verb: str, *, note: str = "") -> Notification:
    """Returns the notification of a step. verb: `opened`, `escalated` and so on."""
    cause = alert.cause
    title = f"[{cause.severity.name}] {cause.display_name}: {_HEADLINES[cause.kind.value]}"
    if cause.threshold_ratio is not None:
        title += f" {format_decimal(cause.threshold_ratio * 100)} %"
    if verb != "opened":
        title += f" ({verb.replace('_', ' ')})"
    lines = [cause.message]
    if note:
        lines.append(note)
    if cause.period is not None:
        start, end = cause.period.start, cause.period.end
        lines.append(f"Period: {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC.")
    lines.append(f"Alert {alert.alert_id}, {alert.state.value}.")
    lines.append(f"Take it in hand: finops alerts ack {alert.alert_id}")
    return Notification(
        event_type=f"alert.{verb}",
        title=title[:200],
        text_body="\n".join(lines),
        payload=_payload(alert),
        severity=cause.severity,
    )


_HEADLINES = {
    "actual_threshold": "spend reached",
    "committed_threshold": "spend and holds reached",
    "forecast_threshold": "forecast reached",
    "limit_denial": "work was refused at the limit",
    "settlement_excess": "a settlement passed its hold",
    "unpriced_usage": "usage without a price",
    "ledger_drift": "ledger and usage differ",
    "delivery_failure": "notifications do not arrive",
}


def _payload(alert: Alert) -> dict[str, Any]:
    cause = alert.cause
    ratio = alert.observed_ratio
    threshold = None
    if cause.threshold_ratio is not None and cause.basis is not None:
        threshold = {
            "thresholdRatio": format_decimal(cause.threshold_ratio),
            "basis": cause.basis.name,
        }
    return {
        "alertId": alert.alert_id,
        "tenantId": alert.tenant_id,
        "budgetId": cause.budget_id,
        "budgetDisplayName": cause.display_name,
        "kind": cause.kind.name,
        "severity": cause.severity.name,
        "state": alert.state.name,
        "period": None
        if cause.period is None
        else {
            "startTime": cause.period.start.isoformat(),
            "endTime": cause.period.end.isoformat(),
        },
        "threshold": threshold,
        "observed": _money(cause.observed),
        "limit": _money(cause.limit),
        "observedRatio": None if ratio is None else format_decimal(ratio),
        "message": cause.message,
        "usageEventId": cause.usage_event_id,
        "feedSequence": cause.feed_sequence,
        "fireTime": alert.fired_at.isoformat(),
    }


def _money(money: Money | None) -> dict[str, str] | None:
    if money is None:
        return None
    return {"currencyCode": money.currency_code, "amount": format_decimal(money.amount)}
