"""Plans: what is sold, and for how much. A plan changes by versions; each is immutable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.billing.domain.currency import currency
from services.billing.errors import InvalidPlan, PlanCurrencyMissing
from services.kernel.filter import parse_filter

ZERO = Decimal(0)
ONE = Decimal(1)
PROVIDER_PRICE_DIGITS = 12  # of a fraction of the minor unit


class PlanState(Enum):
    """Whether a version is sold."""

    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class BillingInterval(Enum):
    """How often a plan bills."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    @property
    def months(self) -> int:
        """Length in calendar months."""
        return {"month": 1, "quarter": 3, "year": 12}[self.value]


class PriceModel(Enum):
    """How a quantity becomes an amount.

    GRADUATED: each unit costs what the tier it falls in says. VOLUME: all units cost what the tier
    that the total reaches says. PACKAGE: a begun package is charged whole. COST_PLUS: the usage's
    own cost times a ratio. FLAT: a fixed amount when there is any usage.
    """

    PER_UNIT = "per_unit"
    GRADUATED = "graduated"
    VOLUME = "volume"
    PACKAGE = "package"
    COST_PLUS = "cost_plus"
    FLAT = "flat"


class ChargeRoute(Enum):
    """Who prices a charge.

    STRIPE_METERED: Stripe's meters, where Stripe bills the tenant; here it is rated to compare.
    With another provider, and for what came before, it is priced like any other.
    """

    RATED = "rated"
    STRIPE_METERED = "stripe_metered"


