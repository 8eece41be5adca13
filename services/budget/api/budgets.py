"""The part of BudgetService that keeps budgets."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import budget_service_pb2 as messages

from services.budget.api.tenant import as_tenant
from services.budget.convert import budgets as convert
from services.budget.service.budgets import Budgets

Context = grpc.aio.ServicerContext[Any, Any]


class BudgetMethods:
    """The RPCs about budgets themselves. The servicer that has them sets the use cases."""

    _budgets: Budgets

    async def CreateBudget(
        self, request: messages.CreateBudgetRequest, _: Context
    ) -> messages.CreateBudgetResponse:
        """Creates a budget."""
        draft = convert.to_draft(request, as_tenant(request.tenant_id))
        budget = await self._budgets.create_budget(draft)
        return messages.CreateBudgetResponse(
            budget=convert.from_budget(budget, budget.newest, self._budgets.now)
        )

    async def GetBudget(
        self, request: messages.GetBudgetRequest, _: Context
    ) -> messages.GetBudgetResponse:
        """Gets a budget as of an instant."""
        budget = await self._budgets.get_budget(as_tenant(request.tenant_id), request.budget_id)
        now = self._budgets.now
        version = budget.version_at(convert.to_at_time(request, now))
        return messages.GetBudgetResponse(budget=convert.from_budget(budget, version, now))

    async def ListBudgets(
        self, request: messages.ListBudgetsRequest, _: Context
    ) -> messages.ListBudgetsResponse:
        """Lists budgets."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListBudgets")
        found = await self._budgets.list_budgets(page)
        return convert.from_budgets(found, self._budgets.now)

    async def UpdateBudget(
        self, request: messages.UpdateBudgetRequest, _: Context
    ) -> messages.UpdateBudgetResponse:
        """Adds a version."""
        tenant_id = as_tenant(request.tenant_id)
        budget = await self._budgets.update_budget(tenant_id, convert.to_update(request))
        return messages.UpdateBudgetResponse(
            budget=convert.from_budget(budget, budget.newest, self._budgets.now)
        )

    async def DeleteBudget(
        self, request: messages.DeleteBudgetRequest, _: Context
    ) -> messages.DeleteBudgetResponse:
        """Ends a budget."""
        tenant_id = as_tenant(request.tenant_id)
        await self._budgets.delete_budget(tenant_id, request.budget_id, request.etag)
        return messages.DeleteBudgetResponse()

    async def ActivateBudget(
        self, request: messages.ActivateBudgetRequest, _: Context
    ) -> messages.ActivateBudgetResponse:
        """Puts a draft in force."""
        tenant_id = as_tenant(request.tenant_id)
        budget = await self._budgets.activate_budget(tenant_id, request.budget_id, request.etag)
        return messages.ActivateBudgetResponse(
            budget=convert.from_budget(budget, budget.newest, self._budgets.now)
        )
