"""Lines of a plan: flat fees, usage by charge and group, late usage, prorated fees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.domain.plan import ZERO, Discount, PlanCharge, PlanRates, PriceModel
from services.billing.domain.rating import Rated, rate
from services.billing.errors import ExchangeRateMissing
from services.kernel.money import Money, add_exactly
from services.kernel.period import Period

SOURCE_DIGITS = 18  # fraction digits of an amount in the usage's own currency


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """Usage of one charge and group in a period.

    quantity, cost: what the events add up to; the cost is their own, in `cost_currency`. unit: of
    the quantity. department_id, project, resource_type, resource_id, user_id: set where the charge
    groups by it. is_free: usage of a trial or pause, which is shown and costs nothing.
    """

    charge_id: str
    period: Period
    quantity: Decimal = ZERO
    unit: str = ""
    cost: Decimal = ZERO
    cost_currency: str = ""
    event_count: int = 0
    department_id: str = ""
    project: str = ""
    resource_type: str = ""
    resource_id: str = ""
    user_id: str = ""
    is_free: bool = False

    @property
    def group(self) -> str:
        """What the charge splits its lines by, "" when it does not."""
        parts = (
            self.department_id,
            self.project,
            self.resource_type,
            self.resource_id,
            self.user_id,
        )
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Rates into the invoice's currency: units of it for one of another, frozen with the invoice.

    Converting happens once for each line, before rounding.
    """

    to_currency: str
    rates: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))

    def rate(self, from_currency: str) -> Fraction:
        """Returns the rate. Raises ExchangeRateMissing: a rate is never taken to be 1."""
        if from_currency in ("", self.to_currency):
            return Fraction(1)
        found = self.rates.get(from_currency)
        if found is None:
            raise ExchangeRateMissing(from_currency=from_currency, to_currency=self.to_currency)
        return Fraction(found)

    def convert(self, amount: Decimal, from_currency: str) -> Fraction:
        """Returns the amount in the invoice's currency, exact."""
        return Fraction(amount) * self.rate(from_currency)


def flat_line(
    rates: PlanRates, quantity: Decimal, period: Period, *, name: str, plan_id: str
) -> list[ExactLine]:
    """Returns the line of the flat fee of a whole period; none where the plan has no fee."""
    if not rates.flat_fee:
        return []
    return [
        ExactLine(
            key=f"flat:{plan_id}:{period.start.isoformat()}",
            kind=LineKind.FLAT,
            description=name,
            exact=Fraction(rates.flat_fee) * Fraction(quantity),
            period=period,
            quantity=quantity,
            unit_price=rates.flat_fee,
        )
    ]


def usage_lines(
    rates: PlanRates, usage: Sequence[UsageSum], period: Period, *, exchange: Exchange
) -> list[ExactLine]:
    """Returns the lines of a period's usage, in the plan's order of charges.

    A charge's tiers, included quantity and bounds are of its whole quantity in the period, in one
    unit; what that costs is shared among its groups by quantity, or by cost where it is priced by
    cost. A charge without usage has a line only where its minimum makes it cost something.
    Raises ExchangeRateMissing.
    """
    by_charge: dict[str, list[UsageSum]] = {}
    for one in usage:
        by_charge.setdefault(one.charge_id, []).append(one)
    lines: list[ExactLine] = []
    for charge in rates.charges:
        sums = by_charge.get(charge.charge_id, [])
        if not sums and charge.minimum:
            sums = [UsageSum(charge_id=charge.charge_id, period=period, unit=charge.unit)]
        lines += _free_lines(charge, sums)
        for paid in _by_unit(charge, sums).values():
            lines += _charge_lines(charge, paid, exchange)
    return lines


def late_usage_lines(
    rates: PlanRates, billed: Sequence[UsageSum], late: Sequence[UsageSum], *, exchange: Exchange
) -> list[ExactLine]:
    """Returns what usage that came after a period was billed adds to it, one line a group.

    billed: what the period's invoice counted; late: what came since, negative where usage was
    corrected. Each line is the difference between the period priced with and without it, so that
    tiers and bounds hold over both. Raises ExchangeRateMissing.
    """
    lines: list[ExactLine] = []
    for charge in rates.charges:
        own = [one for one in late if one.charge_id == charge.charge_id and not one.is_free]
        for unit, sums in _by_unit(charge, own).items():
            before = [
                one
                for one in billed
                if one.charge_id == charge.charge_id
                and not one.is_free
                and _unit_of(charge, one) == unit
            ]
            old = _rate(charge, before, exchange)
            new = _rate(charge, [*before, *sums], exchange)
            lines += _shared(
                charge, sums, Rated(exact=new.exact - old.exact), exchange, is_late=True
            )
    return lines


def net_flat_fee(
    rates: PlanRates, quantity: Decimal, discounts: Iterable[Discount], begins_at: datetime
) -> Fraction:
    """Returns the flat fee of a period after the discounts by ratio that apply to it.

    begins_at: when what is charged begins. A discount of a fixed amount is of a whole invoice and
    is not prorated.
    """
    fee = Fraction(rates.flat_fee) * Fraction(quantity)
    for discount in discounts:
        if discount.ratio is not None and discount.covers("", begins_at):
            fee *= 1 - Fraction(discount.ratio)
    return fee


