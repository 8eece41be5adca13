"""Judges the hours of one series, the old ones again to know the new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.reporting.domain.anomaly.anomaly import IMPACT_MIN, Anomaly, Scope, State
from services.reporting.domain.anomaly.detector import THRESHOLD, Detector

HOUR = timedelta(hours=1)
# History that a verdict stands on; what is older has faded.
HISTORY = timedelta(days=90)
# A false alarm makes its series so much less sensitive, up to a bound.
THRESHOLD_STEP, THRESHOLD_MAX = 0.04, 0.74
# A series is not judged further after so long without usage: it has ended.
ENDED_AFTER = timedelta(days=7)
DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Hour:
    """Cost and events of one hour."""

    cost: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class WatchedSeries:
    """A series and how far it is judged; judged_until: first hour that is not, None for all."""

    tenant_id: str
    scope: Scope
    newest_at: datetime
    judged_until: datetime | None
    false_alarms: int

    @property
    def threshold(self) -> float:
        """The score from which an hour is told."""
        return min(THRESHOLD_MAX, THRESHOLD + THRESHOLD_STEP * self.false_alarms)

    def end(self, complete_until: datetime) -> datetime:
        """Returns the first hour that cannot be judged yet, or need not be."""
        return min(complete_until, self.newest_at + ENDED_AFTER)


def unusual_hours(
    series: WatchedSeries,
    hours: Mapping[datetime, Hour],
    *,
    end: datetime,
    now: datetime,
    tz: ZoneInfo,
) -> list[Anomaly]:
    """Returns the unusual hours from where the series is judged to before `end`.

    hours: by first instant; those without usage are missing, and cost nothing. tz: whose
    clocks usage follows. Anomalies come
    without id and causes, each of one hour.
    """
    if not hours:
        return []
    detector = Detector(threshold=series.threshold)
    found = []
    at = min(hours)
    while at < end:
        hour = hours.get(at, Hour(Decimal(0), 0))
        value = hour.cost
        verdict = detector.judge(at.astimezone(tz), float(value))
        is_new = series.judged_until is None or at >= series.judged_until
        if is_new and verdict.is_anomaly:
            expected = told(verdict.expected)
            if abs(hour.cost - expected) >= IMPACT_MIN:
                found.append(
                    Anomaly(
                        tenant_id=series.tenant_id,
                        anomaly_id="",
                        scope=series.scope,
                        state=State.OPEN,
                        start_at=at,
                        end_at=at + HOUR,
                        observed=hour.cost,
                        expected=expected,
                        expected_lower=min(told(verdict.lower), expected),
                        expected_upper=max(told(verdict.upper), expected),
                        score=told(verdict.score),
                        event_count=hour.events,
                        detected_at=now,
                    )
                )
        at += HOUR
    return found


def told(value: float) -> Decimal:
    """Returns the decimal that is told for a computed value."""
    return Decimal(repr(value)).quantize(DIGITS)
