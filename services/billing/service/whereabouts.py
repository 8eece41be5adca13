"""Says what becomes of usage that no line of an invoice bills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from services.billing.domain.metered_route import MeterRoute, RouteState, event_name
from services.billing.domain.metering import ChargeMatcher, hour_of
from services.billing.domain.plan import PlanCharge
from services.billing.domain.route_terms import parts_of
from services.billing.domain.subscription import PhaseMode
from services.billing.errors import PlanNotFound, SubscriptionNotFound
from services.billing.service.routed_usage import RoutedUsage, usage_of_charges
from services.billing.store import accounts, meter_routes, metered_invoices, metering, plans
from services.billing.store import subscriptions as subscription_rows
from services.kernel.period import Period
from services.kernel.transaction import Transaction

HOUR = timedelta(hours=1)
NOT_COUNTED = "Billing has not counted it yet; ask again in some seconds."
NOBODY = "Nobody pays for it: no subscription of the tenant's own account runs at that time."
SWITCHED_OFF = "It is not billed: include_usage is off in the account's automated billing."
WAITS = "It waits for the next invoice."
REFUSED = (
    "No invoice has it: ours had left it out for Stripe's meter, whose route was refused later."
)
TOO_LATE = "No invoice has it: it came after its route to Stripe's meter had closed."
SHOWN = "It waits for the next invoice, which shows it at no cost: it is of a trial or a pause."


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredUse:
    """Usage that a provider's meter prices. provider_invoice_ids: what bills that time there."""

    subscription_id: str
    charge_id: str
    route_id: str
    event_name: str
    provider_subscription_id: str
    provider_invoice_ids: Sequence[str]

    @property
    def explanation(self) -> str:
        """What becomes of it, one sentence."""
        if not self.provider_invoice_ids:
            return f"Stripe's meter {self.event_name} prices it; it has not invoiced that time yet."
        there = ", ".join(self.provider_invoice_ids)
        return f"Stripe's meter {self.event_name} prices it, on Stripe's own invoice {there}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What becomes of usage. metered: None where it is ours to bill."""

    explanation: str
    pending: bool = False
    metered: MeteredUse | None = field(default=None)


async def whereabouts(
    tx: Transaction,
    tenant_id: str,
    dimension_ids: Sequence[str],
    at: datetime,
    *,
    recorded_at: datetime,
) -> Whereabouts:
    """Returns what becomes of an event. dimension_ids: what it may be metered as."""
    hour_at = hour_of(at)
    if not await metering.is_metered(tx, tenant_id, dimension_ids, hour_at):
        return Whereabouts(explanation=NOT_COUNTED)
    found = await RoutedUsage(tenant_id).route_of(tx, hour_at, dimension_ids)
    if found is None:
        return await _ours(tx, tenant_id, dimension_ids, hour_at)
    return await _routed(tx, *found, hour_at=hour_at, recorded_at=recorded_at)


async def _routed(
    tx: Transaction,
    route: MeterRoute,
    charge: PlanCharge,
    *,
    hour_at: datetime,
    recorded_at: datetime,
) -> Whereabouts:
    if route.state is RouteState.REFUSED:
        return Whereabouts(explanation=REFUSED)
    tenant_id = route.tenant_id
    part = await _part_of(tx, route, hour_at)
    told = [
        report
        for report in await meter_routes.reports_of(tx, tenant_id, route.route_id)
        if report.charge_id == charge.charge_id
        and report.counts
        and report.part_start_at == part.start
    ]
    is_after = all(report.created_at < recorded_at for report in told)
    if route.state is RouteState.CLOSED and is_after:
        whole = await _metered_of(tx, route, charge, part)
        if whole != sum(report.quantity for report in told):
            return Whereabouts(explanation=TOO_LATE)
    # Usage is told by parts of periods: a late part is counted, and invoiced, when it is told.
    counted_at = [report.occurred_at for report in told]
    metered = MeteredUse(
        subscription_id=route.subscription_id,
        charge_id=charge.charge_id,
        route_id=route.route_id,
        event_name=event_name(route.plan_id, charge.charge_id),
        provider_subscription_id=route.provider_subscription_id,
        provider_invoice_ids=await metered_invoices.ids_at(
            tx, tenant_id, route.route_id, counted_at
        ),
    )
    return Whereabouts(explanation=metered.explanation, metered=metered)


async def _part_of(tx: Transaction, route: MeterRoute, hour_at: datetime) -> Period:
    """Returns the part of a period, within the route, that an hour is told with."""
    subscription = await subscription_rows.find_subscription(
        tx, route.tenant_id, subscription_id=route.subscription_id
    )
    if subscription is None:
        raise SubscriptionNotFound(subscription_id=route.subscription_id)
    return parts_of(route, subscription.calendar, hour_at + HOUR)[-1]


async def _metered_of(tx: Transaction, route: MeterRoute, charge: PlanCharge, part: Period) -> int:
    """Returns the whole units of a charge that were metered of a part, whenever they came."""
    plan = await plans.find_plan(tx, route.plan_id, route.plan_version)
    if plan is None:
        raise PlanNotFound(plan_id=route.plan_id)
    usage = await usage_of_charges(tx, route, plan.rates_in(route.currency_code), part)
    return int(max(usage.get(charge.charge_id, Decimal(0)), Decimal(0)))


async def _ours(
    tx: Transaction, tenant_id: str, dimension_ids: Sequence[str], hour_at: datetime
) -> Whereabouts:
    account = await accounts.find_account(tx, tenant_id)
    subscription = None
    if account is not None:
        subscription = await subscription_rows.find_subscription(
            tx, tenant_id, account_id=account.account.account_id
        )
    if account is None or subscription is None:
        return Whereabouts(explanation=NOBODY)
    hour = Period(hour_at, hour_at + HOUR)
    phases = await subscription_rows.phases_in(tx, tenant_id, subscription.subscription_id, hour)
    automated = await accounts.find_automated(tx, tenant_id, account.account.account_id)
    plan = None
    if phases:
        plan = await plans.find_plan(tx, phases[-1].plan_id, phases[-1].plan_version)
    if plan is None:
        return Whereabouts(explanation=NOBODY)
    if not automated.include_usage:
        return Whereabouts(explanation=SWITCHED_OFF)
    matcher = ChargeMatcher(plan.rates_in(subscription.currency_code))
    keys = [(tenant_id, dimension_id) for dimension_id in dimension_ids]
    known = await metering.dimensions_of(tx, keys)
    if all(matcher.charge_of(dimension) is None for dimension in known.values()):
        text = f"It is free: no charge of plan {plan.plan_id}, version {plan.version}, takes it."
        return Whereabouts(explanation=text)
    is_billed = phases[-1].mode is PhaseMode.BILLED
    return Whereabouts(explanation=WAITS if is_billed else SHOWN, pending=True)
