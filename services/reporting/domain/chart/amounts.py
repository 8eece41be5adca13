"""How amounts of a currency are written in pictures: alike within one, whole where they are large.

The exact decimal stands beside each number drawn; what is written here is for reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from services.kernel.money import EXACT

MINUS: Final = "\N{MINUS SIGN}"
# From here on, labels are written in units of the next name.
_UNITS: Final = (
    (Decimal(10) ** 13, "T", Decimal(10) ** 12),
    (Decimal(10) ** 10, "B", Decimal(10) ** 9),
    (Decimal(10) ** 7, "M", Decimal(10) ** 6),
)
# From here on, the minor unit of a currency is not worth a label.
_WHOLE_FROM: Final = 100
_THOUSAND: Final = 1_000
_TEN: Final = 10
# Digits that an amount below the minor unit is shown with.
_SIGNIFICANT: Final = 2
_FRACTION_DIGITS_MAX: Final = 18

Labels = Callable[[Decimal], str]


@dataclass(frozen=True, slots=True)
class MoneyStyle:
    """How a currency is written. before, after: its sign; digits: of its minor unit."""

    before: str
    after: str
    digits: int

    def text(self, amount: Decimal) -> str:
        """Returns an amount to its minor unit, or to two digits where that would be nothing."""
        return self._signed(amount, self._digits(amount), "")

    def labels(self, amounts: Iterable[Decimal]) -> Labels:
        """Returns what writes all of these amounts with the same unit and digits."""
        largest = max((abs(amount) for amount in amounts), default=Decimal(0))
        for least, name, unit in _UNITS:
            if largest >= least:
                return lambda amount: self._signed(EXACT.divide(amount, unit), 1, name)
        digits = 0 if largest >= _WHOLE_FROM else self._digits(largest)
        return lambda amount: self._signed(amount, digits, "")

    def axis(self, largest: Decimal) -> str:
        """Returns the Vega expression of an axis's labels. largest: of what the axis shows."""
        before, after = json.dumps(self.before), json.dumps(self.after)
        if abs(largest) >= _THOUSAND:
            # SI calls a billion G, which money does not.
            number = "replace(format(abs(datum.value), '~s'), 'G', 'B')"
        else:
            digits = 0 if abs(largest) >= _TEN else self._digits(largest)
            number = f"format(abs(datum.value), ',.{digits}f')"
        return f"(datum.value < 0 ? '{MINUS}' : '') + {before} + {number} + {after}"

    def _digits(self, amount: Decimal) -> int:
        if not amount or amount.adjusted() >= -self.digits:
            return self.digits
        return min(_SIGNIFICANT - 1 - amount.adjusted(), _FRACTION_DIGITS_MAX)

    def _signed(self, amount: Decimal, digits: int, name: str) -> str:
        size = rounded(amount.copy_abs(), digits)
        sign = MINUS if amount < 0 and size else ""
        return f"{sign}{self.before}{size:,.{digits}f}{name}{self.after}"


def rounded(amount: Decimal, digits: int) -> Decimal:
    """Returns an amount to so many digits behind the point, half to even."""
    context = EXACT.copy()
    context.rounding = ROUND_HALF_EVEN
    return context.quantize(amount, Decimal(1).scaleb(-digits))


def with_sign(text: str, amount: Decimal) -> str:
    """Returns the text of a change, with its sign also where it is above zero."""
    return f"+{text}" if amount > 0 else text


def share_text(part: Decimal, whole: Decimal) -> str:
    """Returns a share of a whole in percent; empty where there is no whole."""
    if not whole:
        return ""
    share = EXACT.divide(part * 100, whole)
    return "<1 %" if 0 < share < 1 else f"{rounded(share, 0):,.0f} %".replace("-", MINUS)
