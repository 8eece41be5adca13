"""Alerts: what fired, and the life of it from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from services.budget.domain.alert_errors import (
    AlertClosed,
    SnoozeNotInFuture,
    SnoozeTooLong,
)
from services.budget.domain.threshold import Basis, Severity
from services.kernel.money import EXACT, Money, format_decimal
from services.kernel.period import Period

SNOOZE_MAX = timedelta(days=90)
SYSTEM = "system"  # who does what the service does by itself
# A cause is gone only well below the threshold: a spend that wavers around it is one alert.
RESOLVE_RATIO = Decimal("0.95")


class AlertKind(Enum):
    """What an alert is about."""

    ACTUAL_THRESHOLD = "actual_threshold"
    COMMITTED_THRESHOLD = "committed_threshold"
    FORECAST_THRESHOLD = "forecast_threshold"
    LIMIT_DENIAL = "limit_denial"
    SETTLEMENT_EXCESS = "settlement_excess"
    UNPRICED_USAGE = "unpriced_usage"
    LEDGER_DRIFT = "ledger_drift"
    DELIVERY_FAILURE = "delivery_failure"


class AlertState(Enum):
    """Where an alert is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    AUTO_RESOLVED = "auto_resolved"

    @property
    def is_closed(self) -> bool:
        """Whether nobody needs to look at it any more."""
        return self in (AlertState.RESOLVED, AlertState.AUTO_RESOLVED)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for somebody, so that time escalates it."""
        return self in (AlertState.OPEN, AlertState.ESCALATED)


THRESHOLD_KINDS = {
    Basis.ACTUAL: AlertKind.ACTUAL_THRESHOLD,
    Basis.COMMITTED: AlertKind.COMMITTED_THRESHOLD,
    Basis.FORECAST: AlertKind.FORECAST_THRESHOLD,
}


@dataclass(frozen=True, slots=True)
class AlertCause:
    """What fires an alert. One cause fires one alert in a period, whoever reports it how often.

    period: None for what belongs to none. threshold_ratio, basis: of a threshold, else None.
    observed, limit: None where there is nothing to compare. key: tells causes of one kind apart.
    """

    budget_id: str
    display_name: str
    kind: AlertKind
    severity: Severity
    message: str
    period: Period | None = None
    threshold_ratio: Decimal | None = None
    basis: Basis | None = None
    observed: Money | None = None
    limit: Money | None = None
    usage_event_id: str = ""
    feed_sequence: str = ""
    department_id: str = ""
    key: str = ""

    @property
    def alert_key(self) -> str:
        """What is unique in a budget's period."""
        if self.basis is not None and self.threshold_ratio is not None:
            return threshold_key(self.basis, self.threshold_ratio)
        return f"{self.kind.value}:{self.key}"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it is now.

    escalation_level: steps of the policy taken. escalation_repeat: repetitions of the last one.
    """

    alert_id: str
    tenant_id: str
    cause: AlertCause
    state: AlertState
    fired_at: datetime
    escalation_policy_id: str = ""
    escalation_level: int = 0
    escalation_repeat: int = 0
    next_escalation_at: datetime | None = None
    snooze_end_at: datetime | None = None
    acknowledged_by: str = ""
    suppression_rule_id: str = ""
    resolved_at: datetime | None = None
    revision: int = 1

    @property
    def observed_ratio(self) -> Decimal | None:
        """Returns observed / limit to 6 digits after the point; None without a limit."""
        observed, limit = self.cause.observed, self.cause.limit
        if observed is None or limit is None or not limit.amount:
            return None
        return EXACT.divide(observed.amount, limit.amount).quantize(Decimal("0.000001"))

    def acknowledged(self, by: str) -> Alert:
        """Returns it in a person's hands. Raises AlertClosed."""
        self._require_open("acknowledged")
        return replace(
            self,
            state=AlertState.ACKNOWLEDGED,
            acknowledged_by=by,
            next_escalation_at=None,
            snooze_end_at=None,
        )

    def snoozed(self, until: datetime, now: datetime) -> Alert:
        """Returns it silent. Raises AlertClosed, SnoozeNotInFuture, SnoozeTooLong."""
        self._require_open("snoozed")
        if until <= now:
            raise SnoozeNotInFuture(until_time=until.isoformat(), now=now.isoformat())
        if until > now + SNOOZE_MAX:
            raise SnoozeTooLong(until_time=until.isoformat(), days_max=SNOOZE_MAX.days)
        return replace(self, state=AlertState.SNOOZED, snooze_end_at=until, next_escalation_at=None)

    def resolved(self, now: datetime) -> Alert:
        """Returns it closed by a person. Raises AlertClosed."""
        self._require_open("resolved")
        return self._closed(AlertState.RESOLVED, now)

    def auto_resolved(self, now: datetime) -> Alert:
        """Returns it closed because its cause is gone."""
        return self._closed(AlertState.AUTO_RESOLVED, now)

    def awake(self) -> Alert:
        """Returns it open again after its silence; its escalation begins anew."""
        return replace(
            self,
            state=AlertState.OPEN,
            snooze_end_at=None,
            escalation_level=0,
            escalation_repeat=0,
        )

    def reopened(self, cause: AlertCause) -> Alert:
        """Returns it open again because a cause that was gone is back."""
        return replace(self.awake(), cause=cause, resolved_at=None, acknowledged_by="")

    def _closed(self, state: AlertState, now: datetime) -> Alert:
        return replace(
            self, state=state, resolved_at=now, next_escalation_at=None, snooze_end_at=None
        )

    def _require_open(self, what: str) -> None:
        if self.state.is_closed:
            raise AlertClosed(
                f"an alert that is {self.state.value} cannot be {what}",
                alert_id=self.alert_id,
                state=self.state.value,
            )


@dataclass(frozen=True, slots=True)
class AlertTransition:
    """One step in an alert's life. from_state: None when it fired."""

    from_state: AlertState | None
    to_state: AlertState
    actor: str
    note: str
    delivery_ids: Sequence[str]
    transitioned_at: datetime


class AlertChange(NamedTuple):
    """One step in an alert's life, and the alert after it."""

    alert: Alert
    step: AlertTransition


def threshold_key(basis: Basis, ratio: Decimal) -> str:
    """Returns what a threshold is told apart by, however its ratio is written."""
    return f"{basis.value}:{format_decimal(ratio)}"


def threshold_message(
    display_name: str, *, basis: Basis, ratio: Decimal, observed: Money, limit: Money
) -> str:
    """Returns the sentence that people read."""
    percent = format_decimal(EXACT.multiply(ratio, Decimal(100)))
    what = {
        Basis.ACTUAL: "has spent",
        Basis.COMMITTED: "has spent or holds",
        Basis.FORECAST: "is forecast to spend",
    }[basis]
    return (
        f"{display_name} {what} {round_for_people(observed)} of {round_for_people(limit)}, "
        f"which is {percent} % or more."
    )


def round_for_people(money: Money) -> str:
    """Returns an amount for a sentence: cents, or all digits of what is less than one."""
    cents = money.amount.quantize(Decimal("0.01"))
    return str(Money(money.currency_code, cents) if cents else money)
