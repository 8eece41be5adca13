"""BudgetService: budgets, how they stand, and the spend they admit."""

from __future__ import annotations

from finops.budget.v1 import budget_service_pb2_grpc

from services.budget.api.budgets import BudgetMethods
from services.budget.api.spend import SpendMethods
from services.budget.api.statuses import StatusMethods
from services.budget.service.asking import Asking
from services.budget.service.backtesting import Backtests
from services.budget.service.budgets import Budgets
from services.budget.service.spend_lists import SpendLists
from services.budget.service.spending import Spending
from services.budget.service.statuses import Statuses
from services.budget.service.watching import BudgetWatch


class BudgetServicer(
    BudgetMethods, StatusMethods, SpendMethods, budget_service_pb2_grpc.BudgetServiceServicer
):
    """Serves BudgetService."""

    def __init__(
        self,
        *,
        budgets: Budgets,
        statuses: Statuses,
        backtests: Backtests,
        watch: BudgetWatch,
        asking: Asking,
        spending: Spending,
        spend_lists: SpendLists,
    ) -> None:
        """Takes the use cases."""
        self._budgets = budgets
        self._statuses = statuses
        self._backtests = backtests
        self._watch = watch
        self._asking = asking
        self._spending = spending
        self._spend_lists = spend_lists
