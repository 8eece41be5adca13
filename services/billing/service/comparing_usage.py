"""Compares what was invoiced with what was metered, and that with what the usage service has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from services.billing.domain.metering import Metered, UsageGroup, metered_period
from services.billing.domain.reconciliation import Diff
from services.billing.domain.usage_comparison import compare_groups, compare_lines, unbilled
from services.billing.errors import UsageStillArriving
from services.billing.service.metering import CONSUMER
from services.billing.service.routed_usage import RoutedUsage
from services.billing.store import billed_usage, metering
from services.kernel.database import Database
from services.kernel.period import Period

ATTEMPTS: Final = 25
PAUSE_SECONDS: Final = 0.2  # in which the feed's consumer comes as far as an answer


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """What was used of each sort. newest: place in the feed of the last change that is counted."""

    groups: Mapping[UsageGroup, Metered]
    newest: str


class UsageSums(Protocol):
    """Asks how much was used; the usage service, at the process edge."""

    async def of_hours(self, tenant_id: str, hours: Period) -> UsageAnswer:
        """Returns what was used in these hours."""


class UsageComparison:
    """Goes from lines to the meter, and from the meter to its source."""

    def __init__(self, database: Database, sums: UsageSums) -> None:
        """sums: the source."""
        self._database = database
        self._sums = sums

    async def differences(self, tenant_id: str, window: Period) -> AsyncIterator[Diff | None]:
        """Yields each difference of what invoices of the window bill, and None after each invoice.

        Raises UsageStillArriving, PeerUnavailable, PeerTimeout.
        """
        async with self._database.read(tenant_id) as tx:
            periods = await billed_usage.billed_periods(tx, tenant_id, window)
        for invoice_id, subscription_id, period in periods:
            hours = metered_period(period)
            if hours is None:
                continue
            async with self._database.read(tenant_id) as tx:
                billed = await billed_usage.of_lines(tx, tenant_id, subscription_id, period)
                read = partial(billed_usage.of_meter, tx, tenant_id)
                routed = RoutedUsage(tenant_id, subscription_id)
                metered = await routed.ours(tx, hours, await read(hours), read)
                known = await metering.dimensions_of(tx, [(tenant_id, each) for each in metered])
                dimensions = {dimension_id: found for (_, dimension_id), found in known.items()}
            for diff in compare_lines(invoice_id, billed, metered):
                yield diff
            for diff in unbilled(invoice_id, billed, metered, dimensions):
                yield diff
            for diff in await self._with_source(tenant_id, hours):
                yield diff
            yield None

    async def _with_source(self, tenant_id: str, hours: Period) -> list[Diff]:
        """Returns how the meter differs from its source.

        Certain is a difference where the meter had counted all that an answer before counted, and
        a later answer is still the same. Raises UsageStillArriving where usage never stands still.
        """
        before = await self._sums.of_hours(tenant_id, hours)
        for _ in range(ATTEMPTS):
            # Of a tenant whose last changes were lost, only the cursor is past them.
            async with self._database.system_transaction() as tx:
                cursor = await metering.counted_until(tx, CONSUMER)
            async with self._database.read(tenant_id) as tx:
                ours = await metering.metered_groups(tx, tenant_id, hours)
                counted = max(cursor, await metering.as_of(tx, tenant_id))
            after = await self._sums.of_hours(tenant_id, hours)
            found = list(compare_groups(ours, after.groups))
            if not found or (counted >= before.newest and after.groups == before.groups):
                return found
            if after.groups != before.groups:
                before = after
            await asyncio.sleep(PAUSE_SECONDS)
        raise UsageStillArriving(start=hours.start.isoformat(), end=hours.end.isoformat())
