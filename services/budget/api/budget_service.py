"""BudgetService: budgets, how they stand, and the spend they admit."""

from __future__ import annotations

from finops.budget.v1 import budget_service_pb2_grpc

from services.budget.api.budgets import BudgetMethods
from services.budget.service.budgets import Budgets


class BudgetServicer(BudgetMethods, budget_service_pb2_grpc.BudgetServiceServicer):
    """Serves BudgetService."""

    def __init__(self, *, budgets: Budgets) -> None:
        """Takes the use cases."""
        self._budgets = budgets
