"""Prices that add up over a month: what a change of the running quantity costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from services.kernel.period import zone
from services.usage.domain.price import WIDE, Price, charge
from services.usage.domain.rate_plan import round_cost


class MeterMonth(NamedTuple):
    """Names one running quantity: a price and the first day of a month in the price's zone."""

    price_id: str
    month: date


@dataclass(frozen=True, slots=True)
class StatefulMeter:
    """Rates quantities against the month's running total of one price.

    With f(total) the cost of a month's total, a quantity q after a total t costs f(t + q) - f(t),
    and taking it back costs f(t - q) - f(t). f is rounded to the 18 stored digits before the
    difference, so the changes of a month add up to f(total) exactly, in whatever order they come.
    """

    price: Price

    def month_of(self, instant: datetime) -> MeterMonth:
        """Returns the running quantity that usage at an aware instant adds to."""
        local = instant.astimezone(zone(self.price.time_zone))
        return MeterMonth(self.price.price_id, local.date().replace(day=1))

    def total_cost(self, total: Decimal) -> Decimal:
        """Returns f(total): what a month with that quantity costs; 0 at 0 and below."""
        return round_cost(charge(self.price, total))

    def change_cost(self, before: Decimal, quantity: Decimal) -> Decimal:
        """Returns what adding a quantity to the running total costs.

        quantity: negative takes back. The result may be negative, for example where a volume price
        falls as the total passes into its next tier.
        """
        after = WIDE.add(before, quantity)
        return WIDE.subtract(self.total_cost(after), self.total_cost(before))
