"""What the feed of budgets tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from services.budget.domain.budget import PeriodTotals
from services.kernel.period import Period


class ChangeKind(Enum):
    """What about a budget changed."""

    CREATED = "created"
    UPDATED = "updated"
    ACTIVATED = "activated"
    ENDED = "ended"
    TOTALS = "totals"
    PERIOD_RESET = "period_reset"
    INCREASE = "increase"
    RECONCILED = "reconciled"


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """One change. period, totals: None where the budget has no period, as a draft."""

    kind: ChangeKind
    budget_id: str
    version: int
    changed_at: datetime
    currency_code: str
    period: Period | None = None
    totals: PeriodTotals | None = None
