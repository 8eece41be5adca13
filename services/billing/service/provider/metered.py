"""Reads back what a provider's meters counted and invoiced, and compares it with our own rating."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from services.billing.domain.metered_route import (
    ChargeComparison,
    MeteredInvoice,
    MeterReport,
    MeterRoute,
    RemoteMeteredInvoice,
    RouteProgress,
    compare_charges,
    lookup_key,
    metered_charges,
    told_in,
)
from services.billing.domain.plan import PricingPlan
from services.billing.domain.provider import RemoteState
from services.billing.domain.reconciliation import Diff, DiffKind
from services.billing.domain.subscription import Subscription
from services.billing.service.provider.providers import Opened
from services.billing.service.provider.reporting import MeterLine, counted, usage_of
from services.billing.store import meter_routes, metered_invoices, plans, subscriptions
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.money import Money, add_exactly, format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

DELAY = timedelta(hours=1)  # after which the provider's sums have all that it was told
SETTLED = timedelta(hours=2)  # after which all of a period's usage is told
MINUTE = timedelta(minutes=1)
_ZERO = Decimal(0)


class MeteredInvoices:
    """The use cases of invoices that a provider makes of metered usage."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the database, the tokens of lists and the clock."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def list_metered_invoices(self, page: PageRequest) -> Page[MeteredInvoice]:
        """Returns a page of invoices, each beside our own rating."""
        async with self._database.read(page.tenant_id) as tx:
            return await metered_invoices.list_invoices(tx, page, self._tokens)

    async def list_meter_routes(self, page: PageRequest) -> Page[RouteProgress]:
        """Returns a page of routes, each with what was told of it."""
        async with self._database.read(page.tenant_id) as tx:
            return await meter_routes.list_routes(tx, page, self._tokens)

    async def follow(self, opened: Opened, provider_subscription_id: str, invoice_id: str) -> bool:
        """Keeps an invoice that a webhook tells of; returns False where it is not ours."""
        meters = opened.provider.meters
        async with self._database.system_transaction() as tx:
            owner = await meter_routes.owner_of(tx, opened.name, provider_subscription_id)
        if owner is None or meters is None:
            return False
        tenant_id, route_id = owner
        async with opened.turn():
            remote = await meters.fetch_invoice(invoice_id)
        if remote is None:
            return False
        [line] = [each for each in await self._lines(tenant_id, opened) if _is(each, route_id)]
        await self._keep(line, remote)
        return True

    async def differences(
        self, tenant_id: str, opened: Opened, window: Period, *, is_full: bool
    ) -> AsyncIterator[Diff | None]:
        """Yields how the provider's invoices, and its sums, differ; None after each object.

        is_full: also its sums of the window, less the last hour, of which it may not have all.
        """
        for line in await self._lines(tenant_id, opened):
            async for remote in line.meters.invoices_of(line.route.provider_subscription_id):
                compared = await self._keep(line, remote)
                if remote.state not in (RemoteState.DRAFT, RemoteState.VOID):
                    for diff in _differing(remote, compared):
                        yield diff
                yield None
            if is_full:
                async for diff in self._sums(line, window):
                    yield diff
                yield None

    async def untold(self, tenant_id: str, opened: Opened) -> AsyncIterator[Diff]:
        """Yields usage of whole periods that the provider was told another amount of."""
        now = self._clock.now()
        for line in await self._lines(tenant_id, opened):
            reports = await self._reports(line.route)
            for part in line.parts(now):
                if part.end + SETTLED > now:
                    continue
                async with self._database.read(tenant_id) as tx:
                    usage = await usage_of(tx, line, part, now)
                told = {
                    charge.charge_id: sum(
                        report.quantity
                        for report in reports
                        if report.charge_id == charge.charge_id
                        and report.part_start_at == part.start
                        and report.counts
                    )
                    for charge in metered_charges(line.rates)
                }
                for charge_id, quantity in sorted(told.items()):
                    metered = usage.get(charge_id, _ZERO)
                    if int(max(metered, _ZERO) // 1) != quantity:
                        yield Diff(
                            kind=DiffKind.USAGE,
                            ours=format_decimal(metered),
                            theirs=str(quantity),
                            action=f"Bill by hand what the meter of {charge_id} was not told.",
                            provider_object_id=line.route.provider_subscription_id,
                        )

    async def _sums(self, line: MeterLine, window: Period) -> AsyncIterator[Diff]:
        opened_at = line.route.opened_at or line.route.created_at
        begin = max(window.start, opened_at).replace(second=0, microsecond=0)
        end = min(window.end, self._clock.now() - DELAY).replace(second=0, microsecond=0)
        if begin >= end:
            return
        minutes = Period(begin, end)
        reports = await self._reports(line.route)
        for charge in metered_charges(line.rates):
            told = told_in(reports, charge.charge_id, minutes)
            there = await counted(self._database, line, charge.charge_id, minutes)
            if there != told:
                yield Diff(
                    kind=DiffKind.METER,
                    ours=str(told),
                    theirs=format_decimal(there),
                    action=f"Find out which reports of {charge.charge_id} were not counted.",
                    provider_object_id=line.route.provider_subscription_id,
                )

    async def _keep(
        self, line: MeterLine, remote: RemoteMeteredInvoice
    ) -> Sequence[ChargeComparison]:
        """Stores an invoice as it is there, and returns each charge beside our rating."""
        route, seen_at = line.route, self._clock.now()
        reports = await self._reports(route)
        async with self._database.transaction(route.tenant_id) as tx:
            keys = await meter_routes.price_keys(
                tx, route.tenant_id, {each.price_id for each in remote.lines}
            )
            ours = {
                lookup_key(
                    *(route.plan_id, route.plan_version, route.currency_code), charge.charge_id
                ): charge
                for charge in metered_charges(line.rates)
            }
            charges = {there: ours[key] for there, key in keys.items() if key in ours}
            compared = compare_charges(remote, charges, reports)
            await metered_invoices.save(
                tx,
                MeteredInvoice(
                    tenant_id=route.tenant_id,
                    provider_invoice_id=remote.provider_invoice_id,
                    route_id=route.route_id,
                    subscription_id=route.subscription_id,
                    account_id=route.account_id,
                    number=remote.number,
                    state=remote.state,
                    currency_code=remote.currency_code,
                    period=_period(remote),
                    subtotal=add_exactly(each.amount for each in compared),
                    rated=add_exactly(each.rated for each in compared),
                    total=remote.total,
                    amount_paid=remote.amount_paid,
                    hosted_url=remote.hosted_url,
                    created_at=remote.created_at,
                    seen_at=seen_at,
                ),
            )
        return compared

    async def _lines(self, tenant_id: str, opened: Opened) -> list[MeterLine]:
        """Returns the routes that reached the provider, with what they are of."""
        meters = opened.provider.meters
        found: list[MeterLine] = []
        if meters is None:
            return found
        async with self._database.read(tenant_id) as tx:
            for route in await meter_routes.routes_of(tx, tenant_id):
                plan: PricingPlan | None = await plans.find_plan(
                    tx, route.plan_id, route.plan_version
                )
                subscription: Subscription | None = await subscriptions.find_subscription(
                    tx, tenant_id, subscription_id=route.subscription_id
                )
                if plan is None or subscription is None or not route.provider_subscription_id:
                    continue
                found.append(
                    MeterLine(
                        route=route,
                        subscription=subscription,
                        rates=plan.rates_in(route.currency_code),
                        opened=opened,
                        meters=meters,
                    )
                )
        return found

    async def _reports(self, route: MeterRoute) -> list[MeterReport]:
        async with self._database.read(route.tenant_id) as tx:
            return await meter_routes.reports_of(tx, route.tenant_id, route.route_id)


def _is(line: MeterLine, route_id: str) -> bool:
    return line.route.route_id == route_id


def _period(remote: RemoteMeteredInvoice) -> Period:
    begins: list[datetime] = [line.period.start for line in remote.lines]
    ends: list[datetime] = [line.period.end for line in remote.lines]
    if not begins:
        return Period(remote.created_at - MINUTE, remote.created_at)
    return Period(min(begins), max(ends))


def _differing(remote: RemoteMeteredInvoice, compared: Sequence[ChargeComparison]) -> list[Diff]:
    code = remote.currency_code
    return [
        Diff(
            kind=DiffKind.METER,
            ours=f"{format_decimal(each.rated)} {code} for {each.told}",
            theirs=f"{format_decimal(each.amount)} {code} for {format_decimal(each.counted)}",
            action=f"Credit or bill what differs of {each.charge_id}, at the provider.",
            provider_object_id=remote.provider_invoice_id,
            amount=Money(code, each.rated - each.amount),
        )
        for each in compared
        if not each.is_equal
    ]
