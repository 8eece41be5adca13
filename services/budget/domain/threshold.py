"""Shares of a limit at which people are told."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

THRESHOLDS_MAX = 20
RATIO_MAX = Decimal(10)


class Basis(Enum):
    """What a threshold compares with the limit."""

    ACTUAL = "actual"
    COMMITTED = "committed"
    FORECAST = "forecast"


class Severity(Enum):
    """How much an alert matters; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least severe."""
        return list(Severity).index(self)


def severity_of(ratio: Decimal) -> Severity:
    """Returns the severity of a threshold that names none."""
    if ratio >= 1:
        return Severity.CRITICAL
    return Severity.WARNING if ratio >= Decimal("0.75") else Severity.INFO


@dataclass(frozen=True, slots=True)
class Threshold:
    """A share of the limit, in (0, 10]; 0.8 means 80 %. channel_ids: none means the budget's."""

    ratio: Decimal
    basis: Basis = Basis.ACTUAL
    severity: Severity = Severity.INFO
    channel_ids: tuple[str, ...] = ()


DEFAULT_THRESHOLDS = tuple(
    Threshold(ratio, Basis.ACTUAL, severity_of(ratio))
    for ratio in (Decimal("0.5"), Decimal("0.75"), Decimal("0.9"), Decimal(1))
)
