"""Lets a provider's meters price usage: from a decided hour on, until a decided hour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from services.billing.domain.account import CollectionMethod
from services.billing.domain.metered_route import (
    CLOSE_AFTER,
    MeteredPrice,
    MeteredSubscription,
    MeterRoute,
    ReportState,
    RouteState,
    event_name,
    lookup_key,
    metered_charges,
)
from services.billing.domain.metering import hour_of
from services.billing.domain.operation import Step
from services.billing.domain.plan import PlanCharge, PricingPlan
from services.billing.domain.route_terms import end_of
from services.billing.domain.subscription import PhaseMode, Subscription
from services.billing.errors import PlanNotFound, SubscriptionNotFound
from services.billing.errors.metered import MeterRouteOpen
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.pushing import Pushing
from services.billing.service.provider.reporting import MeterLine, Reporting
from services.billing.service.provider.steps import Ask, Send, StepRefused, Steps
from services.billing.store import accounts, metering, operations, plans, subscriptions
from services.billing.store import meter_routes as rows
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.period import Period
from services.kernel.transaction import Transaction

log = structlog.get_logger(__name__)


class Routing:
    """Begins routes where a plan wants one, follows them, and ends them."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        pushing: Pushing,
        *,
        clock: Clock,
    ) -> None:
        """pushing: knows customers."""
        self._database = database
        self._providers = providers
        self._steps = steps
        self._pushing = pushing
        self._reporting = Reporting(database, steps, clock=clock)
        self._clock = clock

    async def advance(self, tenant_id: str, subscription_id: str) -> None:
        """Carries the route of a subscription as far as it goes now; harmless twice.

        Raises StepWaits, ProviderFault, SubscriptionNotFound, MeterRouteOpen.
        """
        opened = await self._providers.of(tenant_id)
        meters = opened.provider.meters
        if meters is None:
            await self._leave(tenant_id, subscription_id)
            return
        async with self._database.transaction(tenant_id) as tx:
            route = await self._running(tx, tenant_id, subscription_id, opened)
            if route is None:
                return
            subscription = await _subscription(tx, tenant_id, subscription_id)
            route = await self._ended(tx, route, subscription)
            plan = await _plan(tx, route)
        line = MeterLine(
            route=route,
            subscription=subscription,
            rates=plan.rates_in(route.currency_code),
            opened=opened,
            meters=meters,
        )
        if route.state is RouteState.OPENING:
            line = await self._open(line, plan)
        if line.route.state in (RouteState.OPEN, RouteState.CLOSING):
            await self._reporting.report(line)
        if line.route.state is RouteState.CLOSING:
            await self._close(line)

    async def _leave(self, tenant_id: str, subscription_id: str) -> None:
        """Gives up a route that was not open yet when the tenant left the provider.

        Raises MeterRouteOpen where one is open there, of which nothing is told any more.
        """
        async with self._database.transaction(tenant_id) as tx:
            for route in await rows.routes_of(tx, tenant_id, subscription_id):
                if route.state is RouteState.OPENING:
                    await self._refused(tx, route, "the tenant left before it was open")
                elif route.state in (RouteState.OPEN, RouteState.CLOSING):
                    raise MeterRouteOpen(
                        "Stripe still prices usage of a tenant whose settings say offline; set its"
                        " key again, and end the route first.",
                        tenant_id=tenant_id,
                        subscription_id=subscription_id,
                    )

    async def _running(
        self, tx: Transaction, tenant_id: str, subscription_id: str, opened: Opened
    ) -> MeterRoute | None:
        """Returns the route that runs, begun now where the plan wants one; None for none."""
        routes = await rows.routes_of(tx, tenant_id, subscription_id)
        over = (RouteState.CLOSED, RouteState.REFUSED)
        for route in routes:
            if route.state not in over:
                return route
        subscription = await _subscription(tx, tenant_id, subscription_id)
        found = await self._wanted(tx, subscription, routes, opened)
        if found is not None:
            await rows.add_route(tx, found)
        return found

    async def _wanted(
        self,
        tx: Transaction,
        subscription: Subscription,
        routes: Sequence[MeterRoute],
        opened: Opened,
    ) -> MeterRoute | None:
        now, tenant_id = self._clock.now(), subscription.tenant_id
        # Until this transaction ends no invoice is locked, so what is decided here holds for it.
        locked = await metering.lock_metering(tx, [tenant_id])
        period = subscription.calendar.period(now)
        held = await subscriptions.phases_in(
            tx, tenant_id, subscription.subscription_id, Period(now, now + timedelta(seconds=1))
        )
        if not held or held[-1].mode is not PhaseMode.BILLED:
            return None
        phase = held[-1]
        starts_at = hour_of(max(period.start, phase.start_at))
        account = await accounts.find_account(tx, tenant_id, subscription.account_id)
        automated = await accounts.find_automated(tx, tenant_id, subscription.account_id)
        plan = await plans.find_plan(tx, phase.plan_id, phase.plan_version)
        if plan is None or account is None or account.account.department_id:
            return None
        if not automated.include_usage:
            return None
        if not metered_charges(plan.rates_in(subscription.currency_code)):
            return None
        terms = (phase.plan_id, phase.plan_version)
        is_refused = any(
            (route.plan_id, route.plan_version) == terms and route.state is RouteState.REFUSED
            for route in routes
        )
        is_taken = any(route.ends_at is not None and route.ends_at > starts_at for route in routes)
        if is_refused or is_taken or locked[tenant_id][0] > starts_at:
            return None
        return MeterRoute(
            tenant_id=tenant_id,
            route_id=new_id(),
            subscription_id=subscription.subscription_id,
            account_id=subscription.account_id,
            plan_id=phase.plan_id,
            plan_version=phase.plan_version,
            currency_code=subscription.currency_code,
            provider=opened.name,
            state=RouteState.OPENING,
            starts_at=starts_at,
            created_at=now,
        )

    async def _ended(
        self, tx: Transaction, route: MeterRoute, subscription: Subscription
    ) -> MeterRoute:
        """Decides the route's last hour, once the terms that it was begun for hold no more.

        Usage that is not to be billed is not told either: its route ends when that is set.
        """
        if route.ends_at is not None:
            return route
        span = Period(route.starts_at, self._clock.now() + timedelta(seconds=1))
        held = await subscriptions.phases_in(
            tx, route.tenant_id, subscription.subscription_id, span
        )
        automated = await accounts.find_automated(tx, route.tenant_id, route.account_id)
        end = end_of(route, held, None if automated.include_usage else automated.updated_at)
        if end is None:
            return route
        if route.state is RouteState.OPENING:
            return await self._refused(tx, route, "its terms ended before it was open")
        ended = replace(route, state=RouteState.CLOSING, ends_at=hour_of(end))
        await rows.save_route(tx, ended)
        return ended

    async def _refused(self, tx: Transaction, route: MeterRoute, error: str) -> MeterRoute:
        """Gives the usage back to our own invoices, but for what they have left out already."""
        locked = await metering.lock_metering(tx, [route.tenant_id])
        ends_at = max(route.starts_at, locked[route.tenant_id][0])
        refused = replace(route, state=RouteState.REFUSED, ends_at=ends_at, error=error[:500])
        await rows.save_route(tx, refused)
        log.error("meter route refused", tenant=route.tenant_id, error=error)
        return refused

    async def _open(self, line: MeterLine, plan: PricingPlan) -> MeterLine:
        """Makes meters, prices and the subscription there. Raises StepWaits."""
        route = line.route
        try:
            customer_id = await self._pushing.customer_of(
                line.opened, route.tenant_id, route.account_id, route.currency_code
            )
            prices = [
                await self._price(line, charge, plan) for charge in metered_charges(line.rates)
            ]
            there = await self._subscribe(line, customer_id, prices)
        except StepRefused as refused:
            async with self._database.transaction(route.tenant_id) as tx:
                return replace(line, route=await self._refused(tx, route, refused.text))
        opened = replace(
            route,
            state=RouteState.OPEN,
            customer_id=customer_id,
            provider_subscription_id=there,
            opened_at=self._clock.now(),
        )
        async with self._database.transaction(route.tenant_id) as tx:
            known = await rows.find_route(tx, route.tenant_id, route.route_id)
            if known is not None and known.state is not RouteState.OPENING:
                return replace(line, route=known)
            await rows.save_route(tx, opened)
        return replace(line, route=opened)

    async def _price(self, line: MeterLine, charge: PlanCharge, plan: PricingPlan) -> str:
        route, meters = line.route, line.meters
        name = event_name(route.plan_id, charge.charge_id)
        text = f"{plan.display_name}: {charge.display_name}"
        meter_id = await self._made(
            *(line, "meter", name, Step.METER),
            send=lambda key: meters.create_meter(key, name, text),
            ask=lambda: meters.find_meter(name),
        )
        price = MeteredPrice(
            lookup_key=lookup_key(
                route.plan_id, route.plan_version, route.currency_code, charge.charge_id
            ),
            display_name=text,
            currency_code=route.currency_code,
            interval_months=plan.interval.months,
            charge=charge,
        )
        return await self._made(
            *(line, "price", price.lookup_key, Step.PRICE),
            send=lambda key: meters.create_price(key, price, meter_id=meter_id),
            ask=lambda: meters.find_price(price.lookup_key),
        )

    async def _made(
        self,
        line: MeterLine,
        kind: str,
        local_id: str,
        step: Step,
        *,
        send: Callable[[str], Awaitable[str]],
        ask: Callable[[], Awaitable[str | None]],
    ) -> str:
        """Returns the provider's id of something of ours, made when first needed."""
        tenant_id, opened = line.tenant_id, line.opened
        live_mode = opened.settings.live_mode
        async with self._database.read(tenant_id) as tx:
            known = await operations.object_there(
                tx, tenant_id, kind, local_id, opened.name, live_mode=live_mode
            )
        if known:
            return known
        digest = hashlib.sha256(local_id.encode()).hexdigest()[:32]
        mode = "live" if live_mode else "test"
        found = await self._perform(
            *(line, f"{kind}:{digest}:{opened.name}:{mode}", step, local_id),
            send=send,
            ask=lambda _: ask(),
        )
        async with self._database.transaction(tenant_id) as tx:
            await operations.add_object(
                *(tx, tenant_id, kind, local_id, opened.name),
                provider_object_id=found,
                live_mode=live_mode,
                now=self._clock.now(),
            )
        return found

    async def _subscribe(self, line: MeterLine, customer_id: str, prices: Sequence[str]) -> str:
        route, meters = line.route, line.meters
        async with self._database.read(route.tenant_id) as tx:
            stored = await accounts.find_account(tx, route.tenant_id, route.account_id)
        is_sent = (
            stored is not None
            and stored.account.collection_method is not CollectionMethod.CHARGE_AUTOMATICALLY
        )
        wanted = MeteredSubscription(
            tenant_id=route.tenant_id,
            route_id=route.route_id,
            subscription_id=route.subscription_id,
            customer_id=customer_id,
            currency_code=route.currency_code,
            price_ids=prices,
            next_period_at=line.subscription.calendar.period(self._clock.now()).end,
            days_until_due=stored.account.payment_terms_days if stored and is_sent else None,
        )
        return await self._perform(
            *(line, f"msub:{route.route_id}", Step.SUBSCRIBE, json.dumps([customer_id, *prices])),
            send=lambda key: meters.subscribe(key, wanted),
            ask=lambda since: meters.find_subscription(wanted, since),
        )

    async def _perform(
        self, line: MeterLine, key: str, step: Step, request: str, *, send: Send, ask: Ask
    ) -> str:
        async def sent(idempotency_key: str) -> str:
            async with line.opened.turn():
                return await send(idempotency_key)

        async def asked(since: datetime) -> str | None:
            async with line.opened.turn():
                return await ask(since)

        return await self._steps.perform(
            *(line.tenant_id, key, step),
            provider=line.opened.name,
            request=request,
            send=sent,
            ask=asked,
        )

    async def _close(self, line: MeterLine) -> None:
        """Ends the subscription there, once all usage of it was told."""
        route, ends_at = line.route, line.route.ends_at
        if ends_at is None or self._clock.now() < ends_at + CLOSE_AFTER:
            return
        async with self._database.read(route.tenant_id) as tx:
            reports = await rows.reports_of(tx, route.tenant_id, route.route_id)
        unsettled = (ReportState.SENDING, ReportState.CANCELING)
        if any(report.state in unsettled for report in reports):
            return
        async with line.opened.turn():
            await line.meters.unsubscribe(route.provider_subscription_id)
        async with self._database.transaction(route.tenant_id) as tx:
            known = await rows.find_route(tx, route.tenant_id, route.route_id)
            if known is not None:
                await rows.save_route(tx, replace(known, state=RouteState.CLOSED))


async def _subscription(tx: Transaction, tenant_id: str, subscription_id: str) -> Subscription:
    found = await subscriptions.find_subscription(tx, tenant_id, subscription_id=subscription_id)
    if found is None:
        raise SubscriptionNotFound(subscription_id=subscription_id)
    return found


async def _plan(tx: Transaction, route: MeterRoute) -> PricingPlan:
    found = await plans.find_plan(tx, route.plan_id, route.plan_version)
    if found is None:
        raise PlanNotFound(plan_id=route.plan_id)
    return found
