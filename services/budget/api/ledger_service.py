"""LedgerService: what moved the totals of budgets."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import ledger_service_pb2 as messages
from finops.budget.v1 import ledger_service_pb2_grpc

from services.budget.api.movements import MovementMethods
from services.budget.api.tenant import as_tenant
from services.budget.convert import periods as convert
from services.budget.service.directories import Directories
from services.budget.service.increases import Increases
from services.budget.service.reconciling import Reconciler
from services.budget.service.spend_lists import SpendLists

Context = grpc.aio.ServicerContext[Any, Any]


class LimitMethods:
    """The RPCs about versions, increases and periods."""

    _increases: Increases

    async def ListBudgetVersions(
        self, request: messages.ListBudgetVersionsRequest, _: Context
    ) -> messages.ListBudgetVersionsResponse:
        """Lists versions."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListBudgetVersions", request.budget_id)
        budget, found = await self._increases.list_budget_versions(page, request.budget_id)
        return convert.from_versions(budget, found, self._increases.now)

    async def CreateBudgetIncrease(
        self, request: messages.CreateBudgetIncreaseRequest, _: Context
    ) -> messages.CreateBudgetIncreaseResponse:
        """Raises the limit for a time."""
        wish = convert.to_wish(request)
        tenant_id = as_tenant(request.tenant_id)
        made = await self._increases.create_budget_increase(tenant_id, wish)
        code = wish.amount.currency_code
        return messages.CreateBudgetIncreaseResponse(
            budget_increase=convert.from_increase(made, code, self._increases.now)
        )

    async def ListBudgetIncreases(
        self, request: messages.ListBudgetIncreasesRequest, _: Context
    ) -> messages.ListBudgetIncreasesResponse:
        """Lists increases."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListBudgetIncreases", request.budget_id)
        budget, found = await self._increases.list_budget_increases(page, request.budget_id)
        return convert.from_increases(found, budget.currency_code, self._increases.now)

    async def DeleteBudgetIncrease(
        self, request: messages.DeleteBudgetIncreaseRequest, _: Context
    ) -> messages.DeleteBudgetIncreaseResponse:
        """Ends an increase early."""
        tenant_id = as_tenant(request.tenant_id)
        await self._increases.delete_budget_increase(
            tenant_id, request.budget_id, request.increase_id
        )
        return messages.DeleteBudgetIncreaseResponse()

    async def ListBudgetPeriods(
        self, request: messages.ListBudgetPeriodsRequest, _: Context
    ) -> messages.ListBudgetPeriodsResponse:
        """Lists periods."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListBudgetPeriods", request.budget_id)
        return convert.from_periods(
            await self._increases.list_budget_periods(page, request.budget_id)
        )


class LedgerServicer(LimitMethods, MovementMethods, ledger_service_pb2_grpc.LedgerServiceServicer):
    """Serves LedgerService."""

    def __init__(
        self,
        *,
        increases: Increases,
        lists: SpendLists,
        reconciler: Reconciler,
        directories: Directories,
    ) -> None:
        """Takes the use cases."""
        self._increases = increases
        self._lists = lists
        self._reconciler = reconciler
        self._directories = directories
