"""Budgets as reports and dashboards see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class BudgetForecast:
    """Spend at the period's end, with its interval, and how probable it passes the limit."""

    expected: Decimal
    lower: Decimal
    upper: Decimal
    breach_probability: Decimal


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How a budget stands in its present period.

    period_end, forecast: None where there is none. reset_at: when the next period begins, None
    where none does.
    """

    budget_id: str
    display_name: str
    currency_code: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    remaining: Decimal
    utilization: Decimal
    period_start: datetime
    period_end: datetime | None
    forecast: BudgetForecast | None
    runway_at: datetime | None
    reset_at: datetime | None = None
