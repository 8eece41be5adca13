"""The part of LedgerService that shows movements and compares them with usage."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import ledger_service_pb2 as messages

from services.budget.api.tenant import as_tenant
from services.budget.convert import ledger as convert
from services.budget.convert.periods import to_page
from services.budget.service.directories import Directories
from services.budget.service.reconciling import Reconciler
from services.budget.service.spend_lists import SpendLists
from services.kernel.caller import current_caller

Context = grpc.aio.ServicerContext[Any, Any]


class MovementMethods:
    """The RPCs about ledger entries and reconciliations. The servicer sets the use cases."""

    _lists: SpendLists
    _reconciler: Reconciler
    _directories: Directories

    async def ListLedgerEntries(
        self, request: messages.ListLedgerEntriesRequest, _: Context
    ) -> messages.ListLedgerEntriesResponse:
        """Lists what moved a budget's totals."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "ListLedgerEntries", request.budget_id)
        return convert.from_entries(await self._lists.list_ledger_entries(page, request.budget_id))

    async def ReconcileBudgets(
        self, request: messages.ReconcileBudgetsRequest, _: Context
    ) -> messages.ReconcileBudgetsResponse:
        """Starts a comparison."""
        tenant_id = as_tenant(request.tenant_id)
        zone = (await self._directories.get(tenant_id)).time_zone
        wish = convert.to_wish(request, tenant_id, current_caller().subject, zone)
        started = await self._reconciler.reconcile_budgets(wish)
        return messages.ReconcileBudgetsResponse(
            budget_reconciliation=convert.from_reconciliation(started)
        )

    async def GetBudgetReconciliation(
        self, request: messages.GetBudgetReconciliationRequest, _: Context
    ) -> messages.GetBudgetReconciliationResponse:
        """Gets one comparison."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._reconciler.get_budget_reconciliation(
            tenant_id, request.reconciliation_id
        )
        return messages.GetBudgetReconciliationResponse(
            budget_reconciliation=convert.from_reconciliation(found)
        )

    async def ListBudgetReconciliations(
        self, request: messages.ListBudgetReconciliationsRequest, _: Context
    ) -> messages.ListBudgetReconciliationsResponse:
        """Lists comparisons."""
        page = to_page(request, as_tenant(request.tenant_id), "ListBudgetReconciliations", "")
        found = await self._reconciler.list_budget_reconciliations(page)
        return convert.from_reconciliations(found)

    async def ListBudgetDrifts(
        self, request: messages.ListBudgetDriftsRequest, _: Context
    ) -> messages.ListBudgetDriftsResponse:
        """Lists what a comparison found."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "ListBudgetDrifts", request.reconciliation_id)
        found = await self._reconciler.list_budget_drifts(page, request.reconciliation_id)
        return convert.from_drifts(found)
