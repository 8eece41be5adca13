"""Open recommendations of the optimizer, as reports and dashboards see them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class OpenRecommendation:
    """A way to save that is not done yet. kind, effort, risk: the contract's names, lower case.

    department, service, resource_type: empty when it is about several.
    """

    recommendation_id: str
    kind: str
    title: str
    state: str
    currency_code: str
    monthly_saving: Decimal
    monthly_lower: Decimal
    monthly_upper: Decimal
    confidence: Decimal
    effort: str
    risk: str
    department: str
    service: str
    resource_type: str


@dataclass(frozen=True, slots=True)
class OpenSavings:
    """Recommendations by rank, and what they save together in a month, overlaps counted once."""

    items: tuple[OpenRecommendation, ...]
    joint: Decimal
    joint_lower: Decimal
    joint_upper: Decimal
    currency_code: str
