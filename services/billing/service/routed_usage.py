"""Tells usage that a provider's meters price from usage that is ours to bill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from services.billing.domain.metered_route import MeteredCharges, MeterRoute, usage_by_charge
from services.billing.domain.metering import Metered, total_of
from services.billing.domain.plan import PlanCharge, PlanRates
from services.billing.store import meter_routes, metering, plans
from services.kernel.money import EXACT
from services.kernel.period import Period
from services.kernel.transaction import Transaction

Usage: TypeAlias = dict[str, Metered]
Read: TypeAlias = Callable[[Period], Awaitable[Mapping[str, Metered]]]
HOUR = timedelta(hours=1)
_NOTHING = Metered(quantity=Decimal(0), cost=Decimal(0), events=0)


class RoutedUsage:
    """Which hours of which usage of a tenant the provider prices: all others are ours."""

    def __init__(self, tenant_id: str, subscription_id: str = "") -> None:
        """Reads nothing before the first question: most subscriptions have no route.

        subscription_id: "" for all of the tenant's.
        """
        self._tenant_id = tenant_id
        self._subscription_id = subscription_id
        self._routes: list[tuple[MeterRoute, MeteredCharges]] | None = None

    async def route_of(
        self, tx: Transaction, hour_at: datetime, dimension_ids: Iterable[str]
    ) -> tuple[MeterRoute, PlanCharge] | None:
        """Returns the route and charge that an hour's usage is told by, None where it is ours.

        dimension_ids: what the usage may be metered as.
        """
        hour = Period(hour_at, hour_at + HOUR)
        within = [each for each in await self._read(tx) if each[0].within(hour) is not None]
        if not within:
            return None
        keys = [(self._tenant_id, dimension_id) for dimension_id in dimension_ids]
        for dimension in (await metering.dimensions_of(tx, keys)).values():
            for route, charges in within:
                charge = charges.charge_of(dimension)
                if charge is not None:
                    return route, charge
        return None

    async def ours(
        self, tx: Transaction, hours: Period, usage: Mapping[str, Metered], read: Read
    ) -> Usage:
        """Returns what is left of the usage of some hours without what the provider prices.

        usage: by dimension. read: what gave it, which is asked for the provider's hours alone.
        """
        left = dict(usage)
        for route, charges in await self._read(tx):
            within = route.within(hours)
            there = {} if within is None else await read(within)
            keys = [(self._tenant_id, dimension_id) for dimension_id in there]
            known = await metering.dimensions_of(tx, keys) if keys else {}
            for dimension_id, amount in there.items():
                if not charges.takes(known[self._tenant_id, dimension_id]):
                    continue
                rest = _less(left.get(dimension_id, _NOTHING), amount)
                if rest == _NOTHING:
                    left.pop(dimension_id, None)
                else:
                    left[dimension_id] = rest
        return left

    async def _read(self, tx: Transaction) -> list[tuple[MeterRoute, MeteredCharges]]:
        """Returns all routes, ended ones too, with the charges that each is for."""
        if self._routes is None:
            self._routes = []
            routes = await meter_routes.routes_of(tx, self._tenant_id, self._subscription_id)
            for route in routes:
                plan = await plans.find_plan(tx, route.plan_id, route.plan_version)
                if plan is not None:
                    charges = MeteredCharges(plan.rates_in(route.currency_code))
                    self._routes.append((route, charges))
        return self._routes


async def usage_of_charges(
    tx: Transaction, route: MeterRoute, rates: PlanRates, hours: Period
) -> dict[str, Decimal]:
    """Returns what was metered of a route's hours, in time or late, by metered charge."""
    tenant_id = route.tenant_id
    usage = await meter_routes.usage_of(tx, tenant_id, hours)
    known = await metering.dimensions_of(tx, [(tenant_id, each) for each in usage])
    return usage_by_charge(rates, [(known[tenant_id, each], usage[each]) for each in usage])


def _less(whole: Metered, part: Metered) -> Metered:
    negative = Metered(
        quantity=EXACT.minus(part.quantity),
        cost=EXACT.minus(part.cost),
        events=-part.events,
        unpriced_events=-part.unpriced_events,
    )
    return total_of((whole, negative))
