"""Usage that a provider's meters count and price: what it is told, and what it made of it. Pure.

A meter adds up whole units. What is told is therefore the whole part of a period's usage so far,
less what was told before; the rest waits for more. An hour of usage is within a route, and the
provider's to price, or it is ours: never both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from services.billing.domain.currency import currency
from services.billing.domain.metering import ChargeMatcher, Dimension, Metered, hour_of
from services.billing.domain.plan import ChargeRoute, PlanCharge, PlanRates, PriceModel
from services.billing.domain.provider import RemoteState
from services.billing.domain.rating import rate
from services.kernel.money import EXACT
from services.kernel.period import Period

GRACE = timedelta(minutes=50)  # an invoice stays a draft for an hour, in which its usage may grow
CLOSE_AFTER = timedelta(minutes=40)  # within that grace, for usage that is on its way
CANCELABLE = timedelta(hours=23)  # a report can be taken back for 24 hours
REMEMBERED = timedelta(hours=20)  # identifiers are known for at least 24 hours
USAGE_AGE_MAX = timedelta(days=34)  # usage older than 35 days is not taken
NAME_MAX = 100
_ZERO = Decimal(0)


class RouteState(Enum):
    """How far a route is. REFUSED: the provider took no part; what it did not cover is ours."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    REFUSED = "refused"


