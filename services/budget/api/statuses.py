"""The part of BudgetService that tells how budgets stand, and follows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.budget.v1 import backtest_messages_pb2
from finops.budget.v1 import budget_service_pb2 as messages

from services.budget.api.tenant import as_tenant
from services.budget.convert import backtests as backtest_convert
from services.budget.convert import periods as period_convert
from services.budget.convert import status as convert
from services.budget.convert.budgets import to_page
from services.budget.convert.instants import to_optional
from services.budget.service.backtesting import Backtests
from services.budget.service.statuses import Statuses
from services.budget.service.watching import BudgetWatch

Context = grpc.aio.ServicerContext[Any, Any]


class StatusMethods:
    """The RPCs about statuses, backtests and changes. The servicer sets the use cases."""

    _statuses: Statuses
    _backtests: Backtests
    _watch: BudgetWatch

    async def GetBudgetStatus(
        self, request: messages.GetBudgetStatusRequest, _: Context
    ) -> messages.GetBudgetStatusResponse:
        """Tells how one budget stands."""
        key = (as_tenant(request.tenant_id), request.budget_id)
        found = await self._statuses.get_budget_status(*key, to_optional(request, "at_time"))
        return messages.GetBudgetStatusResponse(budget_status=convert.from_status(found))

    async def ListBudgetStatuses(
        self, request: messages.ListBudgetStatusesRequest, _: Context
    ) -> messages.ListBudgetStatusesResponse:
        """Tells how many budgets stand."""
        page = to_page(request, as_tenant(request.tenant_id), "ListBudgetStatuses")
        return convert.from_statuses(await self._statuses.list_budget_statuses(page))

    async def BacktestBudget(
        self, request: backtest_messages_pb2.BacktestBudgetRequest, _: Context
    ) -> backtest_messages_pb2.BacktestBudgetResponse:
        """Replays past usage."""
        tenant_id = as_tenant(request.tenant_id)
        wish = backtest_convert.to_wish(request)
        return backtest_convert.from_backtest(
            await self._backtests.backtest_budget(tenant_id, wish)
        )

    async def WatchBudgets(
        self, request: messages.WatchBudgetsRequest, _: Context
    ) -> AsyncIterator[messages.WatchBudgetsResponse]:
        """Streams changes."""
        tenant_id, ids = as_tenant(request.tenant_id), request.budget_ids
        pages = self._watch.watch_budgets(tenant_id, after=request.after_sequence, budget_ids=ids)
        async for page in pages:
            for message in period_convert.from_page(page):
                yield message
