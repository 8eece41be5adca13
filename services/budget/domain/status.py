"""How a budget stands in a period, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from services.budget.domain.budget import Budget, BudgetPeriod
from services.budget.domain.forecast import HISTORY_DAYS_MAX, Forecast, forecast
from services.budget.domain.terms import BudgetTerms
from services.budget.domain.threshold import Basis, Threshold
from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period

DAY: Final = timedelta(days=1)
_SMALLEST: Final = Decimal(1).scaleb(-18)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class BurnRate:
    """Spend per day. trend: last 7 days over the 7 before, minus 1; None without those."""

    day: Decimal
    week: Decimal
    period: Decimal
    trend: Decimal | None


@dataclass(frozen=True, slots=True)
class Variance:
    """Spend against a reference."""

    reference: Decimal
    difference: Decimal

    @property
    def ratio(self) -> Decimal | None:
        """Share of the reference; None for a reference of nothing."""
        return EXACT.divide(self.difference, self.reference) if self.reference else None


@dataclass(frozen=True, slots=True)
class FiredThreshold:
    """A threshold in a period. fired_at: None while it has not fired."""

    threshold: Threshold
    amount: Decimal
    fired_at: datetime | None = None
    alert_id: str = ""
    expected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SpendHistory:
    """What usage says about a scope before an instant, oldest first.

    hours: (start, cost) of the last two weeks. days: cost of each whole day before today.
    previous: cost of the period before up to the same point; None in the first one.
    """

    hours: Sequence[tuple[datetime, Decimal]] = ()
    days: Sequence[Decimal] = ()
    previous: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """All that is known of a budget in a period. forecast: None for a closed one."""

    budget: Budget
    row: BudgetPeriod
    as_of: datetime
    as_of_sequence: str
    burn_rate: BurnRate
    runway_at: datetime | None
    forecast: Forecast | None
    plan_variance: Variance
    previous_variance: Variance | None
    thresholds: tuple[FiredThreshold, ...]
    drift: Decimal | None = None

    @property
    def terms(self) -> BudgetTerms:
        """The terms of the period as of now."""
        return self.budget.terms_of(self.row.period, self.as_of)

    @property
    def reset_at(self) -> datetime | None:
        """When the next period begins; None after the last one."""
        following = self.budget.following(self.row.period)
        return None if following is None else following.start


def status_of(
    budget: Budget,
    row: BudgetPeriod,
    history: SpendHistory,
    *,
    now: datetime,
    fired: Sequence[FiredThreshold] = (),
    sequence: str = "",
    drift: Decimal | None = None,
) -> BudgetStatus:
    """Computes a status from the period's row and what usage says. fired: those that have."""
    period, totals = row.period, row.totals
    at = min(now, period.end)
    terms = budget.terms_of(period, now)
    is_running = now < period.end
    rate = burn_rate(history, totals.spent, period, at)
    expected = None
    if is_running:
        expected = forecast(history.days, spent=totals.spent, days_left=(period.end - at) / DAY)
    known = {(each.threshold.ratio, each.threshold.basis): each for each in fired}
    return BudgetStatus(
        budget=budget,
        row=row,
        as_of=at,
        as_of_sequence=sequence,
        burn_rate=rate,
        runway_at=runway(budget, row, rate.period, at) if is_running else None,
        forecast=expected,
        plan_variance=_variance(totals.spent, planned(terms, totals.limit, period, at)),
        previous_variance=None
        if history.previous is None
        else _variance(totals.spent, history.previous),
        thresholds=tuple(
            known.get((each.ratio, each.basis)) or _expected(each, row, expected, at)
            for each in terms.thresholds
        ),
        drift=drift,
    )


def burn_rate(history: SpendHistory, spent: Decimal, period: Period, at: datetime) -> BurnRate:
    """Returns the spend per day over the last day, week and the period; hours count whole."""

    def between(first: int, last: int) -> Decimal:
        edges = (at - last * DAY, at - first * DAY)
        return add_exactly(cost for start, cost in history.hours if edges[0] <= start < edges[1])

    week, before = between(0, 7), between(7, 14)
    elapsed = max((at - period.start) / DAY, 1 / 24)
    return BurnRate(
        day=between(0, 1),
        week=_quotient(week, Decimal(7)),
        period=_quotient(spent, Decimal(elapsed)),
        trend=EXACT.divide(week, before) - 1 if before > 0 else None,
    )


def runway(budget: Budget, row: BudgetPeriod, daily: Decimal, at: datetime) -> datetime | None:
    """Returns when the limit is reached at a burn rate; None when not before the period after next.

    What is held counts as spent. In the next period the spend begins anew under the same limit.
    """
    left = row.totals.remaining
    if left <= 0:
        return at
    if daily <= 0:
        return None
    end = at + _days(left / daily)
    if end < row.period.end:
        return end
    following = budget.following(row.period)
    if following is None:
        return None
    parts = budget.limit_parts(following, following.start)
    end = following.start + _days((parts.amount + parts.increased) / daily)
    return end if end < following.end else None


def _days(days: Decimal) -> timedelta:
    return timedelta(days=float(min(days, Decimal(36_500))))


def planned(terms: BudgetTerms, limit: Decimal, period: Period, at: datetime) -> Decimal:
    """Returns the spend planned up to an instant: straight from point to point of the plan."""
    passed = Decimal((at - period.start) / period.duration)
    points = [(_ZERO, _ZERO), *((p.period_ratio, p.amount_ratio) for p in terms.plan)]
    if points[-1][0] < 1:
        points.append((Decimal(1), max(Decimal(1), points[-1][1])))
    share = points[-1][1]
    for (start, low), (end, high) in pairwise(points):
        if passed <= end and end > start:
            share = low + (high - low) * max(passed - start, _ZERO) / (end - start)
            break
    return EXACT.quantize(EXACT.multiply(limit, share), _SMALLEST)


def _variance(spent: Decimal, reference: Decimal) -> Variance:
    return Variance(reference, EXACT.subtract(spent, reference))


def _quotient(amount: Decimal, days: Decimal) -> Decimal:
    return EXACT.quantize(EXACT.divide(amount, days), _SMALLEST)


def _expected(
    threshold: Threshold, row: BudgetPeriod, expected: Forecast | None, at: datetime
) -> FiredThreshold:
    """Returns a threshold that has not fired, with when it will by the forecast."""
    amount = EXACT.multiply(row.totals.limit, threshold.ratio)
    when = None
    if expected is not None and threshold.basis is not Basis.FORECAST:
        when = reached_at(row, expected.expected, amount, at)
    return FiredThreshold(threshold, amount, expected_at=when)


def reached_at(
    row: BudgetPeriod, expected: Decimal, amount: Decimal, at: datetime
) -> datetime | None:
    """Returns when the spend reaches an amount on a straight way to what is expected at the end."""
    spent = row.totals.spent
    if spent >= amount:
        return at
    if expected < amount:
        return None
    share = (amount - spent) / (expected - spent)
    return at + (row.period.end - at) * float(share)


def history_start(now: datetime) -> datetime:
    """Returns from when on days are asked for."""
    return now - (HISTORY_DAYS_MAX + 1) * DAY
