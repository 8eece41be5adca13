"""How anomalies are looked for in a tenant, and when they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.kernel.errors import FieldViolations
from services.kernel.filter import InvalidFilter, evaluate, parse_filter
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import IMPACT_MIN, Anomaly, Scope, Severity
from services.reporting.domain.anomaly.detector import GRACE_VALUES, THRESHOLD

DIMENSIONS: Final = ("department", "service", "resource_type")
SENSITIVITY: Final = Decimal("0.5")
# The score from which an hour is told at no sensitivity, and at all of it.
_DEAF, _ALERT = 0.95, 0.05
# Nobody is called for what was over so long before it was found.
_OLD: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """Settings of a tenant. version: 0 for the defaults, which nobody has changed.

    sensitivity: in [0, 1]. impact_min: in the currency of each series. group_by: of DIMENSIONS.
    """

    tenant_id: str
    is_disabled: bool = False
    sensitivity: Decimal = SENSITIVITY
    impact_min: Decimal = IMPACT_MIN
    group_by: tuple[str, ...] = DIMENSIONS
    grace_hours: int = GRACE_VALUES
    severity_min: Severity = Severity.MEDIUM
    channel_ids: tuple[str, ...] = ()
    version: int = 0
    updated_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raises FieldViolations for dimensions that are not watched."""
        wrong = [name for name in self.group_by if name not in DIMENSIONS]
        if wrong:
            text = f"{wrong[0][:60]!r} is not watched; there are {', '.join(DIMENSIONS)}"
            raise FieldViolations([("settings.group_by", text)])

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.version)

    @property
    def threshold(self) -> float:
        """The score from which an hour is told: the detector's own in the middle."""
        share = float(self.sensitivity)
        if share <= float(SENSITIVITY):
            return _DEAF + (THRESHOLD - _DEAF) * share * 2
        return THRESHOLD + (_ALERT - THRESHOLD) * (share * 2 - 1)

    def folded(self, scope: Scope) -> Scope:
        """Returns the watched series that a cost belongs to."""
        kept = {name: getattr(scope, name) if name in self.group_by else "" for name in DIMENSIONS}
        return Scope(currency_code=scope.currency_code, **kept)

    def is_news(self, before: Anomaly | None, after: Anomaly) -> bool:
        """Tells whether people are told of an anomaly now: once, when it matters enough."""
        if after.detected_at - after.end_at > _OLD:
            return False
        is_enough = after.severity >= self.severity_min
        return is_enough and (before is None or before.severity < self.severity_min)


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """Time in which a scope is not judged, and not learnt from. filter: empty is everything."""

    tenant_id: str
    window_id: str
    display_name: str
    period: Period
    filter: str
    author: str
    created_at: datetime

    def __post_init__(self) -> None:
        """Raises FieldViolations for a filter that no series can be held against."""
        try:
            self.covers(Scope("", "", "", ""))
        except InvalidFilter as error:
            raise FieldViolations([("window.filter", str(error))]) from error

    def covers(self, scope: Scope) -> bool:
        """Tells whether it is about a series. Raises InvalidFilter."""
        record = {name: getattr(scope, name) for name in DIMENSIONS}
        return evaluate(parse_filter(self.filter), record)


def silent_at(windows: Sequence[MaintenanceWindow], start: datetime, end: datetime) -> bool:
    """Tells whether some window covers a part of a time."""
    return any(each.period.start < end and start < each.period.end for each in windows)
