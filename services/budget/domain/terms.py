"""What a version of a budget says: which cost counts, when, up to how much, and what then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Final

from services.budget.domain.calendar import PeriodRule
from services.budget.domain.scope import Scope
from services.budget.domain.threshold import DEFAULT_THRESHOLDS, THRESHOLDS_MAX, Threshold
from services.kernel.errors import FieldViolations
from services.kernel.money import EXACT, Money

# Leaves room for rollover and increases in the 20 digits that money has.
AMOUNT_END: Final = Decimal(10) ** 18


class Enforcement(Enum):
    """What a budget does at its limit."""

    ALERT = "alert"
    THROTTLE = "throttle"
    HARD = "hard"


class UnpricedPolicy(Enum):
    """What happens to work whose price is unknown."""

    DENY = "deny"
    ALLOW_AND_FLAG = "allow_and_flag"


def default_unpriced(enforcement: Enforcement) -> UnpricedPolicy:
    """Returns the policy of a budget that names none."""
    is_hard = enforcement is Enforcement.HARD
    return UnpricedPolicy.DENY if is_hard else UnpricedPolicy.ALLOW_AND_FLAG


class CostType(Enum):
    """Which of FOCUS's costs counts."""

    BILLED = "billed"
    EFFECTIVE = "effective"
    LIST = "list"
    CONTRACTED = "contracted"


@dataclass(frozen=True, slots=True)
class Throttle:
    """How THROTTLE slows down: from which share of the limit on, to how many a second."""

    start_ratio: Decimal = Decimal("0.9")
    authorizations_per_second: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Rollover:
    """What is carried into the next period; the smaller cap wins.

    cap_ratio: of the amount. cap_amount: in the budget's currency, None for no such cap.
    """

    is_enabled: bool = False
    cap_ratio: Decimal = Decimal(1)
    cap_amount: Decimal | None = None
    carries_overspend: bool = False

    def carried(self, amount: Decimal, left: Decimal) -> Decimal:
        """Returns what the next period gets of what is left, negative for overspend."""
        if left < 0:
            return left if self.is_enabled and self.carries_overspend else Decimal(0)
        if not self.is_enabled:
            return Decimal(0)
        caps = [left, EXACT.multiply(amount, self.cap_ratio)]
        if self.cap_amount is not None:
            caps.append(self.cap_amount)
        return min(caps)


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """Share of the limit planned to be spent up to a share of the period, both from 0."""

    period_ratio: Decimal
    amount_ratio: Decimal


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """All that an owner says about a budget. Raises FieldViolations.

    amount: of one period, above zero. plan: points in order; the period's end needs none.
    start_at, end_at: None for the period that holds the creation, and for never.
    """

    display_name: str
    scope: Scope
    rule: PeriodRule
    amount: Money
    description: str = ""
    enforcement: Enforcement = Enforcement.ALERT
    throttle: Throttle = Throttle()
    unpriced_policy: UnpricedPolicy = UnpricedPolicy.ALLOW_AND_FLAG
    cost_type: CostType = CostType.BILLED
    includes_allocated: bool = False
    thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS
    channel_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    escalation_policy_id: str = ""
    rollover: Rollover = Rollover()
    plan: tuple[PlannedPoint, ...] = ()
    start_at: datetime | None = None
    end_at: datetime | None = None
    labels: tuple[tuple[str, str], ...] = field(default=())

    def __post_init__(self) -> None:
        violations: list[tuple[str, str]] = []
        if not self.display_name:
            violations.append(("budget.display_name", "must not be empty"))
        if not 0 < self.amount.amount < AMOUNT_END:
            violations.append(("budget.amount", "must be above zero and below a quintillion"))
        places = [(each.ratio, each.basis) for each in self.thresholds]
        if len(set(places)) < len(places):
            violations.append(("budget.thresholds", "names one share and basis twice"))
        if len(places) > THRESHOLDS_MAX:
            violations.append(("budget.thresholds", f"has more than {THRESHOLDS_MAX}"))
        if not self._is_plan_rising():
            violations.append(("budget.plan", "points rise in time and never fall in amount"))
        for name in ("start_at", "end_at"):
            instant = getattr(self, name)
            if instant is not None:
                object.__setattr__(self, name, instant.astimezone(UTC))
        if self.start_at is not None and self.end_at is not None and self.start_at >= self.end_at:
            violations.append(("budget.end_time", "must be later than start_time"))
        if violations:
            raise FieldViolations(violations)

    def _is_plan_rising(self) -> bool:
        return all(
            one.period_ratio < other.period_ratio and one.amount_ratio <= other.amount_ratio
            for one, other in pairwise(self.plan)
        )

    @property
    def told_channels(self) -> set[str]:
        """Ids of the channels that the budget or one of its thresholds tells."""
        return {*self.channel_ids, *(name for each in self.thresholds for name in each.channel_ids)}

    @property
    def structure(self) -> tuple[object, ...]:
        """What decides which cost belongs to which period: it changes between periods only."""
        return (self.rule, self.scope, self.cost_type, self.includes_allocated)
