"""What the cost feed tells that anomalies are looked for in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.reporting.domain.anomaly.anomaly import Scope


@dataclass(frozen=True, slots=True)
class CostFact:
    """A change of the billed cost of a series in one hour; it may be negative."""

    scope: Scope
    hour_at: datetime
    cost: Decimal
    events: int
