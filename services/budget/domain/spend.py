"""Decisions whether work may spend: what is asked, what was decided, and on which figures.

Named tuples, because some of each are made for every call, in a third of a dataclass' time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.terms import Enforcement
from services.kernel.money import EXACT, Money
from services.kernel.period import Period


class AuthorizationState(IntEnum):
    """Life of an authorization; numbers as in the contract."""

    HELD = 1
    SETTLED = 2
    RELEASED = 3
    EXPIRED = 4
    DENIED = 5


class SpendOutcome(IntEnum):
    """What was decided; numbers as in the contract."""

    ALLOWED = 1
    ALLOWED_UNCOVERED = 2
    ALLOWED_OVER_SOFT_LIMIT = 3
    ALLOWED_UNPRICED = 4
    DENIED_LIMIT = 5
    DENIED_THROTTLED = 6
    DENIED_UNPRICED = 7

    @property
    def is_allowed(self) -> bool:
        """Whether the work may begin."""
        return self < SpendOutcome.DENIED_LIMIT


class EstimateMethod(IntEnum):
    """Where the amount of a hold comes from; numbers as in the contract."""

    CALLER = 1
    PRICE_BOOK = 2
    HISTORY = 3
    DEFAULT = 4
    UNPRICED = 5


class CostEstimate(NamedTuple):
    """How the amount of a hold was chosen.

    worst_case: None where the work is not bounded. quantile, excess_probability: in [0, 1], None
    where unknown. sample_count: past costs it stands on.
    """

    method: EstimateMethod
    amount: Money
    explanation: str
    worst_case: Money | None = None
    quantile: Decimal | None = None
    sample_count: int = 0
    excess_probability: Decimal | None = None

    @property
    def is_unpriced(self) -> bool:
        """Whether no amount could be found."""
        return self.method is EstimateMethod.UNPRICED


class BudgetCheck(NamedTuple):
    """One budget's part in a decision, as it stood in that instant; all amounts in its currency.

    asked: what the decision asked of it. rate: units of its currency for one of the request's,
    None when they are the same. reset_at: None after the last period.
    """

    budget_id: str
    display_name: str
    version: int
    enforcement: Enforcement
    period: Period
    currency_code: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    asked: Decimal
    reset_at: datetime | None
    is_blocking: bool
    reason: str
    rate: Decimal | None = None
    rate_date: str = ""

    @property
    def remaining(self) -> Decimal:
        """What was left before this decision; negative after an overspend."""
        return EXACT.subtract(EXACT.subtract(self.limit, self.spent), self.held)


class SpendDecision(NamedTuple):
    """What was decided and why. checks: those in the way first. retry_at: None when allowed."""

    outcome: SpendOutcome
    estimate: CostEstimate
    checks: Sequence[BudgetCheck]
    explanation: str
    retry_at: datetime | None = None


class SpendAuthorization(NamedTuple):
    """A decision with the hold it made and what became of it.

    held: zero when nothing is held. excess: the part of the settled cost above the hold, in its
    currency. ended_at: None while it is held.
    """

    tenant_id: str
    authorization_id: str
    state: AuthorizationState
    subject: SpendAttributes
    decision: SpendDecision
    held: Money
    created_at: datetime
    expires_at: datetime
    request_id: str = ""
    usage_source: str = ""
    usage_event_id: str = ""
    settled: Money | None = None
    excess: Decimal = Decimal(0)
    is_settled_late: bool = False
    ended_at: datetime | None = None
