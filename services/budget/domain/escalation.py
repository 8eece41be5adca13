"""Who is told next when nobody acknowledges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.budget.domain.alert import Alert, AlertState
from services.budget.domain.threshold import Severity


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """One step. after: without acknowledgement since the step before; repeats: before the next."""

    after: timedelta
    channel_ids: tuple[str, ...]
    severity_min: Severity = Severity.INFO
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    """Steps in order."""

    policy_id: str
    display_name: str
    steps: tuple[EscalationStep, ...]
    created_at: datetime
    updated_at: datetime
    revision: int = 1

    def scheduled(self, alert: Alert, now: datetime) -> Alert:
        """Returns the alert with the instant of its next step, None when there is none."""
        found = _next_step(self.steps, alert)
        due = None if found is None else now + found[1].after
        return replace(alert, next_escalation_at=due)

    def escalated(self, alert: Alert, now: datetime) -> tuple[Alert, EscalationStep | None]:
        """Returns the alert after the step that is due, and the step; None when none is left."""
        found = _next_step(self.steps, alert)
        if found is None:
            return replace(alert, next_escalation_at=None), None
        level, step = found
        repeat = alert.escalation_repeat + 1 if level == alert.escalation_level else 0
        taken = replace(
            alert, state=AlertState.ESCALATED, escalation_level=level, escalation_repeat=repeat
        )
        return self.scheduled(taken, now), step


def _next_step(steps: Sequence[EscalationStep], alert: Alert) -> tuple[int, EscalationStep] | None:
    """Returns the next step that the alert is severe enough for, and its number from 1."""
    level = alert.escalation_level
    if 0 < level <= len(steps) and alert.escalation_repeat < steps[level - 1].repeats:
        return level, steps[level - 1]
    for number, step in enumerate(steps[level:], start=level + 1):
        if alert.cause.severity.rank >= step.severity_min.rank:
            return number, step
    return None
