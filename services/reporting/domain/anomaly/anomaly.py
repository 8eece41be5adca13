"""An anomaly: what was seen, what was expected, how much it matters, and what explains it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum

# Hours of one series that lie no further apart belong to one anomaly.
GAP = timedelta(hours=24)
# Less is not worth telling, in the currency of the series.
IMPACT_MIN = Decimal(1)
# From these impacts on an anomaly is medium, high, critical.
SEVERE_FROM = (Decimal(10), Decimal(100), Decimal(1000))
# So many times the expected value makes a small anomaly medium.
MANY_TIMES = 3
# A shift lasts; what is over sooner is a spike.
SHIFT_HOURS = timedelta(hours=24)


class State(IntEnum):
    """Where an anomaly is in its life."""

    OPEN = 1
    CLOSED = 2
    EXPECTED = 3


class Severity(IntEnum):
    """How much it matters."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Feedback(IntEnum):
    """What people said it was."""

    NONE = 0
    EXPECTED = 1
    FALSE_ALARM = 2
    REAL = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """The series: cost of a resource type of a service, borne by a department."""

    department: str
    service: str
    resource_type: str
    currency_code: str

    @property
    def key(self) -> str:
        """Identifies the series within its tenant."""
        parts = (self.department, self.service, self.resource_type, self.currency_code)
        return "\x1f".join(parts)

    @property
    def named(self) -> dict[str, str]:
        """The dimensions that have a value."""
        found = {
            "department": self.department,
            "service": self.service,
            "resource_type": self.resource_type,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Cause:
    """A value of a dimension, and the part of the impact that it explains."""

    dimension: str
    value: str
    contribution: Decimal
    is_new: bool


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One or more unusual hours of a series. end_at: first instant after the last of them."""

    tenant_id: str
    anomaly_id: str
    scope: Scope
    state: State
    start_at: datetime
    end_at: datetime
    observed: Decimal
    expected: Decimal
    expected_lower: Decimal
    expected_upper: Decimal
    score: Decimal
    event_count: int
    detected_at: datetime
    causes: tuple[Cause, ...] = ()
    closed_at: datetime | None = None
    feedback: Feedback = Feedback.NONE
    feedback_actor: str = ""
    feedback_note: str = ""

    @property
    def impact(self) -> Decimal:
        """Cost above what was expected; negative below."""
        return self.observed - self.expected

    @property
    def direction(self) -> str:
        """`up`, `down`, or `missing` where nothing came at all."""
        if self.observed > self.expected:
            return "up"
        return "missing" if not self.observed else "down"

    @property
    def pattern(self) -> str:
        """`spike`, or `level_shift` once it lasts."""
        return "level_shift" if self.end_at - self.start_at >= SHIFT_HOURS else "spike"

    @property
    def severity(self) -> Severity:
        """How much it matters, by its impact."""
        size = abs(self.impact)
        level = Severity(1 + sum(size >= bound for bound in SEVERE_FROM))
        is_multiple = self.observed > MANY_TIMES * self.expected
        return max(level, Severity.MEDIUM) if is_multiple else level

    def grown(self, other: Anomaly) -> Anomaly:
        """Takes a later unusual hour in."""
        return replace(
            self,
            end_at=max(self.end_at, other.end_at),
            observed=self.observed + other.observed,
            expected=self.expected + other.expected,
            expected_lower=self.expected_lower + other.expected_lower,
            expected_upper=self.expected_upper + other.expected_upper,
            score=max(self.score, other.score),
            event_count=self.event_count + other.event_count,
        )
