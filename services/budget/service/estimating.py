"""Estimates what work will cost, from memory where it can: it stands before every authorization."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from services.budget.domain.estimate import (
    CostBucket,
    by_bounds,
    by_caller,
    by_default,
    by_history,
    by_prices,
    unpriced,
)
from services.budget.domain.price_list import PriceList
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend import CostEstimate
from services.budget.service.usage_prices import UsagePrices
from services.budget.store import cost_history
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.money import Money

FRESH_SECONDS: Final = 5.0  # how late an estimate learns what calls have cost
PRICES_FRESH_SECONDS: Final = 60.0  # a new price is seen in estimates after so long
KINDS_MAX: Final = 10_000  # kinds of work remembered, about 20 MB

_History = dict[str, list[CostBucket]]


class Estimates:
    """Chooses how much to hold, and says why."""

    def __init__(
        self,
        database: Database,
        prices: UsagePrices,
        *,
        default_hold: Money | None,
        clock: Clock,
    ) -> None:
        """default_hold: the operator's, for work of which neither price nor history is known."""
        self._database = database
        self._prices = prices
        self._default_hold = default_hold
        self._clock = clock
        self._histories: OrderedDict[tuple[str, str, str], tuple[float, _History]] = OrderedDict()
        self._lists: OrderedDict[tuple[str, str], tuple[float, PriceList]] = OrderedDict()

    async def estimate(
        self,
        tenant_id: str,
        subject: SpendAttributes,
        *,
        amount: Money | None,
        usage: Mapping[str, Decimal],
        usage_max: Mapping[str, Decimal],
        currency_code: str,
    ) -> CostEstimate:
        """Returns the amount to hold: by the first of these that is known.

        The caller's, by prices, by history, the operator's, all that the work's bounds allow.
        currency_code: of an estimate that there is none.
        """
        if amount is not None:
            return by_caller(amount)
        worst_case: Money | None = None
        if usage or usage_max:
            prices = await self._price_list(tenant_id, subject.resource_type)
            now = self._clock.now()
            worst_case = prices.cost(subject, usage_max, now) if usage_max else None
            expected = prices.cost(subject, usage, now) if usage else None
            if expected is not None:
                return by_prices(expected, worst_case=worst_case)
        for resource_id in dict.fromkeys((subject.resource_id, "")):
            found = await self._by_history(tenant_id, subject, resource_id, worst_case)
            if found is not None:
                return found
        if self._default_hold is not None:
            return by_default(self._default_hold, worst_case=worst_case)
        if worst_case is not None:
            return by_bounds(worst_case)
        return unpriced(currency_code)

    async def _by_history(
        self,
        tenant_id: str,
        subject: SpendAttributes,
        resource_id: str,
        worst_case: Money | None,
    ) -> CostEstimate | None:
        history = await self._history(tenant_id, subject.resource_type, resource_id)
        # The currency that most of the calls were settled in.
        ranked = sorted(history.items(), key=lambda item: -_samples(item[1]))
        for code, buckets in ranked[:1]:
            of = f"{subject.resource_type} {resource_id}".rstrip()
            return by_history(buckets, code, worst_case=worst_case, of=of)
        return None

    async def _history(self, tenant_id: str, resource_type: str, resource_id: str) -> _History:
        key = (tenant_id, resource_type, resource_id)
        known = self._histories.get(key)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        async with self._database.read(tenant_id) as tx:
            day = self._clock.now().date()
            found = await cost_history.histories(tx, *key, day)
        self._histories[key] = (time.monotonic(), found)
        self._histories.move_to_end(key)
        while len(self._histories) > KINDS_MAX:
            self._histories.popitem(last=False)
        return found

    async def _price_list(self, tenant_id: str, resource_type: str) -> PriceList:
        key = (tenant_id, resource_type)
        known = self._lists.get(key)
        if known is not None and time.monotonic() - known[0] < PRICES_FRESH_SECONDS:
            return known[1]
        found = PriceList(await self._prices.prices(tenant_id, resource_type))
        self._lists[key] = (time.monotonic(), found)
        while len(self._lists) > KINDS_MAX:
            self._lists.popitem(last=False)
        return found


def _samples(buckets: Sequence[CostBucket]) -> int:
    return sum(bucket.samples for bucket in buckets)
