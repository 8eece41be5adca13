"""What charts ask of other services beside what everybody here asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.kernel.period import Period
from services.reporting.domain.chart.rows import AlertMark
from services.reporting.service.peers import BudgetReader, OptimizerReader, UsageReader


class BudgetPictures(Protocol):
    """The budget service."""

    async def cost_filter(self, tenant_id: str, budget_id: str) -> str:
        """Returns the filter over cost that a budget counts. Raises BudgetRefused."""
        ...

    async def alerts(self, tenant_id: str, period: Period, *, most: int) -> list[AlertMark]:
        """Returns the newest alerts that fired in a period. Raises BudgetRefused."""
        ...


@dataclass(frozen=True, slots=True)
class ChartPeers:
    """Other services; None where one is not connected."""

    usage: UsageReader
    budgets: BudgetReader | None = None
    budget_pictures: BudgetPictures | None = None
    optimizer: OptimizerReader | None = None