@dataclass(frozen=True, slots=True)
class PriceTier:
    """One tier. up_to: the last quantity in it; None in the last tier, which has no end."""

    up_to: Decimal | None
    unit_price: Decimal = ZERO
    flat_price: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCharge:
    """Price of one kind of usage.

    filter: usage must match it; "" takes all that no earlier charge took. meter, unit: "" for any.
    included_quantity: units of a period that cost nothing, whatever the model.
    minimum, maximum: bounds of what the charge costs in a period; None for none.
    group_by: attribute by which lines are split; "" for one line.
    A charge that Stripe prices has only what Stripe's meters can do: whole quantities of one unit,
    of PER_UNIT, GRADUATED, VOLUME or PACKAGE, unbounded, on one line.
    Raises InvalidPlan, InvalidFilter.
    """

    charge_id: str
    display_name: str
    price_model: PriceModel
    filter: str = ""
    meter: str = ""
    unit: str = ""
    unit_price: Decimal = ZERO
    package_size: Decimal = ONE
    cost_ratio: Decimal = ONE
    tiers: tuple[PriceTier, ...] = ()
    included_quantity: Decimal = ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    route: ChargeRoute = ChargeRoute.RATED
    tax_code: str = ""
    group_by: str = ""

    def __post_init__(self) -> None:
        parse_filter(self.filter)
        _require(self.charge_id, self.package_size > 0, "a package has a size above zero")
        amounts = [self.unit_price, self.cost_ratio, self.included_quantity]
        amounts += [amount for amount in (self.minimum, self.maximum) if amount is not None]
        _require(self.charge_id, min(amounts) >= 0, "prices and quantities are zero or more")
        bounds = (self.minimum, self.maximum)
        if bounds[0] is not None and bounds[1] is not None:
            _require(self.charge_id, bounds[0] <= bounds[1], "the minimum is above the maximum")
        is_tiered = self.price_model in (PriceModel.GRADUATED, PriceModel.VOLUME)
        _require(self.charge_id, is_tiered == bool(self.tiers), "tiers go with GRADUATED or VOLUME")
        self._check_tiers()
        if self.route is ChargeRoute.STRIPE_METERED:
            self._check_metered()

    def _check_metered(self) -> None:
        where = self.charge_id
        can = self.price_model not in (PriceModel.COST_PLUS, PriceModel.FLAT)
        _require(where, can, "Stripe's meters price no cost and no flat fee; let it be RATED")
        is_whole = bool(self.unit or self.meter) and not self.group_by
        _require(where, is_whole, "a metered charge names its unit, and is one line")
        is_unbounded = self.minimum is None and self.maximum is None
        _require(where, is_unbounded, "a metered charge has no minimum and no maximum")
        has_plain = not self.included_quantity or self.price_model is PriceModel.PER_UNIT
        _require(where, has_plain, "a metered charge includes quantities PER_UNIT or as a tier")
        has_fee = bool(self.tiers) and bool(self.tiers[0].flat_price)
        _require(where, not has_fee, "a metered charge's first tier has no flat price")
        ends = [tier.up_to for tier in self.tiers if tier.up_to is not None]
        for quantity in (self.package_size, self.included_quantity, *ends):
            is_integer = quantity == quantity.to_integral_value()
            _require(where, is_integer, "quantities of a metered charge are whole numbers")

    def _check_tiers(self) -> None:
        reached = ZERO
        for tier in self.tiers[:-1]:
            rises = tier.up_to is not None and tier.up_to > reached
            _require(self.charge_id, rises, "tiers rise, and only the last is open")
            reached = tier.up_to or reached
        if self.tiers:
            _require(self.charge_id, self.tiers[-1].up_to is None, "the last tier has no end")
        for tier in self.tiers:
            is_charge = tier.unit_price >= 0 and tier.flat_price >= 0
            _require(self.charge_id, is_charge, "prices of tiers are zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """What is taken off a period: a ratio in [0, 1], or an amount.

    source_id: what gave it, stable from invoice to invoice, for example `coupon:WELCOME`.
    charge_ids: the charges it applies to; empty for all and the flat fee. starts_at, ends_at: only
    lines whose period begins then are discounted, half-open; None is open.
    Raises InvalidPlan.
    """

    source_id: str
    display_name: str
    ratio: Decimal | None = None
    amount: Decimal | None = None
    charge_ids: frozenset[str] = frozenset()
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def __post_init__(self) -> None:
        is_one = (self.ratio is None) != (self.amount is None)
        _require(self.source_id, is_one, "a discount has either a ratio or an amount")
        is_ratio = self.ratio is None or 0 <= self.ratio <= 1
        _require(self.source_id, is_ratio, "a discount's ratio is 0 to 1")
        is_amount = self.amount is None or self.amount >= 0
        _require(self.source_id, is_amount, "a discount's amount is zero or more")

    def covers(self, charge_id: str, begins_at: datetime | None) -> bool:
        """Tells whether it takes from what a charge costs in a period that begins then."""
        if begins_at is not None:
            is_early = self.starts_at is not None and begins_at < self.starts_at
            is_late = self.ends_at is not None and begins_at >= self.ends_at
            if is_early or is_late:
                return False
        return not self.charge_ids or charge_id in self.charge_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRates:
    """Prices of a plan in one currency; every amount in it is in that currency.

    flat_fee: of one interval and unit of the subscription's quantity, charged in advance.
    minimum_commitment: least that a period costs before tax; what is missing is trued up.
    Raises InvalidPlan, UnknownCurrency.
    """

    currency_code: str
    flat_fee: Decimal = ZERO
    minimum_commitment: Decimal = ZERO
    charges: tuple[PlanCharge, ...] = ()
    discounts: tuple[Discount, ...] = ()

    def __post_init__(self) -> None:
        currency(self.currency_code)
        ids = [charge.charge_id for charge in self.charges]
        where = self.currency_code
        _require(where, len(ids) == len(set(ids)), "charge ids are unique in a plan")
        _require(where, self.flat_fee >= 0, "the flat fee is zero or more")
        _require(where, self.minimum_commitment >= 0, "the commitment is zero or more")
        named = frozenset[str]().union(*(discount.charge_ids for discount in self.discounts))
        _require(where, named <= set(ids), "a discount names a charge that the plan does not have")
        self._check_metered(named)

    def _check_metered(self, discounted: frozenset[str]) -> None:
        metered = [each for each in self.charges if each.route is ChargeRoute.STRIPE_METERED]
        if not metered:
            return
        where, found = self.currency_code, currency(self.currency_code)
        is_taken = found.is_settled_online and found.settlement_step == 1
        _require(where, is_taken, "Stripe's meters do not price in this currency")
        _require(where, not self.minimum_commitment, "no commitment counts what Stripe prices")
        ids = {charge.charge_id for charge in metered}
        _require(where, not discounted & ids, "a discount names a charge that Stripe prices")
        for charge in metered:
            tiers = [price for tier in charge.tiers for price in (tier.unit_price, tier.flat_price)]
            for price in (charge.unit_price, *tiers):
                units = price.scaleb(found.provider_exponent).normalize()
                is_exact = -int(units.as_tuple().exponent) <= PROVIDER_PRICE_DIGITS
                _require(where, is_exact, "Stripe's prices have 12 digits after the minor unit")

    def charge(self, charge_id: str) -> PlanCharge:
        """Returns a charge of the plan. Raises KeyError."""
        for charge in self.charges:
            if charge.charge_id == charge_id:
                return charge
        raise KeyError(charge_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingPlan:
    """One version of a plan. restricted: only an admin may subscribe a tenant to it.

    Raises InvalidPlan.
    """

    plan_id: str
    version: int
    display_name: str
    interval: BillingInterval
    rates: tuple[PlanRates, ...]
    effective_at: datetime
    created_at: datetime
    state: PlanState = PlanState.DRAFT
    description: str = ""
    trial_days: int = 0
    features: tuple[str, ...] = ()
    restricted: bool = False
    revision: int = 1

    def __post_init__(self) -> None:
        codes = self.currency_codes
        _require(self.plan_id, bool(codes), "a plan has prices in at least one currency")
        _require(self.plan_id, len(codes) == len(set(codes)), "a plan has one entry a currency")

    @property
    def currency_codes(self) -> tuple[str, ...]:
        """The currencies it is sold in."""
        return tuple(rates.currency_code for rates in self.rates)

    def rates_in(self, currency_code: str) -> PlanRates:
        """Returns the prices in a currency. Raises PlanCurrencyMissing."""
        for rates in self.rates:
            if rates.currency_code == currency_code:
                return rates
        raise PlanCurrencyMissing(
            f"The plan {self.plan_id} has no prices in {currency_code}; it has"
            f" {', '.join(self.currency_codes)}.",
            plan_id=self.plan_id,
            currency_code=currency_code,
        )


def newest_on_sale(versions: Iterable[PricingPlan], at: datetime) -> PricingPlan | None:
    """Returns the version that is sold at an instant: the newest active one in force by then."""
    sold = [plan for plan in versions if plan.state is PlanState.ACTIVE and plan.effective_at <= at]
    return max(sold, key=lambda plan: plan.version, default=None)


def _require(where: str, is_met: bool, rule: str) -> None:  # noqa: FBT001 - an assertion
    if not is_met:
        raise InvalidPlan(f"{where}: {rule}", where=where)
