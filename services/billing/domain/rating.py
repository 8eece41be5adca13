"""What a quantity costs under a charge of a plan: exact, never rounded here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.billing.domain.plan import ZERO, PlanCharge, PriceModel, PriceTier
from services.kernel.money import EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class TierUse:
    """Part of a quantity in one tier, or in packages; then the quantity counts packages."""

    from_quantity: Decimal
    quantity: Decimal
    unit_price: Decimal
    flat_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """What a quantity costs.

    exact: in the plan's currency. included: the part of the quantity that cost nothing.
    unit_price: None for tiers, packages and flat prices.
    """

    exact: Fraction
    included: Decimal = ZERO
    tiers: tuple[TierUse, ...] = ()
    unit_price: Decimal | None = None


def rate(
    charge: PlanCharge, quantity: Decimal, *, cost: Fraction = Fraction(0), events: int = 0
) -> Rated:
    """Returns what a period's whole quantity costs.

    cost: the usage's own cost in the plan's currency, for COST_PLUS. events: how many usage events
    there were, which decides for FLAT. A quantity below zero, which corrections can leave, costs
    what none does. The included quantity comes off first; then the minimum and maximum bound it.
    """
    counted = max(quantity, ZERO)
    included = min(counted, charge.included_quantity)
    billable = EXACT.subtract(counted, included)
    rated = _rate(charge, billable, cost=cost, counted=counted, has_usage=bool(events or counted))
    exact = rated.exact
    if charge.minimum is not None:
        exact = max(exact, Fraction(charge.minimum))
    if charge.maximum is not None:
        exact = min(exact, Fraction(charge.maximum))
    return Rated(exact=exact, included=included, tiers=rated.tiers, unit_price=rated.unit_price)


def _rate(
    charge: PlanCharge, billable: Decimal, *, cost: Fraction, counted: Decimal, has_usage: bool
) -> Rated:
    match charge.price_model:
        case PriceModel.PER_UNIT:
            exact = Fraction(billable) * Fraction(charge.unit_price)
            return Rated(exact=exact, unit_price=charge.unit_price)
        case PriceModel.GRADUATED:
            return _of_tiers(tuple(_graduated(charge.tiers, billable)))
        case PriceModel.VOLUME:
            return _of_tiers(tuple(_volume(charge.tiers, billable)))
        case PriceModel.PACKAGE:
            return _of_tiers(tuple(_packages(charge, billable)))
        case PriceModel.COST_PLUS:
            share = Fraction(billable) / Fraction(counted) if counted else Fraction(1)
            return Rated(exact=cost * Fraction(charge.cost_ratio) * share)
        case PriceModel.FLAT:
            return Rated(exact=Fraction(charge.unit_price) if has_usage else Fraction(0))


def _of_tiers(tiers: tuple[TierUse, ...]) -> Rated:
    return Rated(exact=sum((Fraction(tier.amount) for tier in tiers), Fraction(0)), tiers=tiers)


def _use(tier: PriceTier, begin: Decimal, quantity: Decimal) -> TierUse:
    return TierUse(
        from_quantity=begin,
        quantity=quantity,
        unit_price=tier.unit_price,
        flat_price=tier.flat_price,
        amount=EXACT.fma(quantity, tier.unit_price, tier.flat_price),
    )


def _graduated(tiers: Sequence[PriceTier], quantity: Decimal) -> Iterator[TierUse]:
    begin = ZERO
    for tier in tiers:
        if quantity <= begin:
            return
        end = quantity if tier.up_to is None else min(quantity, tier.up_to)
        yield _use(tier, begin, EXACT.subtract(end, begin))
        begin = end


def _volume(tiers: Sequence[PriceTier], quantity: Decimal) -> Iterator[TierUse]:
    if quantity > 0:
        reached = (tier for tier in tiers if tier.up_to is None or quantity <= tier.up_to)
        yield _use(next(reached), ZERO, quantity)


def _packages(charge: PlanCharge, quantity: Decimal) -> Iterator[TierUse]:
    if quantity > 0:
        whole, rest = EXACT.divmod(quantity, charge.package_size)
        count = EXACT.add(whole, Decimal(1 if rest else 0))
        yield _use(PriceTier(None, charge.unit_price), ZERO, count)
