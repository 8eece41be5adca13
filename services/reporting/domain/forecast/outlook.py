"""When a budget's money is gone, and how probable that is before its period ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from services.kernel.period import Period
from services.reporting.domain.forecast.answer import BudgetOutlook
from services.reporting.domain.forecast.series_forecast import SeriesForecast

# The window holds the breach in four of five courses that breach at all.
WINDOW_TAIL = 0.1


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """How a budget stands now. period_end: None for one that never ends."""

    budget_id: str
    limit: Decimal
    spent: Decimal
    currency_code: str
    period_end: datetime | None


def outlook(
    standing: BudgetStanding, total: SeriesForecast, edges: Sequence[datetime]
) -> BudgetOutlook:
    """Follows every course of the future until it passes the limit.

    edges: first instants of the steps, and the end of the last. Of a period that ends behind the
    horizon only the part up to the horizon is judged.
    """
    remaining = standing.limit - standing.spent
    left = float(remaining)
    inside = sum(standing.period_end is None or edge < standing.period_end for edge in edges[:-1])
    runway = first_passing(total.mean, left)
    is_over = left <= 0
    passed = [first_passing(path[:inside], left) for path in total.paths]
    breaches = [step for step in passed if step is not None]
    probability = Decimal(len(breaches)) / Decimal(len(passed)) if passed else Decimal(0)
    window = None
    if breaches:
        low, high = np.quantile(breaches, [WINDOW_TAIL, 1 - WINDOW_TAIL])
        window = Period(edges[int(low)], edges[int(np.ceil(high)) + 1])
    breach = runway if runway is not None and runway < inside else None
    return BudgetOutlook(
        budget_id=standing.budget_id,
        limit=standing.limit,
        currency_code=standing.currency_code,
        runway_at=edges[0] if is_over else None if runway is None else edges[runway],
        breach_at=edges[0] if is_over else None if breach is None else edges[breach],
        breach_window=window,
        breach_probability=Decimal(1) if is_over else round(probability, 6),
    )


def first_passing(values: Sequence[float] | np.ndarray, left: float) -> int | None:
    """Returns the step in which the running sum reaches what is left; None when never."""
    places = np.flatnonzero(np.cumsum(values) >= left)
    return int(places[0]) if len(places) else None
