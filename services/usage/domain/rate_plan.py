"""A rate plan: the prices of one kind of event, resolved once and applied to many.

Costs have at most 18 fraction digits, as they are stored. Quantity times unit price is exact at
that scale for every price and quantity met in practice (tokens at 12 digits, hours at 9); where a
product has more digits, or `per` does not divide it, the event's exact total is rounded once, half
to even, and the rating says what rounding left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.kernel.errors import FailedPrecondition
from services.kernel.money import FRACTION_DIGITS_MAX
from services.usage.domain.event import Costs, Outcome
from services.usage.domain.price import WIDE, ChargeOn, Price, volume_tier

ZERO = Decimal(0)
SMALLEST_COST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)

_fma = WIDE.fma
_quantize = WIDE.quantize


class RunningTotalNeeded(FailedPrecondition):
    """A price adds up over the month; rate the event with the quantity so far."""

    reason = "RUNNING_TOTAL_NEEDED"


class MeterRate(NamedTuple):
    """The price of one meter at one time.

    price: None where no price matches. list_price: the public price, the same one where the tenant
    has none of its own. multipliers: of each price's peak schedule.
    """

    meter: str
    price: Price | None
    multiplier: Decimal
    list_price: Price | None
    list_multiplier: Decimal


class _RateTable(NamedTuple):
    """Exact cost of one unit by meter, for each stretch of the threshold quantity.

    Row n of rates holds up to and including boundary n; the last row beyond all of them.
    """

    threshold_positions: tuple[int, ...]
    boundaries: tuple[Decimal, ...]
    rates: tuple[tuple[Decimal, ...], ...]

    def cost(self, quantities: Sequence[Decimal]) -> Decimal:
        row = 0
        if self.boundaries:
            threshold = ZERO
            for position in self.threshold_positions:
                threshold = WIDE.add(threshold, quantities[position])
            row = bisect_left(self.boundaries, threshold)
        return _total(quantities, self.rates[row])


class RatePlan:
    """Prices of a fixed list of meters, in force from `valid_from` up to `valid_until`.

    meters: the order in which quantities are given. currency_code: "" where no meter has a price.
    is_stateful: some price adds up over the month; rate such events with `rating.rate`.
    An event that lasts beyond `valid_until` is rated there too: its quantity is spread over time.
    """

    __slots__ = (
        "_charged",
        "_charged_when_failed",
        "_charged_without_threshold",
        "_is_free_when_failed",
        "_is_listed_as_charged",
        "_listed",
        "currency_code",
        "is_stateful",
        "meters",
        "rates",
        "unpriced_meters",
        "valid_from",
        "valid_until",
    )

    def __init__(
        self,
        rates: tuple[MeterRate, ...],
        *,
        currency_code: str,
        valid_from: datetime,
        valid_until: datetime,
    ) -> None:
        """Takes one rate a meter; valid_from and valid_until are aware UTC."""
        self.rates = rates
        self.meters = tuple(rate.meter for rate in rates)
        self.currency_code = currency_code
        self.valid_from = valid_from
        self.valid_until = valid_until
        self.unpriced_meters = tuple(rate.meter for rate in rates if rate.price is None)
        self.is_stateful = any(rate.price is not None and rate.price.is_stateful for rate in rates)
        self._charged = _table(rates, _charged)
        self._charged_when_failed = _table(rates, _charged_when_failed)
        self._listed = _table(rates, _listed)
        self._is_listed_as_charged = all(rate.list_price is rate.price for rate in rates)
        self._is_free_when_failed = all(_charged_when_failed(rate)[0] is None for rate in rates)
        table = self._charged
        self._charged_without_threshold = (
            table.rates[0] if table is not None and not table.boundaries else None
        )

    @property
    def is_unpriced(self) -> bool:
        """Whether some meter has no price; its part of the cost is missing, never guessed."""
        return bool(self.unpriced_meters)

    def cost(self, quantities: Sequence[Decimal]) -> Decimal:
        """Returns the billed cost of succeeded work, in `currency_code`, at most 18 digits.

        quantities: one a meter, in the order of `meters`. Raises RunningTotalNeeded.
        """
        rates = self._charged_without_threshold
        if rates is None:
            return self._cost(self._charged, _charged, quantities)
        total = ZERO
        for quantity, rate in zip(quantities, rates, strict=True):
            total = _fma(quantity, rate, total)
        rounded = _quantize(total, SMALLEST_COST)
        return total if rounded == total else rounded

    def list_cost(self, quantities: Sequence[Decimal]) -> Decimal:
        """Returns the value of the work at list prices, whatever its outcome."""
        return self._cost(self._listed, _listed, quantities)

    def costs(self, quantities: Sequence[Decimal], outcome: Outcome) -> Costs:
        """Returns the four costs. Work that did not succeed keeps its list cost.

        Raises RunningTotalNeeded.
        """
        if outcome is Outcome.SUCCEEDED:
            billed = self.cost(quantities)
            listed = billed if self._is_listed_as_charged else self.list_cost(quantities)
            return Costs(billed, billed, listed, billed)
        listed = self.list_cost(quantities)
        billed = ZERO
        if outcome is Outcome.FAILED and not self._is_free_when_failed:
            billed = self._cost(self._charged_when_failed, _charged_when_failed, quantities)
        return Costs(billed, billed, listed, billed)

    def _cost(
        self, table: _RateTable | None, chosen: _Choice, quantities: Sequence[Decimal]
    ) -> Decimal:
        if self.is_stateful:
            raise RunningTotalNeeded
        if table is not None:
            return round_cost(table.cost(quantities))
        amounts = ZERO
        for rate, quantity in zip(self.rates, quantities, strict=True):
            price, multiplier = chosen(rate)
            if price is not None:
                threshold = threshold_quantity(price, self.meters, quantities)
                amount = linear_amount(price, quantity, multiplier=multiplier, threshold=threshold)
                amounts = WIDE.add(amounts, amount)
        return round_cost(amounts)


_Choice = Callable[[MeterRate], tuple[Price | None, Decimal]]


def _charged(rate: MeterRate) -> tuple[Price | None, Decimal]:
    return rate.price, rate.multiplier


def _charged_when_failed(rate: MeterRate) -> tuple[Price | None, Decimal]:
    is_charged = rate.price is not None and rate.price.charge_on is ChargeOn.ALWAYS
    return rate.price if is_charged else None, rate.multiplier


def _listed(rate: MeterRate) -> tuple[Price | None, Decimal]:
    return rate.list_price, rate.list_multiplier


def round_cost(exact: Decimal) -> Decimal:
    """Returns the amount with at most 18 fraction digits, half to even; unchanged where it fits."""
    rounded = _quantize(exact, SMALLEST_COST)
    return exact if rounded == exact else rounded


def threshold_quantity(
    price: Price, meters: Sequence[str], quantities: Sequence[Decimal]
) -> Decimal:
    """Returns the quantity that chooses the tier of a price with threshold meters, else 0."""
    total = ZERO
    for meter, quantity in zip(meters, quantities, strict=True):
        if meter in price.threshold_meters:
            total = WIDE.add(total, quantity)
    return total


def linear_amount(
    price: Price, quantity: Decimal, *, multiplier: Decimal, threshold: Decimal
) -> Decimal:
    """Returns the exact amount of a price that does not add up over the month.

    threshold: as `threshold_quantity` gives it. Exact unless `per` does not divide the product.
    """
    unit_price = volume_tier(price, threshold).unit_price
    product = WIDE.multiply(WIDE.multiply(quantity, unit_price), multiplier)
    return WIDE.divide(product, price.per)


def _total(quantities: Sequence[Decimal], rates: Sequence[Decimal]) -> Decimal:
    total = ZERO
    for quantity, rate in zip(quantities, rates, strict=True):
        total = _fma(quantity, rate, total)
    return total


def _table(rates: Sequence[MeterRate], chosen: _Choice) -> _RateTable | None:
    """Returns the rates as a table, or None where they are not plain exact numbers a unit."""
    choices = [chosen(rate) for rate in rates]
    prices = [price for price, _ in choices if price is not None]
    if any(price.is_stateful for price in prices):
        return None
    thresholds = {price.threshold_meters for price in prices if price.threshold_meters}
    if len(thresholds) > 1:
        return None
    boundaries = sorted(
        {tier.up_to for price in prices for tier in price.tiers if tier.up_to is not None}
    )
    beyond = boundaries[-1] + 1 if boundaries else ZERO
    rows = []
    for threshold in (*boundaries, beyond):
        row = [_unit_rate(price, multiplier, threshold) for price, multiplier in choices]
        exact = [rate for rate in row if rate is not None]
        if len(exact) < len(row):
            return None
        rows.append(tuple(exact))
    threshold_meters = next(iter(thresholds), ())
    positions = [place for place, rate in enumerate(rates) if rate.meter in threshold_meters]
    return _RateTable(tuple(positions), tuple(boundaries), tuple(rows))


def _unit_rate(price: Price | None, multiplier: Decimal, threshold: Decimal) -> Decimal | None:
    """Returns the cost of one unit, or None where the quotient is not exact."""
    if price is None:
        return ZERO
    rate = linear_amount(price, Decimal(1), multiplier=multiplier, threshold=threshold)
    product = WIDE.multiply(volume_tier(price, threshold).unit_price, multiplier)
    return rate if WIDE.multiply(rate, price.per) == product else None
