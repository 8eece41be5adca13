"""Judges the hours of one series, the old ones again to know the new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.reporting.domain.anomaly.anomaly import GAP, Anomaly, Scope, State
from services.reporting.domain.anomaly.detector import Detector, Verdict
from services.reporting.domain.anomaly.settings import (
    AnomalySettings,
    MaintenanceWindow,
    silent_at,
)

HOUR = timedelta(hours=1)
# History that a verdict stands on; what is older has faded.
HISTORY = timedelta(days=90)
# A false alarm makes its series so much less sensitive, up to a bound.
THRESHOLD_STEP, THRESHOLD_MAX = 0.04, 0.74
# A series is not judged further after so long without usage: it has ended.
ENDED_AFTER = timedelta(days=7)
# What lasts longer is the new level.
LASTS_AT_MOST = timedelta(days=7)
DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Hour:
    """Cost and events of one hour."""

    cost: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class WatchedSeries:
    """A series and how far it is judged; judged_until: first hour that is not, None for all.

    judge_until: first hour that cannot be judged yet, or need not be.
    """

    tenant_id: str
    scope: Scope
    judge_until: datetime
    judged_until: datetime | None
    false_alarms: int

    def threshold(self, settings: AnomalySettings) -> float:
        """Returns the score from which an hour is told."""
        begin = settings.threshold
        return min(max(THRESHOLD_MAX, begin), begin + THRESHOLD_STEP * self.false_alarms)


@dataclass(frozen=True, slots=True)
class UnusualHour:
    """One hour as an anomaly without id and causes. is_onset: False where it goes on with one."""

    anomaly: Anomaly
    is_onset: bool


@dataclass(frozen=True, slots=True)
class Course:
    """What is going on: since when, the last unusual hour, and the reach that held before it."""

    began_at: datetime
    last_at: datetime
    is_up: bool
    reach: float

    def goes_on(self, at: datetime, value: float, verdict: Verdict) -> bool:
        """Tells whether an hour belongs to it: beyond the old reach, to the same side."""
        if at - self.last_at > GAP or at - self.began_at > LASTS_AT_MOST:
            return False
        distance = value - verdict.expected if self.is_up else verdict.expected - value
        return distance > self.reach


def unusual_hours(
    series: WatchedSeries,
    hours: Mapping[datetime, Hour],
    *,
    end: datetime,
    now: datetime,
    tz: ZoneInfo,
    settings: AnomalySettings,
    windows: Sequence[MaintenanceWindow] = (),
) -> list[UnusualHour]:
    """Returns the unusual hours from where the series is judged to before `end`.

    hours: by first instant; those without usage are missing, and cost nothing. tz: whose clocks
    usage follows. windows: in which hours are neither judged nor learnt from.
    """
    if not hours:
        return []
    silent = [each for each in windows if each.covers(series.scope)]
    detector = Detector(threshold=series.threshold(settings), grace=settings.grace_hours)
    course: Course | None = None
    found = []
    at = min(hours)
    while at < end:
        if silent_at(silent, at, at + HOUR):
            at += HOUR
            continue
        hour = hours.get(at, Hour(Decimal(0), 0))
        observed = hour.cost
        value = float(observed)
        verdict = detector.judge(at.astimezone(tz), value)
        is_worth = abs(observed - told(verdict.expected)) >= settings.impact_min
        is_onset = verdict.is_anomaly and is_worth
        goes_on = course is not None and course.goes_on(at, value, verdict)
        if is_onset and not goes_on:
            reach = verdict.upper - verdict.expected
            course = Course(at, at, value > verdict.expected, reach)
        elif course is not None and goes_on:
            course = replace(course, last_at=at)
        is_new = series.judged_until is None or at >= series.judged_until
        if is_new and (is_onset or goes_on):
            anomaly = one_hour(series, at, hour, verdict, now)
            found.append(UnusualHour(anomaly, is_onset and not goes_on))
        at += HOUR
    return found


def one_hour(
    series: WatchedSeries, at: datetime, hour: Hour, verdict: Verdict, now: datetime
) -> Anomaly:
    """Makes an anomaly of one hour."""
    expected = told(verdict.expected)
    return Anomaly(
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


def told(value: float) -> Decimal:
    """Returns the decimal that is told for a computed value."""
    return Decimal(repr(value)).quantize(DIGITS)
