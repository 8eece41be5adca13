"""How much to hold for work whose price nobody gave: by the history of the same kind of work.

Worst cases starve others: if each call holds fifty times its cost, a budget admits a fiftieth of
what it could pay. So a hold is a quantile of what such work did cost, the probability to pass it is
said, and what passes it is stored in full as excess.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_UP, Context, Decimal
from typing import NamedTuple

from services.budget.domain.spend import CostEstimate, EstimateMethod
from services.kernel.money import EXACT, Money, format_decimal

QUANTILE = Decimal("0.9")  # one call of ten costs more, which the budget bears as excess
SAMPLES_MIN = 10  # a quantile of 0.9 needs ten to have one above it
_TWO_DIGITS = Context(prec=2, rounding=ROUND_UP)
_RATIO_DIGITS = Decimal("0.000001")
_ZERO = Decimal(0)
_ONE = Decimal(1)


class CostBucket(NamedTuple):
    """How many past costs were at most `upper`, and above the bucket before."""

    upper: Decimal
    samples: int


def bucket_of(cost: Decimal) -> Decimal:
    """Returns the upper bound of a cost's bucket: two digits, rounded up, at most 10 % above."""
    return _TWO_DIGITS.plus(cost) if cost > 0 else _ZERO


def by_history(
    buckets: Sequence[CostBucket], currency_code: str, *, worst_case: Money | None, of: str
) -> CostEstimate | None:
    """Returns the estimate by past costs; None where there are too few.

    buckets: in rising order. worst_case: bounds the hold. of: says whose history it is.
    """
    total = sum(bucket.samples for bucket in buckets)
    if total < SAMPLES_MIN:
        return None
    seen = 0
    upper = buckets[-1].upper
    for bucket in buckets:
        seen += bucket.samples
        if seen >= QUANTILE * total:
            upper = bucket.upper
            break
    above = EXACT.divide(Decimal(total - seen), Decimal(total)).quantize(_RATIO_DIGITS)
    text = (
        f"{QUANTILE:.0%} of {total} calls of {of} cost at most {format_decimal(upper)} "
        f"{currency_code}."
    )
    amount = Money(currency_code, upper)
    if _bounds(worst_case, amount):
        text += " The call's own bounds are lower and are held instead."
        amount, above = worst_case or amount, _ZERO
    return CostEstimate(EstimateMethod.HISTORY, amount, text, worst_case, QUANTILE, total, above)


def by_caller(amount: Money) -> CostEstimate:
    """Returns the estimate that the caller gave."""
    return CostEstimate(EstimateMethod.CALLER, amount, "The caller gave the amount.")


def by_prices(amount: Money, *, worst_case: Money | None) -> CostEstimate:
    """Returns the estimate by expected quantities and prices, no higher than the bounds allow."""
    text = "The expected quantities were priced by the price book."
    if _bounds(worst_case, amount):
        text += " The call's own bounds are lower and are held instead."
        amount = worst_case or amount
    return CostEstimate(EstimateMethod.PRICE_BOOK, amount, text, worst_case)


def by_bounds(worst_case: Money) -> CostEstimate:
    """Returns the most that the work can cost: safe, and only until there is some history."""
    text = "Nothing is known of such work but its own bounds, priced by the price book."
    return CostEstimate(EstimateMethod.PRICE_BOOK, worst_case, text, worst_case)


def by_default(amount: Money, *, worst_case: Money | None) -> CostEstimate:
    """Returns the operator's fixed amount, no higher than the bounds allow."""
    text = "Neither prices nor history are known; the operator's fixed amount is held."
    if _bounds(worst_case, amount):
        amount = worst_case or amount
    return CostEstimate(EstimateMethod.DEFAULT, amount, text, worst_case)


def unpriced(currency_code: str) -> CostEstimate:
    """Returns the estimate that says there is none."""
    return CostEstimate(
        EstimateMethod.UNPRICED,
        Money(currency_code, _ZERO),
        "No amount was given, no price matches, and there is too little history.",
    )


def _bounds(worst_case: Money | None, amount: Money) -> bool:
    """Tells whether the work cannot cost as much as the estimate."""
    return (
        worst_case is not None
        and worst_case.currency_code == amount.currency_code
        and worst_case.amount < amount.amount
    )
