"""Rates one event: which prices apply to it, and what it costs by meter.

An instant, or usage within one stretch of unchanged prices, is priced as a whole. Usage over a
longer period is spread evenly over its time: each meter's quantity is split between the stretches
in proportion to their length, adding up to the quantity to the last digit, and each part has the
price and peak multiplier in force then. A threshold price is chosen by the whole event's quantity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from services.kernel.errors import InvalidArgument
from services.kernel.money import split_by_weight
from services.usage.domain.event import Attributes, Costs, Outcome, UsageEvent
from services.usage.domain.price import WIDE, ChargeOn, Price, volume_tier
from services.usage.domain.price_index import PriceIndex
from services.usage.domain.rate_plan import (
    ZERO,
    MeterRate,
    RatePlan,
    linear_amount,
    round_cost,
    threshold_quantity,
)
from services.usage.domain.stateful_meter import MeterMonth, StatefulMeter

RATED_PERIOD_MAX = timedelta(days=366)  # bounds the stretches one event can be cut into
NOTHING_SO_FAR: Mapping[MeterMonth, Decimal] = MappingProxyType({})

_ONE = Decimal(1)


class PeriodTooLong(InvalidArgument):
    """An event that is rated here lasts at most 366 days; send one event a month or a cost."""

    reason = "PERIOD_TOO_LONG"


class RatingLine(NamedTuple):
    """How one part of the cost came about.

    unit_price: of one unit before the multiplier; None where tiers or packages give no single one
    or it is not an exact number. price_id: "" where no price matches.
    amount: what is billed for it, exact. list_amount: what the work is worth at list price.
    """

    meter: str
    quantity: Decimal
    unit_price: Decimal | None
    multiplier: Decimal
    price_id: str
    amount: Decimal
    list_amount: Decimal


@dataclass(frozen=True, slots=True)
class Rating:
    """What an event costs and why.

    costs: in currency_code ("" where nothing is priced), at most 18 fraction digits.
    lines: by meter and stretch of time; their amounts add up to `costs.billed + residue`.
    residue: what rounding to 18 digits left of the exact total; 0 in all ordinary cases.
    unpriced_meters: meters without a price; they cost 0 and are shown, never guessed.
    metered: quantities to add to running totals, for prices that add up over a month.
    """

    costs: Costs
    currency_code: str
    lines: tuple[RatingLine, ...] = ()
    unpriced_meters: tuple[str, ...] = ()
    residue: Decimal = ZERO
    metered: tuple[tuple[MeterMonth, Decimal], ...] = ()

    @property
    def is_unpriced(self) -> bool:
        """Whether some part of the event has no price."""
        return bool(self.unpriced_meters)


@dataclass(slots=True)
class _Stretch:
    plan: RatePlan
    start_at: datetime
    microseconds: int


@dataclass(slots=True)
class _Work:
    """The event as its lines are priced, and the month's quantities before it and with it."""

    meters: Sequence[str]
    quantities: Sequence[Decimal]
    outcome: Outcome
    running: Mapping[MeterMonth, Decimal]
    added: dict[MeterMonth, Decimal] = field(default_factory=dict)

    def threshold(self, price: Price) -> Decimal:
        """Returns the whole event's quantity that chooses a threshold price's tier."""
        if not price.threshold_meters:
            return ZERO
        return threshold_quantity(price, self.meters, self.quantities)

    def is_charged(self, price: Price) -> bool:
        """Tells whether the outcome is charged; pending work has not ended and never is."""
        if self.outcome is Outcome.FAILED:
            return price.charge_on is ChargeOn.ALWAYS
        return self.outcome is Outcome.SUCCEEDED

    def worth(self, price: Price, quantity: Decimal, *, rate: MeterRate, at: datetime) -> Decimal:
        """Returns what a quantity costs at the tenant's price, counting it where it is charged."""
        if not price.is_stateful:
            threshold = self.threshold(price)
            return linear_amount(price, quantity, multiplier=rate.multiplier, threshold=threshold)
        meter = StatefulMeter(price)
        key = meter.month_of(at)
        before = WIDE.add(self.running.get(key, ZERO), self.added.get(key, ZERO))
        if self.is_charged(price):
            self.added[key] = WIDE.add(self.added.get(key, ZERO), quantity)
        return meter.change_cost(before, quantity)


def metered_quantities(event: UsageEvent) -> tuple[tuple[str, ...], tuple[Decimal, ...]]:
    """Returns the event's meters and their quantities; without components, the unit's."""
    if not event.components:
        return (event.attributes.unit,), (event.quantity,)
    meters, quantities = zip(*event.components, strict=True)
    return meters, quantities


