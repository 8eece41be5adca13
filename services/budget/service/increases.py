"""Versions, temporary increases and periods of a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.budget.domain.budget import (
    Budget,
    BudgetIncrease,
    BudgetPeriod,
    BudgetState,
    BudgetVersion,
)
from services.budget.domain.change import ChangeKind
from services.budget.errors import (
    BudgetCurrencyFixed,
    BudgetEnded,
    BudgetNotFound,
    IncreaseNotFound,
    IncreaseNotInFuture,
    IncreaseOver,
)
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.budgets import RESOURCE
from services.budget.service.periods import Periods, change_of_period
from services.budget.store import budget_lists, budgets
from services.budget.store.changes import BudgetFeed
from services.budget.store.statuses import PeriodKey, alert_counts
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.money import Money, format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens


@dataclass(frozen=True, slots=True)
class IncreaseWish:
    """An increase to grant. start_at: None for now."""

    budget_id: str
    amount: Money
    start_at: datetime | None
    end_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class PeriodResult:
    """A stored period, its budget, and how many alerts fired in it."""

    budget: Budget
    row: BudgetPeriod
    alert_count: int = 0


class Increases:
    """The use cases of increases, versions and periods."""

    def __init__(
        self,
        database: Database,
        *,
        indexes: BudgetIndexes,
        periods: Periods,
        feed: BudgetFeed,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes the indexes, which forget a tenant when its limits change."""
        self._database = database
        self._indexes = indexes
        self._periods = periods
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self._clock.now()

    async def create_budget_increase(self, tenant_id: str, wish: IncreaseWish) -> BudgetIncrease:
        """Raises the limit for a time.

        Raises BudgetNotFound, BudgetEnded, BudgetCurrencyFixed, IncreaseNotInFuture.
        """
        now = self._clock.now()
        increase = BudgetIncrease(
            increase_id=new_id(),
            budget_id=wish.budget_id,
            amount=wish.amount.amount,
            start_at=wish.start_at or now,
            end_at=wish.end_at,
            reason=wish.reason,
            author=current_caller().subject,
            created_at=now,
        )
        if increase.end_at <= max(now, increase.start_at):
            raise IncreaseNotInFuture(end_time=increase.end_at.isoformat())

        def grant(budget: Budget) -> Budget:
            if budget.state_at(now) is BudgetState.ENDED:
                raise BudgetEnded(budget_id=budget.budget_id)
            if wish.amount.currency_code != budget.currency_code:
                raise BudgetCurrencyFixed(
                    budget_id=budget.budget_id, currency_code=budget.currency_code
                )
            return replace(budget, increases=(*budget.increases, increase))

        async with self._database.transaction(tenant_id) as tx:
            await self._change(tx, tenant_id, wish.budget_id, grant)
            await budgets.add_increase(tx, tenant_id, increase)
            await _audited(tx, "create", increase, after=True)
        self._indexes.forget(tenant_id)
        return increase

    async def delete_budget_increase(
        self, tenant_id: str, budget_id: str, increase_id: str
    ) -> None:
        """Ends an increase early. Raises BudgetNotFound, IncreaseNotFound, IncreaseOver."""
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            found: list[BudgetIncrease] = []

            def revoke(budget: Budget) -> Budget:
                found.extend(each for each in budget.increases if each.increase_id == increase_id)
                if not found:
                    raise IncreaseNotFound(budget_id=budget_id, increase_id=increase_id)
                if found[0].ends_at <= now:
                    raise IncreaseOver(budget_id=budget_id, increase_id=increase_id)
                kept = [each for each in budget.increases if each.increase_id != increase_id]
                return replace(budget, increases=(*kept, replace(found[0], revoked_at=now)))

            await self._change(tx, tenant_id, budget_id, revoke)
            await budgets.revoke_increase(tx, tenant_id, found[0], now)
            await _audited(tx, "delete", found[0], after=False)
        self._indexes.forget(tenant_id)

    async def list_budget_increases(
        self, page: PageRequest, budget_id: str
    ) -> tuple[Budget, Page[BudgetIncrease]]:
        """Returns the budget and a page of its increases. Raises BudgetNotFound."""
        now = self._clock.now()
        async with self._database.read(page.tenant_id) as tx:
            budget = await _required(tx, page.tenant_id, budget_id)
            found = await budget_lists.list_increases(tx, page, self._tokens, budget_id, now)
        return budget, found

    async def list_budget_versions(
        self, page: PageRequest, budget_id: str
    ) -> tuple[Budget, Page[BudgetVersion]]:
        """Returns the budget and a page of its versions. Raises BudgetNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            budget = await _required(tx, page.tenant_id, budget_id)
            return budget, await budget_lists.list_versions(tx, page, self._tokens, budget_id)

    async def list_budget_periods(self, page: PageRequest, budget_id: str) -> Page[PeriodResult]:
        """Returns a page of periods. Raises BudgetNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            budget = await _required(tx, page.tenant_id, budget_id)
            found = await budget_lists.list_periods(tx, page, self._tokens, budget_id)
            keys = [PeriodKey(budget_id, row.period.start) for row in found.items]
            alerts = await alert_counts(tx, page.tenant_id, keys)
        results = [
            PeriodResult(budget, row, alerts.get(PeriodKey(budget_id, row.period.start), 0))
            for row in found.items
        ]
        return Page(results, found.next_page_token)

    async def _change(
        self,
        tx: Transaction,
        tenant_id: str,
        budget_id: str,
        change: Callable[[Budget], Budget],
    ) -> None:
        """Changes the limit of a locked budget's running period and tells it."""
        known = await budgets.find_budget(tx, tenant_id, budget_id, for_update=True)
        if known is None:
            raise BudgetNotFound(budget_id=budget_id)
        budget = change(replace(known, revision=known.revision + 1))
        await budgets.save_budget(tx, budget)
        await budgets.bump_revision(tx, tenant_id)
        row = await self._periods.refresh(tx, budget)
        if row is not None:
            fact = change_of_period(row, ChangeKind.INCREASE, self._clock.now())
            await self._feed.append(tx, [fact], tenant_id=tenant_id)


async def _required(tx: Transaction, tenant_id: str, budget_id: str) -> Budget:
    budget = await budgets.find_budget(tx, tenant_id, budget_id)
    if budget is None:
        raise BudgetNotFound(budget_id=budget_id)
    return budget


async def _audited(tx: Transaction, action: str, increase: BudgetIncrease, *, after: bool) -> None:
    state = {
        "amount": format_decimal(increase.amount),
        "start_at": increase.start_at,
        "end_at": increase.end_at,
        "reason": increase.reason,
    }
    await audit.append(
        tx,
        action=f"budget_increases.{action}",
        resource=f"{RESOURCE}/{increase.budget_id}/increases/{increase.increase_id}",
        before=None if after else state,
        after=state if after else None,
    )