def _by_unit(charge: PlanCharge, sums: Iterable[UsageSum]) -> dict[str, list[UsageSum]]:
    """Parts usage by unit: quantities in two units have no sum, and costs need none."""
    parted: dict[str, list[UsageSum]] = {}
    for one in sums:
        if not one.is_free:
            parted.setdefault(_unit_of(charge, one), []).append(one)
    return parted


def _unit_of(charge: PlanCharge, usage: UsageSum) -> str:
    return "" if charge.price_model is PriceModel.COST_PLUS else usage.unit


def _rate(charge: PlanCharge, sums: Sequence[UsageSum], exchange: Exchange) -> Rated:
    if charge.price_model is PriceModel.COST_PLUS:
        cost = sum((exchange.convert(one.cost, one.cost_currency) for one in sums), Fraction(0))
    else:
        cost = Fraction(0)
    quantity = add_exactly(one.quantity for one in sums)
    return rate(charge, quantity, cost=cost, events=sum(one.event_count for one in sums))


def _charge_lines(
    charge: PlanCharge, sums: Sequence[UsageSum], exchange: Exchange
) -> list[ExactLine]:
    return _shared(charge, sums, _rate(charge, sums, exchange), exchange, is_late=False)


def _shared(
    charge: PlanCharge,
    sums: Sequence[UsageSum],
    rated: Rated,
    exchange: Exchange,
    *,
    is_late: bool,
) -> list[ExactLine]:
    """Shares what a charge costs among its groups, exactly."""
    is_cost = charge.price_model is PriceModel.COST_PLUS
    weights = [
        exchange.convert(one.cost, one.cost_currency) if is_cost else Fraction(one.quantity)
        for one in sums
    ]
    total = sum(weights, Fraction(0))
    if not total:
        # Without a sum to share by, as for flat prices, each group bears the same.
        weights, total = [Fraction(1)] * len(sums), Fraction(len(sums))
    is_whole = len(sums) == 1
    return [
        ExactLine(
            key=line_key(one, is_late=is_late),
            kind=LineKind.LATE_USAGE if is_late else LineKind.USAGE,
            description=_description(charge, one),
            exact=rated.exact * weight / total,
            period=one.period,
            charge_id=charge.charge_id,
            department_id=one.department_id,
            project=one.project,
            resource_type=one.resource_type,
            resource_id=one.resource_id,
            user_id=one.user_id,
            quantity=None if is_cost else one.quantity,
            included_quantity=rated.included if is_whole and rated.included else None,
            unit="" if is_cost else one.unit,
            tiers=rated.tiers if is_whole else (),
            unit_price=rated.unit_price,
            source_amount=_source(one, rated.exact * weight / total, exchange) if is_cost else None,
            tax_code=charge.tax_code,
            route=charge.route,
            event_count=one.event_count,
        )
        for one, weight in zip(sums, weights, strict=True)
    ]


def _source(usage: UsageSum, exact: Fraction, exchange: Exchange) -> Money | None:
    """Returns the line's amount in the usage's currency, None where that is the invoice's."""
    if usage.cost_currency in ("", exchange.to_currency):
        return None
    source = exact / exchange.rate(usage.cost_currency)
    return Money(usage.cost_currency, to_decimal(source))


def _free_lines(charge: PlanCharge, sums: Iterable[UsageSum]) -> list[ExactLine]:
    return [
        ExactLine(
            key=f"{line_key(one, is_late=False)}:free",
            kind=LineKind.USAGE,
            description=f"{_description(charge, one)}, not charged",
            exact=Fraction(0),
            period=one.period,
            charge_id=charge.charge_id,
            department_id=one.department_id,
            project=one.project,
            resource_type=one.resource_type,
            resource_id=one.resource_id,
            user_id=one.user_id,
            quantity=one.quantity,
            unit=one.unit,
            tax_code=charge.tax_code,
            route=charge.route,
            event_count=one.event_count,
            is_discountable=False,
        )
        for one in sums
        if one.is_free
    ]


def _description(charge: PlanCharge, usage: UsageSum) -> str:
    return f"{charge.display_name}: {usage.group}" if usage.group else charge.display_name


def line_key(usage: UsageSum, *, is_late: bool) -> str:
    """Returns the key of the line that bills this usage, the same however often it is computed."""
    kind = "late" if is_late else "usage"
    group = f"{usage.group}|{usage.unit}|{usage.cost_currency}"
    return f"{kind}:{usage.charge_id}:{usage.period.start.isoformat()}:{group}"


def to_decimal(exact: Fraction, digits: int = SOURCE_DIGITS) -> Decimal:
    """Returns the nearest decimal with so many fraction digits, for showing and storing."""
    return Decimal(round(exact * 10**digits)).scaleb(-digits)