def rate(
    event: UsageEvent,
    index: PriceIndex,
    *,
    running: Mapping[MeterMonth, Decimal] = NOTHING_SO_FAR,
) -> Rating:
    """Rates an event under the prices in force at its time.

    running: the tenant's quantity so far by price and month, for prices that add up over a month;
    add `Rating.metered` to it afterwards, in the same transaction. A cost that the event brings
    along is kept as it is. Work that did not succeed is billed 0 and keeps its list cost; failed
    work is billed where its price says ALWAYS. Raises PeriodTooLong.
    """
    if event.cost is not None:
        return Rating(event.cost, event.attributes.currency_code)
    meters, quantities = metered_quantities(event)
    stretches = _stretches(event, index, meters)
    parts = [
        split_by_weight(quantity, [Decimal(stretch.microseconds) for stretch in stretches])
        if len(stretches) > 1
        else [quantity]
        for quantity in quantities
    ]
    work = _Work(meters, quantities, event.outcome, running)
    lines = [
        _line(meter_rate, split[place], stretch.start_at, work)
        for place, stretch in enumerate(stretches)
        for meter_rate, split in zip(stretch.plan.rates, parts, strict=True)
    ]
    return _rating(lines, stretches, work)


def _rating(lines: Sequence[RatingLine], stretches: Sequence[_Stretch], work: _Work) -> Rating:
    exact, listed = ZERO, ZERO
    for line in lines:
        exact = WIDE.add(exact, line.amount)
        listed = WIDE.add(listed, line.list_amount)
    billed = round_cost(exact)
    codes = [stretch.plan.currency_code for stretch in stretches if stretch.plan.currency_code]
    unpriced = {meter: None for stretch in stretches for meter in stretch.plan.unpriced_meters}
    return Rating(
        costs=Costs(billed=billed, effective=billed, list=round_cost(listed), contracted=billed),
        currency_code=codes[0] if codes else "",
        lines=tuple(lines),
        unpriced_meters=tuple(unpriced),
        residue=WIDE.subtract(exact, billed),
        metered=tuple(work.added.items()),
    )


def _stretches(event: UsageEvent, index: PriceIndex, meters: Sequence[str]) -> list[_Stretch]:
    """Returns the stretches of equal prices that the event's period is made of.

    Stretches with the same prices and multipliers, such as every night, are one.
    """
    start, end = event.start_at.astimezone(UTC), event.end_at.astimezone(UTC)
    attributes = event.attributes
    plan = index.plan(attributes, meters, start)
    if end <= plan.valid_until:
        return [_Stretch(plan, start, 1)]
    if end - start > RATED_PERIOD_MAX:
        raise PeriodTooLong(days=(end - start).days)
    merged: dict[object, _Stretch] = {}
    at = start
    while at < end:
        plan = index.plan(attributes, meters, at)
        attributes = _with_currency(attributes, plan)
        until = min(plan.valid_until, end)
        length = (until - at) // timedelta(microseconds=1)
        key = tuple(_stretch_key(meter_rate, at) for meter_rate in plan.rates)
        stretch = merged.setdefault(key, _Stretch(plan, at, 0))
        stretch.microseconds += length
        at = until
    return list(merged.values())


def _with_currency(attributes: Attributes, plan: RatePlan) -> Attributes:
    """Holds the whole event to the currency of its first price."""
    if attributes.currency_code or not plan.currency_code:
        return attributes
    return attributes._replace(currency_code=plan.currency_code)


def _stretch_key(rate: MeterRate, at: datetime) -> tuple[object, ...]:
    price, public = rate.price, rate.list_price
    if price is None or public is None:
        return ()
    month = StatefulMeter(price).month_of(at) if price.is_stateful else None
    return (price.price_id, rate.multiplier, public.price_id, rate.list_multiplier, month)


def _line(rate: MeterRate, quantity: Decimal, at: datetime, work: _Work) -> RatingLine:
    price, public = rate.price, rate.list_price
    if price is None or public is None:
        return RatingLine(rate.meter, quantity, None, _ONE, "", ZERO, ZERO)
    listed = worth = work.worth(price, quantity, rate=rate, at=at)
    if public is not price:
        threshold = work.threshold(public)
        multiplier = rate.list_multiplier
        listed = linear_amount(public, quantity, multiplier=multiplier, threshold=threshold)
    return RatingLine(
        meter=rate.meter,
        quantity=quantity,
        unit_price=_unit_price(price, work.threshold(price)),
        multiplier=rate.multiplier,
        price_id=price.price_id,
        amount=worth if work.is_charged(price) else ZERO,
        list_amount=listed,
    )


def _unit_price(price: Price, threshold: Decimal) -> Decimal | None:
    if price.is_stateful:
        return None
    unit_price = volume_tier(price, threshold).unit_price
    quotient = WIDE.divide(unit_price, price.per)
    return quotient if WIDE.multiply(quotient, price.per) == unit_price else None
