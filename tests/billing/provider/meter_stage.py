"""A tenant whose usage a Stripe account of meters prices, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.billing.domain.metered_route import (
    MeteredInvoice,
    MeterReport,
    RouteState,
)
from services.billing.domain.plan import (
    ChargeRoute,
    PlanCharge,
)
from services.billing.domain.reconciliation import Diff
from services.billing.domain.subscription import Phase, PhaseMode, Subscription
from services.billing.service.invoicing import Wanted
from services.billing.service.provider.steps import StepWaits
from services.billing.service.provider.work import ProviderWork
from services.billing.store import meter_routes, metered_invoices
from services.billing.store.subscriptions import begin_phase
from services.kernel.clock import ManualClock
from services.kernel.pagination import PageRequest, PageTokens
from services.kernel.period import Period
from tests.billing.invoicing_stage import Stage, per_unit, used
from tests.support.stripe.edge import StripeEdge
from tests.support.stripe.meters import MeterWorld

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
METERED = per_unit("0.0125", route=ChargeRoute.STRIPE_METERED)
HOUR = timedelta(hours=1)


@dataclass
class MeterStage:
    """A tenant whose tokens Stripe prices, and whose seats are priced here."""

    stage: Stage
    work: ProviderWork
    world: MeterWorld
    edge: StripeEdge
    subscription: Subscription = field(init=False)
    places: int = 0

    @property
    def clock(self) -> ManualClock:
        return self.stage.clock

    @property
    def tenant(self) -> str:
        return self.stage.tenant

    def to(self, at: datetime) -> None:
        self.clock.advance(at - self.clock.now())

    async def subscribe(self, *charges: PlanCharge, **rates: Any) -> None:
        await self.stage.account(currency_code="USD")
        plan_id = await self.stage.plan(*(charges or (METERED,)), **rates)
        self.subscription = await self.stage.subscribe(plan_id)

    async def use(self, at: datetime, quantity: str) -> None:
        self.places += 1
        await self.stage.use(used(at, quantity), place=self.places)

    async def advance(self) -> None:
        await self.work.route_jobs.routing.advance(self.tenant, self.subscription.subscription_id)

    async def work_on(self, at: datetime, quantity: str) -> None:
        """Uses something in an hour, and lets the worker come by after it."""
        self.to(max(at + HOUR, self.clock.now()))
        await self.use(at, quantity)
        await self.advance()

    async def past(self, end: datetime) -> None:
        """Lets a period end: the worker comes by in its draft's hour, and after that."""
        self.to(end + timedelta(minutes=10))
        await self.advance()
        self.to(end + 3 * HOUR)
        await self.advance()

    async def until_done(self) -> None:
        """Lets the worker come by until no outcome is unknown."""
        for _ in range(200):
            try:
                return await self.advance()
            except StepWaits:
                continue
        raise AssertionError("it never ended")

    async def pause(self, at: datetime) -> None:
        """Ends the terms that are billed."""
        subscription = self.subscription
        phase = Phase(
            start_at=at,
            plan_id=subscription.plan_id,
            plan_version=subscription.plan_version,
            quantity=Decimal(1),
            mode=PhaseMode.PAUSED,
        )
        async with self.stage.database.transaction(self.tenant) as tx:
            await begin_phase(tx, self.tenant, subscription.subscription_id, phase, at)

    async def billed_here(self, month: str) -> Decimal:
        """Returns what our own invoice of a month comes to."""
        with self.stage.caller():
            found = await self.stage.invoices.preview_invoice(
                Wanted(tenant_id=self.tenant, month=month)
            )
        return found.subtotal

    async def reports(self) -> list[MeterReport]:
        async with self.stage.database.read(self.tenant) as tx:
            [route] = await meter_routes.routes_of(tx, self.tenant)
            return await meter_routes.reports_of(tx, self.tenant, route.route_id)

    async def route_states(self) -> list[RouteState]:
        async with self.stage.database.read(self.tenant) as tx:
            return [route.state for route in await meter_routes.routes_of(tx, self.tenant)]

    def counted(self) -> int:
        """Returns all that Stripe counted of the tenant."""
        [meter] = self.world.of("billing.meter")
        [customer] = self.world.of("customer")
        return self.world.counted(meter["id"], customer["id"], 0, 2**40)

    async def differences(self, *, is_full: bool = True) -> list[Diff]:
        opened = await self.work.providers.of(self.tenant)
        window = Period(BEGIN - HOUR, self.clock.now())
        found = self.work.metered.differences(self.tenant, opened, window, is_full=is_full)
        return [diff async for diff in found if diff is not None]

    async def untold(self) -> list[Diff]:
        opened = await self.work.providers.of(self.tenant)
        return [diff async for diff in self.work.metered.untold(self.tenant, opened)]

    async def kept(self) -> list[MeteredInvoice]:
        async with self.stage.database.read(self.tenant) as tx:
            page = PageRequest(tenant_id=self.tenant, method="m")
            return list((await metered_invoices.list_invoices(tx, page, PageTokens(b"x"))).items)
