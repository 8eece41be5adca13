"""Prices: what a metered unit costs, for which usage, and from when until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from enum import Enum

from services.kernel.errors import FailedPrecondition, InvalidArgument
from services.kernel.money import Money
from services.kernel.period import zone

TIERS_MAX = 50
BEGINNING = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)

# A quantity and a unit price of NUMERIC(38, 18) and a multiplier have 85 digits together.
WIDE = Context(prec=120)

_ZERO = Decimal(0)


class InvalidPrice(InvalidArgument):
    """A price has rising tiers of which only the last is open, and amounts of zero or more."""

    reason = "INVALID_PRICE"


class PriceOverlap(FailedPrecondition):
    """Another price of the book holds for the same usage then; end it first or change the dates."""

    reason = "PRICE_OVERLAP"


class PricingModel(Enum):
    """How quantity becomes cost.

    PER_UNIT: every unit costs the same. GRADUATED: each unit costs what the tier it falls into
    says. VOLUME: all units cost what the tier of the total says. PACKAGE: units are sold in
    packages of `per`; a begun one is charged whole.
    """

    PER_UNIT = 1
    GRADUATED = 2
    VOLUME = 3
    PACKAGE = 4


class ChargeOn(Enum):
    """Which outcomes are charged. ALWAYS adds failed work; pending work is never charged."""

    SUCCESS_ONLY = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a price.

    up_to: the quantity it reaches to, inclusive; None in the last tier. unit_price: of `per` units.
    flat_fee: added once when the tier is entered.
    """

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class PriceBook:
    """A named set of prices. tenant_id: "" where it holds for every tenant."""

    price_book_id: str
    tenant_id: str = ""
    display_name: str = ""
    created_at: datetime = BEGINNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price and the usage it applies to.

    tenant_id: "" for every tenant. provider, service, region, resource_id: "" for any; compared
    without regard to case. A resource_id with `*`, `?` or `[` is a shell pattern as `fnmatch`
    reads it (`claude-3-5-sonnet*`); write `[*]` for the character itself.
    tiers: lowest first; PER_UNIT and PACKAGE have one. per: the units that unit_price buys, kept
    as it is because a price per million is exact and its quotient need not be.
    threshold_meters: with VOLUME only. Then the tier is chosen by these meters' total within the
    one event, as language models with long prompts are priced. Empty: quantities add up over a
    calendar month in `time_zone`.
    effective_start_at, effective_end_at: half-open; None is open. recorded_at, superseded_at: when
    the suite knew this row, half-open, so that the prices of an earlier day can be asked for.
    Raises InvalidPrice, InvalidCurrency, UnknownTimeZone.
    """

    price_id: str
    price_book_id: str
    resource_type: str
    meter: str
    currency_code: str
    tiers: tuple[Tier, ...]
    recorded_at: datetime
    model: PricingModel = PricingModel.PER_UNIT
    per: Decimal = Decimal(1)
    tenant_id: str = ""
    provider: str = ""
    service: str = ""
    region: str = ""
    resource_id: str = ""
    effective_start_at: datetime | None = None
    effective_end_at: datetime | None = None
    peak_schedule_id: str = ""
    charge_on: ChargeOn = ChargeOn.SUCCESS_ONLY
    threshold_meters: tuple[str, ...] = ()
    time_zone: str = "UTC"
    superseded_at: datetime | None = None

    def __post_init__(self) -> None:
        Money(self.currency_code, _ZERO)
        zone(self.time_zone)
        if not (self.resource_type and self.meter):
            raise InvalidPrice("a price names a resource type and a meter", price_id=self.price_id)
        if self.start_at >= self.end_at:
            raise InvalidPrice("a price ends after it begins", price_id=self.price_id)
        if not (self.per.is_finite() and self.per > 0):
            raise InvalidPrice("a price is for a quantity above zero", price_id=self.price_id)
        self._check_tiers()
        self._check_model()

    @property
    def start_at(self) -> datetime:
        """First instant it holds."""
        return self.effective_start_at or BEGINNING

    @property
    def end_at(self) -> datetime:
        """First instant it no longer holds."""
        return self.effective_end_at or NEVER

    @property
    def is_stateful(self) -> bool:
        """Whether the cost depends on the month's quantity so far."""
        return self.model is not PricingModel.PER_UNIT and not self.threshold_meters

    @property
    def has_pattern(self) -> bool:
        """Whether resource_id is a shell pattern."""
        return any(character in self.resource_id for character in "*?[")

    def is_effective(self, instant: datetime) -> bool:
        """Tells whether the price holds at an instant."""
        return self.start_at <= instant < self.end_at

    def is_known(self, as_of: datetime | None) -> bool:
        """Tells whether the row stood at that time of recording; None is now."""
        if as_of is None:
            return self.superseded_at is None
        return self.recorded_at <= as_of < (self.superseded_at or NEVER)

    def _check_tiers(self) -> None:
        if not 0 < len(self.tiers) <= TIERS_MAX:
            raise InvalidPrice(f"a price has 1 to {TIERS_MAX} tiers", price_id=self.price_id)
        reached = _ZERO
        for tier in self.tiers[:-1]:
            if tier.up_to is None or not tier.up_to > reached:
                raise InvalidPrice("tiers rise, only the last is open", price_id=self.price_id)
            reached = tier.up_to
        if self.tiers[-1].up_to is not None:
            raise InvalidPrice("the last tier has no upper end", price_id=self.price_id)
        amounts = [amount for tier in self.tiers for amount in (tier.unit_price, tier.flat_fee)]
        if any(not amount.is_finite() or amount < 0 for amount in amounts):
            raise InvalidPrice("unit prices and fees are zero or more", price_id=self.price_id)

    def _check_model(self) -> None:
        has_fee = any(tier.flat_fee for tier in self.tiers)
        if self.model in (PricingModel.PER_UNIT, PricingModel.PACKAGE) and len(self.tiers) > 1:
            raise InvalidPrice("this model has exactly one tier", price_id=self.price_id)
        if self.model is PricingModel.PER_UNIT and has_fee:
            raise InvalidPrice("a price per unit has no flat fee", price_id=self.price_id)
        if self.threshold_meters and (self.model is not PricingModel.VOLUME or has_fee):
            raise InvalidPrice(
                "threshold meters go with the volume model and no flat fee", price_id=self.price_id
            )
        if self.is_stateful and self.peak_schedule_id:
            # f(total) could not be telescoped: the same units would cost more or less by order.
            raise InvalidPrice(
                "a price that adds up over the month has no peak schedule", price_id=self.price_id
            )


