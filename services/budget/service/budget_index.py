"""Which budgets cover a piece of spend: answered from memory, exact as of a revision.

An index is complete as long as the tenant's revision stands. A decision therefore reads
`budgets.revision_of` in the transaction that makes it and, when it differs, takes the index again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.budget.domain.budget import Budget
from services.budget.domain.scope import SpendAttributes, spend_keys
from services.budget.store import budgets
from services.kernel.database import Database, Transaction
from services.kernel.period import Period

FRESH_SECONDS: Final = 1.0  # how late a replica sees another's change where nothing checks
TENANTS_MAX: Final = 2_000  # the least recently used goes first
MEMORY_MAX: Final = 20_000  # combinations of attributes an index remembers, about 10 MB
_EVERYTHING: Final = ("", "")


@dataclass(frozen=True, slots=True)
class Covering:
    """A budget that covers a piece of spend, and its period at that instant."""

    budget: Budget
    period: Period


class BudgetIndex:
    """A tenant's budgets as of one revision, drafts left out."""

    def __init__(self, revision: int, found: Sequence[Budget]) -> None:
        """Files each budget under its most selective condition, of each version."""
        self.revision = revision
        self.budgets = {budget.budget_id: budget for budget in found}
        self._filed: dict[tuple[str, str], list[Budget]] = defaultdict(list)
        self._candidates: dict[SpendAttributes, tuple[Budget, ...]] = {}
        self._periods: dict[str, Period] = {}
        for budget in found:
            scopes = {version.terms.scope for version in budget.versions}
            for key in {next(scope.keys(), _EVERYTHING) for scope in scopes}:
                self._filed[key].append(budget)

    def covering(self, spend: SpendAttributes, at: datetime) -> list[Covering]:
        """Returns the budgets that cover spend of an instant, by id.

        spend: completed by the directory. O(matching budgets) when the attributes were seen before.
        """
        found: list[Covering] = []
        for budget in self._matching(spend):
            if len(budget.versions) > 1 and not budget.version_at(at).terms.scope.covers(spend):
                continue
            period = self.period_of(budget, at)
            if period is not None:
                found.append(Covering(budget, period))
        return found

    def period_of(self, budget: Budget, at: datetime) -> Period | None:
        """Returns the budget's period at an instant, remembered from the question before."""
        known = self._periods.get(budget.budget_id)
        if known is not None and known.start <= at < known.end:
            return known
        period = budget.period_at(at)
        if period is not None:
            self._periods[budget.budget_id] = period
        return period

    def _matching(self, spend: SpendAttributes) -> tuple[Budget, ...]:
        known = self._candidates.get(spend)
        if known is not None:
            return known
        filed = list(self._filed.get(_EVERYTHING, ()))
        for key in spend_keys(spend):
            filed += self._filed.get(key, ())
        unique = {budget.budget_id: budget for budget in filed}
        matching = tuple(
            unique[budget_id]
            for budget_id in sorted(unique)
            if any(version.terms.scope.covers(spend) for version in unique[budget_id].versions)
        )
        if len(self._candidates) >= MEMORY_MAX:
            self._candidates.clear()
        self._candidates[spend] = matching
        return matching


class BudgetIndexes:
    """The indexes of the tenants that were used last."""

    def __init__(self, database: Database) -> None:
        """Takes the service's database."""
        self._database = database
        self._known: OrderedDict[str, tuple[float, BudgetIndex]] = OrderedDict()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, tenant_id: str) -> BudgetIndex:
        """Returns the tenant's index, at most FRESH_SECONDS old. Not inside a transaction."""
        known = self._known.get(tenant_id)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        async with self._locks[tenant_id]:
            known = self._known.get(tenant_id)
            if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
                return known[1]
            async with self._database.read(tenant_id) as tx:
                return await self.read(tx, tenant_id)

    async def read(self, tx: Transaction, tenant_id: str) -> BudgetIndex:
        """Returns the tenant's index as this transaction sees the budgets."""
        # Read first: a change after it makes the index newer than its number, which is harmless.
        revision = await budgets.revision_of(tx, tenant_id)
        known = self._known.get(tenant_id)
        if known is not None and known[1].revision == revision:
            index = known[1]
        else:
            index = BudgetIndex(revision, await budgets.live_budgets(tx, tenant_id))
        self._known[tenant_id] = (time.monotonic(), index)
        self._known.move_to_end(tenant_id)
        while len(self._known) > TENANTS_MAX:
            dropped, _ = self._known.popitem(last=False)
            self._locks.pop(dropped, None)
        return index

    def at(self, tenant_id: str, revision: int) -> BudgetIndex | None:
        """Returns the index in memory where it is of that revision."""
        known = self.known(tenant_id)
        return known if known is not None and known.revision == revision else None

    def known(self, tenant_id: str) -> BudgetIndex | None:
        """Returns the index in memory, however old, None where there is none."""
        known = self._known.get(tenant_id)
        return None if known is None else known[1]

    def forget(self, tenant_id: str) -> None:
        """Reads again at the next question; for changes made by this process."""
        self._known.pop(tenant_id, None)