class ReportState(Enum):
    """What became of a report."""

    SENDING = "sending"
    SENT = "sent"
    CANCELING = "canceling"
    CANCELED = "canceled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRoute:
    """From when to when a subscription's metered charges are the provider's to price.

    starts_at, ends_at: whole hours; ends_at is None while it goes on. report_count: of all reports.
    """

    tenant_id: str
    route_id: str
    subscription_id: str
    account_id: str
    plan_id: str
    plan_version: int
    currency_code: str
    provider: str
    state: RouteState
    starts_at: datetime
    created_at: datetime
    ends_at: datetime | None = None
    customer_id: str = ""
    provider_subscription_id: str = ""
    report_count: int = 0
    opened_at: datetime | None = None
    error: str = ""

    def within(self, hours: Period) -> Period | None:
        """Returns which of these hours are the provider's, None for none."""
        start = max(self.starts_at, hours.start)
        end = hours.end if self.ends_at is None else min(self.ends_at, hours.end)
        return Period(start, end) if start < end else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReport:
    """Usage as the provider is told of it. part_start_at: of the part whose usage it is."""

    route_id: str
    number: int
    charge_id: str
    part_start_at: datetime
    quantity: int
    occurred_at: datetime
    created_at: datetime
    state: ReportState = ReportState.SENDING
    error: str = ""

    @property
    def identifier(self) -> str:
        """What the provider knows it by, the same for ever."""
        return f"finops-{self.route_id}-{self.number}"

    @property
    def counts(self) -> bool:
        """Whether the provider has it, or will."""
        return self.state in (ReportState.SENDING, ReportState.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteProgress:
    """A route with what was told of it. told: by charge. unsettled, failed: how many reports."""

    route: MeterRoute
    told: Mapping[str, int]
    unsettled: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredPrice:
    """A charge as the provider is to price it. lookup_key: what it is found by there."""

    lookup_key: str
    display_name: str
    currency_code: str
    interval_months: int
    charge: PlanCharge


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredSubscription:
    """A subscription as the provider is to bill it. next_period_at: when its next period begins.

    days_until_due: None where the default method is charged.
    """

    tenant_id: str
    route_id: str
    subscription_id: str
    customer_id: str
    currency_code: str
    price_ids: Sequence[str]
    next_period_at: datetime
    days_until_due: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMeteredLine:
    """A line that the provider made of metered usage. amount: before tax."""

    price_id: str
    quantity: Decimal
    amount: Decimal
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMeteredInvoice:
    """An invoice that the provider made of metered usage."""

    provider_invoice_id: str
    provider_subscription_id: str
    state: RemoteState
    number: str
    currency_code: str
    total: Decimal
    amount_paid: Decimal
    hosted_url: str
    created_at: datetime
    lines: Sequence[RemoteMeteredLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredInvoice:
    """The provider's invoice beside our own rating of what it was told. Amounts are before tax.

    subtotal: the provider's. rated: ours.
    """

    tenant_id: str
    provider_invoice_id: str
    route_id: str
    subscription_id: str
    account_id: str
    number: str
    state: RemoteState
    currency_code: str
    period: Period
    subtotal: Decimal
    rated: Decimal
    total: Decimal
    amount_paid: Decimal
    hosted_url: str
    created_at: datetime
    seen_at: datetime


def metered_charges(rates: PlanRates) -> list[PlanCharge]:
    """Returns the charges that a provider may price."""
    return [charge for charge in rates.charges if charge.route is ChargeRoute.STRIPE_METERED]


def rated_here(rates: PlanRates) -> PlanRates:
    """Returns the rates where no provider prices any of it."""
    charges = tuple(replace(charge, route=ChargeRoute.RATED) for charge in rates.charges)
    return replace(rates, charges=charges)


def event_name(plan_id: str, charge_id: str) -> str:
    """Returns the name of a charge's meter, at most 100 characters."""
    name = f"finops_{plan_id}_{charge_id}"
    return name if len(name) <= NAME_MAX else f"finops_{hashlib.sha256(name.encode()).hexdigest()}"


def lookup_key(plan_id: str, version: int, currency_code: str, charge_id: str) -> str:
    """Returns what a charge's price is found by, at most 200 characters."""
    return f"finops:{plan_id}:{version}:{currency_code}:{charge_id}"


class MeteredCharges:
    """Knows which usage a provider may price."""

    def __init__(self, rates: PlanRates) -> None:
        """Takes the plan's prices."""
        self._matcher = ChargeMatcher(rates)

    def charge_of(self, dimension: Dimension) -> PlanCharge | None:
        """Returns the metered charge that takes it, None for none."""
        charge = self._matcher.charge_of(dimension)
        is_metered = charge is not None and charge.route is ChargeRoute.STRIPE_METERED
        return charge if is_metered else None

    def takes(self, dimension: Dimension) -> bool:
        """Tells whether a metered charge takes it."""
        return self.charge_of(dimension) is not None


def usage_by_charge(
    rates: PlanRates, usage: Iterable[tuple[Dimension, Metered]]
) -> dict[str, Decimal]:
    """Returns the quantity of each metered charge that has any usage."""
    charges = MeteredCharges(rates)
    found: dict[str, Decimal] = {}
    for dimension, amount in usage:
        charge = charges.charge_of(dimension)
        if charge is not None:
            known = found.get(charge.charge_id, _ZERO)
            found[charge.charge_id] = EXACT.add(known, amount.quantity)
    return found


def counted_at(part: Period, route: MeterRoute, now: datetime) -> datetime:
    """Returns when the provider is to count what is told now of a part's usage.

    The last second of the part so far; now, where its invoice is no longer open to usage.
    """
    opened_at = route.opened_at or now
    own = min(part.end, hour_of(now)) - timedelta(seconds=1)
    is_late = now > part.end + GRACE or own < now - USAGE_AGE_MAX
    return now if is_late else min(max(own, opened_at), now)


def plan_reports(
    route: MeterRoute,
    part: Period,
    usage: Mapping[str, Decimal],
    reports: Sequence[MeterReport],
    now: datetime,
) -> list[MeterReport]:
    """Returns what is to be told or taken back, so that the part's usage is what was told.

    usage: of the part's closed hours, by charge. reports: all of the route. A charge with a report
    whose outcome is not known waits for it. What is told too much is taken back while that is
    possible, newest first, else made up for by a report below zero.
    """
    changed: list[MeterReport] = []
    number = route.report_count
    mine = [report for report in reports if report.part_start_at == part.start]
    for charge_id in sorted({*usage, *(report.charge_id for report in mine)}):
        of_charge = [report for report in mine if report.charge_id == charge_id]
        if any(r.state in (ReportState.SENDING, ReportState.CANCELING) for r in of_charge):
            continue
        wanted = int(max(usage.get(charge_id, _ZERO), _ZERO) // 1)
        told = sum(report.quantity for report in of_charge if report.counts)
        taken_back = _too_much(of_charge, told - wanted, now) if now <= part.end + GRACE else []
        changed += taken_back
        # What replaces it waits until it is known whether it was taken back.
        if wanted != told and not taken_back:
            number += 1
            changed.append(
                MeterReport(
                    route_id=route.route_id,
                    number=number,
                    charge_id=charge_id,
                    part_start_at=part.start,
                    quantity=wanted - told,
                    occurred_at=counted_at(part, route, now),
                    created_at=now,
                )
            )
    return changed


def _too_much(reports: Sequence[MeterReport], excess: int, now: datetime) -> list[MeterReport]:
    """Returns the newest reports that can be taken back, as many as hold the excess."""
    found: list[MeterReport] = []
    for report in reversed(reports):
        if excess <= 0:
            break
        # One with an error was not taken back when that was tried.
        can = report.state is ReportState.SENT and report.quantity > 0 and not report.error
        if can and now - report.created_at < CANCELABLE:
            found.append(replace(report, state=ReportState.CANCELING))
            excess -= report.quantity
    return found


def told_in(reports: Iterable[MeterReport], charge_id: str, period: Period) -> int:
    """Returns how much of a charge the provider was told to count within a period."""
    return sum(
        report.quantity
        for report in reports
        if report.charge_id == charge_id and report.counts and report.occurred_at in period
    )


def rated_of(charge: PlanCharge, quantity: int) -> Fraction:
    """Returns what our own rating makes of it; below zero nothing, as the provider has it."""
    return rate(charge, Decimal(quantity), events=1 if quantity > 0 else 0).exact


@dataclass(frozen=True, slots=True)
class ChargeComparison:
    """A charge on the provider's invoice beside our rating. is_equal: but for its rounding."""

    charge_id: str
    told: int
    counted: Decimal
    rated: Decimal
    amount: Decimal
    is_equal: bool


def compare_charges(
    remote: RemoteMeteredInvoice,
    charges: Mapping[str, PlanCharge],
    reports: Sequence[MeterReport],
) -> list[ChargeComparison]:
    """Returns each charge of an invoice, by the provider's prices.

    charges: by the id of the price there. The provider rounds each of its lines, one a tier, so a
    difference of half a minor unit a line is none.
    """
    found = currency(remote.currency_code)
    compared: list[ChargeComparison] = []
    for price_id in sorted({line.price_id for line in remote.lines}):
        lines = [line for line in remote.lines if line.price_id == price_id]
        charge = charges.get(price_id)
        amount = sum((line.amount for line in lines), _ZERO)
        counted = sum((line.quantity for line in lines), _ZERO)
        told, exact = 0, Fraction(0)
        # Of begun packages the provider shows another quantity than it counted.
        is_package = charge is not None and charge.price_model is PriceModel.PACKAGE
        if charge is not None:
            for period in {(line.period.start, line.period.end) for line in lines}:
                quantity = told_in(reports, charge.charge_id, Period(*period))
                told += quantity
                exact += rated_of(charge, quantity)
        units = exact * 10**found.exponent
        difference = abs(units - Fraction(amount) * 10**found.exponent)
        compared.append(
            ChargeComparison(
                charge_id=price_id if charge is None else charge.charge_id,
                told=told,
                counted=counted,
                rated=found.to_amount(int(units + Fraction(1, 2))),
                amount=amount,
                is_equal=difference * 2 <= len(lines) and (is_package or counted == max(told, 0)),
            )
        )
    return compared
