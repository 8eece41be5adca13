"""Prices as far as an estimate needs them: the first tier, without peaks; rating is usage's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase

from services.budget.domain.scope import SpendAttributes
from services.kernel.money import EXACT, FRACTION_DIGITS_MAX, Money

_SMALLEST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_NAMED = ("resource_id", "service", "region", "provider")


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """The price of one meter. per: units that unit_price is for. Attributes in lower case.

    is_global: not the tenant's own. start_at, end_at: None for always.
    """

    meter: str
    currency_code: str
    unit_price: Decimal
    per: Decimal
    is_global: bool = False
    resource_id: str = ""
    service: str = ""
    region: str = ""
    provider: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None

    def applies_to(self, subject: SpendAttributes, at: datetime) -> bool:
        """Tells whether the work is priced by it at an instant."""
        if self.start_at is not None and at < self.start_at:
            return False
        if self.end_at is not None and at >= self.end_at:
            return False
        if self.resource_id and not fnmatchcase(subject.resource_id.lower(), self.resource_id):
            return False
        return all(
            getattr(self, name) in ("", getattr(subject, name).lower()) for name in _NAMED[1:]
        )

    @property
    def rank(self) -> tuple[bool, int, bool, int]:
        """Greater wins: the tenant's own, more attributes named, an exact resource, a longer."""
        named = sum(1 for name in _NAMED if getattr(self, name))
        is_exact = not set(self.resource_id) & set("*?[")
        return (not self.is_global, named, is_exact, len(self.resource_id))


class PriceList:
    """Prices of one resource type."""

    def __init__(self, prices: Sequence[ListedPrice]) -> None:
        """Takes prices in any order; the best of each meter is found when asked."""
        self._prices = sorted(prices, key=lambda price: price.rank, reverse=True)

    def cost(
        self, subject: SpendAttributes, quantities: Mapping[str, Decimal], at: datetime
    ) -> Money | None:
        """Returns the cost of quantities by meter; None for a missing price or two currencies."""
        total = Decimal(0)
        codes: set[str] = set()
        for meter, quantity in quantities.items():
            price = next(
                (p for p in self._prices if p.meter == meter and p.applies_to(subject, at)), None
            )
            if price is None:
                return None
            codes.add(price.currency_code)
            part = EXACT.divide(EXACT.multiply(quantity, price.unit_price), price.per)
            total = EXACT.add(total, part)
        if len(codes) != 1:
            return None
        return Money(codes.pop(), EXACT.quantize(total, _SMALLEST))
