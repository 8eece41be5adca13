"""Lists what was decided and what moved the totals of budgets."""

from __future__ import annotations

from services.budget.domain.ledger_entry import LedgerEntry
from services.budget.domain.spend import SpendAuthorization
from services.budget.errors import BudgetNotFound
from services.budget.store import spend_lists
from services.budget.store.budgets import find_budget
from services.kernel.database import Database
from services.kernel.pagination import Page, PageRequest, PageTokens


class SpendLists:
    """The use cases of reading the ledger."""

    def __init__(self, database: Database, *, tokens: PageTokens) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens

    async def list_spend_authorizations(self, page: PageRequest) -> Page[SpendAuthorization]:
        """Returns a page of past decisions."""
        async with self._database.read(page.tenant_id) as tx:
            return await spend_lists.list_authorizations(tx, page, self._tokens)

    async def list_ledger_entries(self, page: PageRequest, budget_id: str) -> Page[LedgerEntry]:
        """Returns a page of what moved a budget's totals. Raises BudgetNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            if await find_budget(tx, page.tenant_id, budget_id) is None:
                raise BudgetNotFound(budget_id=budget_id)
            return await spend_lists.list_entries(tx, page, self._tokens, budget_id)
