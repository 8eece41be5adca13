"""Decides whether work may spend: in every covering budget or in none.

The guarantee: a hold is made only when, in every covering budget with a hard limit,
spent + held + asked <= limit. Everything is exact, and nothing here knows of locks: whoever calls
holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from services.budget.domain.spend import (
    BudgetCheck,
    CostEstimate,
    SpendDecision,
    SpendOutcome,
)
from services.budget.domain.terms import Enforcement, Throttle
from services.kernel.money import EXACT, format_decimal
from services.kernel.period import Period

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CoveringBudget:
    """What a decision has to know of a budget beside its totals.

    reset_at: None after its last period. throttle: None unless it throttles.
    """

    budget_id: str
    display_name: str
    version: int
    enforcement: Enforcement
    currency_code: str
    period: Period
    reset_at: datetime | None
    denies_unpriced: bool
    throttle: Throttle | None = None


@dataclass(slots=True)
class Account:
    """The totals of a budget in one period while its row is locked.

    throttled_until: the instant before which a throttled budget admits nothing more, None at first.
    """

    limit: Decimal
    spent: Decimal
    held: Decimal
    throttled_until: datetime | None = None

    @property
    def remaining(self) -> Decimal:
        """What may still be authorized; negative after an overspend."""
        return EXACT.subtract(EXACT.subtract(self.limit, self.spent), self.held)


class Asked(NamedTuple):
    """What is asked of one budget, in its currency; rate as in BudgetCheck."""

    amount: Decimal
    rate: Decimal | None = None
    rate_date: str = ""


def decide(
    estimate: CostEstimate,
    budgets: Sequence[tuple[CoveringBudget, Account, Asked]],
    now: datetime,
) -> SpendDecision:
    """Returns the decision over all covering budgets; `hold` then makes the hold."""
    checks = [
        _check(budget, account, asked, now, is_unpriced=estimate.is_unpriced)
        for budget, account, asked in budgets
    ]
    blocking = [check for check in checks if check.is_blocking]
    if not blocking:
        outcome = _allowed(estimate, budgets)
        return SpendDecision(outcome, estimate, checks, _ALLOWED_TEXTS[outcome])
    outcome, retry_at = _denied(budgets, checks, is_unpriced=estimate.is_unpriced)
    checks.sort(key=lambda check: not check.is_blocking)
    first = blocking[0]
    text = f"Denied: {first.reason}"
    if len(blocking) > 1:
        text += f" {len(blocking) - 1} more {'is' if len(blocking) == 2 else 'are'} in the way."  # noqa: PLR2004 - grammar
    return SpendDecision(outcome, estimate, checks, text, retry_at)


def hold(budgets: Sequence[tuple[CoveringBudget, Account, Asked]], now: datetime) -> None:
    """Takes what an allowed decision asked into the totals, and a turn of each throttle."""
    for budget, account, asked in budgets:
        if _is_slowed(budget, account) and budget.throttle is not None:
            begins = max(account.throttled_until or now, now)
            account.throttled_until = begins + _interval(budget, budget.throttle, now)
        account.held = EXACT.add(account.held, asked.amount)


_ALLOWED_TEXTS = {
    SpendOutcome.ALLOWED: "Allowed: the amount fits every covering budget.",
    SpendOutcome.ALLOWED_UNCOVERED: "Allowed: no budget covers the work.",
    SpendOutcome.ALLOWED_OVER_SOFT_LIMIT: (
        "Allowed: a covering budget is passed, but it only alerts or slows down."
    ),
    SpendOutcome.ALLOWED_UNPRICED: (
        "Allowed without a hold: the price is unknown, and every covering budget lets such work "
        "pass; its cost counts once it is known."
    ),
}


def _allowed(
    estimate: CostEstimate, budgets: Sequence[tuple[CoveringBudget, Account, Asked]]
) -> SpendOutcome:
    if not budgets:
        return SpendOutcome.ALLOWED_UNCOVERED
    if estimate.is_unpriced:
        return SpendOutcome.ALLOWED_UNPRICED
    if any(asked.amount > account.remaining for _, account, asked in budgets):
        return SpendOutcome.ALLOWED_OVER_SOFT_LIMIT
    return SpendOutcome.ALLOWED


def _denied(
    budgets: Sequence[tuple[CoveringBudget, Account, Asked]],
    checks: Sequence[BudgetCheck],
    *,
    is_unpriced: bool,
) -> tuple[SpendOutcome, datetime | None]:
    """Returns the outcome by its strongest cause, and when the last one in the way gives way."""
    retry_at: datetime | None = None
    outcome = SpendOutcome.DENIED_THROTTLED
    for (budget, account, _), check in zip(budgets, checks, strict=True):
        if not check.is_blocking:
            continue
        if budget.enforcement is Enforcement.HARD and check.asked > account.remaining:
            outcome, gives_way = SpendOutcome.DENIED_LIMIT, budget.period.end
        elif is_unpriced and budget.denies_unpriced:
            # No waiting makes a price known.
            outcome, gives_way = min(outcome, SpendOutcome.DENIED_UNPRICED, key=_strength), None
        else:
            gives_way = account.throttled_until
        if gives_way is not None and (retry_at is None or gives_way > retry_at):
            retry_at = gives_way
    return outcome, None if outcome is SpendOutcome.DENIED_UNPRICED else retry_at


def _strength(outcome: SpendOutcome) -> int:
    return (
        SpendOutcome.DENIED_LIMIT,
        SpendOutcome.DENIED_UNPRICED,
        SpendOutcome.DENIED_THROTTLED,
    ).index(outcome)


def _check(
    budget: CoveringBudget, account: Account, asked: Asked, now: datetime, *, is_unpriced: bool
) -> BudgetCheck:
    remaining = account.remaining
    code = budget.currency_code
    is_blocking = False
    reason = "The amount fits."
    if asked.amount > remaining:
        reason = (
            f"{budget.display_name} has {format_decimal(remaining)} {code} left of "
            f"{format_decimal(account.limit)} {code}, and {format_decimal(asked.amount)} {code} "
            "is asked."
        )
        is_blocking = budget.enforcement is Enforcement.HARD
    if not is_blocking and is_unpriced and budget.denies_unpriced:
        is_blocking = True
        reason = f"{budget.display_name} refuses work whose price is unknown."
    if not is_blocking and _is_slowed(budget, account):
        until = account.throttled_until
        if until is not None and now < until:
            is_blocking = True
            reason = f"{budget.display_name} is near its limit and slows work down."
    return BudgetCheck(
        budget_id=budget.budget_id,
        display_name=budget.display_name,
        version=budget.version,
        enforcement=budget.enforcement,
        period=budget.period,
        currency_code=code,
        limit=account.limit,
        spent=account.spent,
        held=account.held,
        asked=asked.amount,
        reset_at=budget.reset_at,
        is_blocking=is_blocking,
        reason=reason,
        rate=asked.rate,
        rate_date=asked.rate_date,
    )


def _is_slowed(budget: CoveringBudget, account: Account) -> bool:
    throttle = budget.throttle
    if throttle is None:
        return False
    used = EXACT.add(account.spent, account.held)
    return used >= EXACT.multiply(throttle.start_ratio, account.limit)


def _interval(budget: CoveringBudget, throttle: Throttle, now: datetime) -> timedelta:
    """Returns the time one turn takes; until the reset when the rate is zero."""
    if throttle.authorizations_per_second == _ZERO:
        return max(budget.period.end - now, timedelta(0))
    return timedelta(
        microseconds=int(EXACT.divide(Decimal(1_000_000), throttle.authorizations_per_second))
    )
