"""Exact money: a decimal amount in one currency, never a float, never rounded before an invoice."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from services.kernel.errors import InvalidArgument

FRACTION_DIGITS_MAX = 18  # real OCI and FOCUS bills carry 15 to 18
INTEGER_DIGITS_MAX = 20  # NUMERIC(38, 18)
# Products of two NUMERIC(38, 18) values are exact within this precision.
EXACT = Context(prec=80)

_DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,18})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z][A-Z0-9_]{2,15}", re.ASCII)


class InvalidDecimal(InvalidArgument):
    """A decimal is text such as 12.5, with at most 20 digits before and 18 after the point."""

    reason = "INVALID_DECIMAL"


class InvalidCurrency(InvalidArgument):
    """A currency is an ISO 4217 code in upper case such as USD."""

    reason = "INVALID_CURRENCY"


class CurrencyMismatch(InvalidArgument):
    """Amounts in two currencies are never added; ask for one currency to have them converted."""

    reason = "CURRENCY_MISMATCH"


class InvalidWeights(InvalidArgument):
    """Weights are zero or more, and at least one is above zero."""

    reason = "INVALID_WEIGHTS"


def parse_decimal(text: str) -> Decimal:
    """Reads plain decimal text exactly. Raises InvalidDecimal; exponents and NaN are refused."""
    if _DECIMAL.fullmatch(text) is None:
        raise InvalidDecimal(f"{text[:60]!r} is not a plain decimal such as 12.5", value=text[:60])
    return Decimal(text)


def format_decimal(value: Decimal) -> str:
    """Returns plain text without exponent and without trailing zeros after the point."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency.

    currency_code: ISO 4217 or a FOCUS virtual currency. Raises InvalidCurrency.
    """

    currency_code: str
    amount: Decimal

    def __post_init__(self) -> None:
        if _CURRENCY.fullmatch(self.currency_code) is None:
            raise InvalidCurrency(
                f"{self.currency_code!r} is not a currency code", value=self.currency_code
            )
        if not self.amount.is_finite():
            raise InvalidDecimal(f"{self.amount} is not a finite amount", value=self.amount)

    def __add__(self, other: Money) -> Money:
        self._require_same_currency(other)
        return Money(self.currency_code, EXACT.add(self.amount, other.amount))

    def __sub__(self, other: Money) -> Money:
        self._require_same_currency(other)
        return Money(self.currency_code, EXACT.subtract(self.amount, other.amount))

    def __neg__(self) -> Money:
        return Money(self.currency_code, EXACT.minus(self.amount))

    def __str__(self) -> str:
        return f"{format_decimal(self.amount)} {self.currency_code}"

    def _require_same_currency(self, other: Money) -> None:
        if self.currency_code != other.currency_code:
            raise CurrencyMismatch(left=self.currency_code, right=other.currency_code)


def add_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Returns the exact sum; `sum` would round to the context's 28 digits."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def split_by_weight(
    amount: Decimal, weights: Sequence[Decimal], *, fraction_digits: int = FRACTION_DIGITS_MAX
) -> list[Decimal]:
    """Splits an amount in proportion to weights so that the parts add up to it to the last digit.

    weights: none negative, at least one positive. amount: with at most that many fraction digits.
    Each part is truncated toward zero; the units left over go to the largest remainders, ties to
    the earlier weight, so that the same input always gives the same parts.
    Raises InvalidWeights, or InvalidDecimal for another amount.
    Source: largest remainder method (Hamilton).
    """
    if not weights or any(not weight.is_finite() or weight < 0 for weight in weights):
        raise InvalidWeights("weights must be zero or more, and there must be at least one")
    if not any(weights):
        raise InvalidWeights("at least one weight must be above zero")
    if not amount.is_finite():
        raise InvalidDecimal(f"{amount} is not a finite amount", value=amount)
    # Whole numbers all the way: no context's precision can make a part a unit too large.
    numerator, denominator = amount.as_integer_ratio()
    units, beyond = divmod(abs(numerator) * 10**fraction_digits, denominator)
    if beyond:
        raise InvalidDecimal(
            f"{amount} has more than {fraction_digits} fraction digits", value=amount
        )
    ratios = [weight.as_integer_ratio() for weight in weights]
    scale = math.lcm(*(below for _, below in ratios))
    shares = [above * (scale // below) for above, below in ratios]
    total = sum(shares)
    divided = [divmod(units * share, total) for share in shares]
    parts = [part for part, _ in divided]
    order = sorted(range(len(parts)), key=lambda index: (-divided[index][1], index))
    for index in order[: units - sum(parts)]:
        parts[index] += 1
    sign = -1 if amount < 0 else 1
    return [EXACT.scaleb(Decimal(sign * part), -fraction_digits) for part in parts]
