"""What the optimizer asks the usage service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from services.kernel.period import Period
from services.optimizer.domain.tariff import PeakSchedule, Tariff
from services.optimizer.domain.usage_change import DetailedEvent, TenantProfile


class Tariffs(NamedTuple):
    """Prices of a tenant, its own and everybody's, and the schedules that they name."""

    tariffs: Sequence[Tariff]
    schedules: Mapping[str, PeakSchedule]


class UsageReader(Protocol):
    """Reads the usage service; nothing of it is called inside a transaction."""

    async def profile(self, tenant_id: str) -> TenantProfile:
        """Returns in what zone and currency a tenant is told its figures."""

    async def tariffs(
        self,
        tenant_id: str,
        *,
        resource_types: Collection[str],
        providers: Collection[str],
        resource_ids: Collection[str],
        has_patterns: bool = False,
        week: datetime,
        tz: ZoneInfo,
    ) -> Tariffs:
        """Returns prices for some types, providers and resources, none of these for all.

        has_patterns: with those for patterns of resources, which may mean one of them.
        week: schedules are told by its hours.
        """

    def events(self, tenant_id: str, period: Period) -> AsyncIterator[DetailedEvent]:
        """Yields the events of a period that failed, were repeated or carry a sample."""
