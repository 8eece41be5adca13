"""Loads a tenant's statistics for the detectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates, MissingRate
from services.kernel.filter import evaluate, parse_filter
from services.kernel.period import Period
from services.optimizer.domain.caching import REPEATED_UNIT
from services.optimizer.domain.statistics import Statistics, UsageSeries, whole_days
from services.optimizer.domain.substitution import COMPLEXITY_TAG
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.service.usage import UsageReader
from services.optimizer.store import catalogues, statistics


class StatisticsLoader:
    """Reads one snapshot of the own tables, then the prices of what is in it."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        profiles: TenantProfiles,
        *,
        rates: ExchangeRates,
    ) -> None:
        """usage: asked outside of transactions. rates: to compare amounts of several currencies."""
        self._database = database
        self._usage = usage
        self._profiles = profiles
        self._rates = rates

    async def load(
        self, tenant_id: str, period: Period, text: str = "", *, has_alternatives: bool = False
    ) -> Statistics:
        """Returns the statistics of whole UTC days around a period.

        text: AIP-160 over the attributes of usage. has_alternatives: with the prices of models that
        are not in use, which are also read where simple work might move to one.
        Raises InvalidFilter and its kinds.
        """
        profile = await self._profiles.get(tenant_id)
        days = whole_days(period.start, period.end)
        async with self._database.read(tenant_id) as tx:
            series = select(await statistics.load_series(tx, tenant_id, days), text)
            utilization = await statistics.load_utilization(tx, tenant_id, days)
            attempts = await statistics.load_attempts(tx, tenant_id, days)
            catalogue = await catalogues.load_catalogue(tx, tenant_id)
            factors = await catalogues.load_factors(tx, tenant_id)
        found = Statistics(
            period=days,
            tz=profile.tz,
            currency_code=profile.currency_code,
            series=series,
            utilization=utilization,
            attempts=attempts,
            catalogue=catalogue,
            factors=factors,
            exchange=self._exchange(
                {one.subject.currency_code for one in series},
                profile.currency_code,
                (days.end - timedelta(days=1)).date(),
            ),
        )
        if not series:
            return found
        is_whole = has_alternatives or any(one.subject.tag(COMPLEXITY_TAG) for one in series)
        prices = await self._usage.tariffs(
            tenant_id,
            resource_types={one.subject.resource_type for one in series},
            providers={one.subject.provider for one in series},
            resource_ids=set() if is_whole else {one.subject.resource_id for one in series},
            has_patterns=any(one.subject.unit == REPEATED_UNIT for one in series),
            week=days.end,
            tz=profile.tz,
        )
        return replace(found, tariffs=prices.tariffs, schedules=prices.schedules)

    def _exchange(self, codes: Iterable[str], own: str, day: date) -> dict[str, Decimal]:
        found = {}
        for code in codes:
            try:
                found[code] = self._rates.last_known(code, own, day).rate
            except MissingRate:
                continue  # what is paid in it is shown, last: nothing tells what it is worth
        return found


def select(series: list[UsageSeries], text: str) -> list[UsageSeries]:
    """Returns the series that fit a filter over their attributes."""
    if not text.strip():
        return series
    expression = parse_filter(text)
    return [one for one in series if evaluate(expression, one.subject.fields())]