def volume_tier(price: Price, total: Decimal) -> Tier:
    """Returns the tier that a total falls into; its upper end belongs to it."""
    for tier in price.tiers[:-1]:
        if tier.up_to is not None and total <= tier.up_to:
            return tier
    return price.tiers[-1]


def charge(price: Price, total: Decimal) -> Decimal:
    """Returns what a total quantity costs under a price, before any multiplier; 0 at 0 and below.

    Exact while `per` divides the product; otherwise to 120 digits.
    """
    if total <= 0:
        return _ZERO
    match price.model:
        case PricingModel.PER_UNIT | PricingModel.VOLUME:
            tier = volume_tier(price, total)
            amount = WIDE.divide(WIDE.multiply(total, tier.unit_price), price.per)
            return WIDE.add(amount, tier.flat_fee)
        case PricingModel.PACKAGE:
            whole, rest = WIDE.divmod(total, price.per)
            packages = WIDE.add(whole, Decimal(1 if rest else 0))
            return WIDE.fma(packages, price.tiers[0].unit_price, price.tiers[0].flat_fee)
        case PricingModel.GRADUATED:
            return _graduated_charge(price, total)


def _graduated_charge(price: Price, total: Decimal) -> Decimal:
    weighted, fees, floor = _ZERO, _ZERO, _ZERO
    for tier in price.tiers:
        ceiling = total if tier.up_to is None else min(total, tier.up_to)
        weighted = WIDE.fma(WIDE.subtract(ceiling, floor), tier.unit_price, weighted)
        fees = WIDE.add(fees, tier.flat_fee)
        if ceiling == total:
            break
        floor = ceiling
    return WIDE.add(WIDE.divide(weighted, price.per), fees)


def match_key(price: Price) -> tuple[str, ...]:
    """Returns what the price applies to; two prices with one key are equally specific."""
    match = (price.provider, price.service, price.region, price.resource_id)
    return (price.resource_type, price.meter, *(text.lower() for text in match))


def require_no_overlap(prices: Iterable[Price]) -> None:
    """Raises PriceOverlap where two current prices of one book hold for the same usage at once.

    Superseded rows are history and do not count.
    """
    latest: dict[tuple[str, ...], Price] = {}
    for price in sorted(prices, key=lambda price: (price.start_at, price.price_id)):
        if price.superseded_at is not None:
            continue
        key = (price.tenant_id, price.price_book_id, *match_key(price))
        earlier = latest.get(key)
        if earlier is not None and price.start_at < earlier.end_at:
            raise PriceOverlap(
                price_book_id=price.price_book_id,
                price_id=price.price_id,
                other_price_id=earlier.price_id,
            )
        latest[key] = price
