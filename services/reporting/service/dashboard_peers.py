"""What a dashboard asks of other services beside what everybody here asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from services.kernel.period import Period
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.dashboard.dashboard import AlertGlance
from services.reporting.service.peers import BudgetReader, OptimizerReader


@dataclass(frozen=True, slots=True)
class CostPage:
    """The costliest groups of an answer, one page of them. groups: how many there are in all."""

    answer: CostAnswer
    groups: int
    is_whole: bool


class CostGlance(Protocol):
    """The usage service."""

    async def costliest(self, questions: Sequence[CostQuestion]) -> list[CostPage]:
        """Returns the first page of the groups of each. Raises UsageQuestionRefused.

        questions: of one tenant, at most 10.
        """
        ...

    async def is_ungrouped(self, question: CostQuestion) -> bool:
        """Tells whether some usage has no value of the question's only dimension.

        Raises UsageQuestionRefused.
        """
        ...


class AlertGlances(Protocol):
    """The budget service."""

    async def open_alerts(self, tenant_id: str, *, most: int) -> tuple[AlertGlance, ...]:
        """Returns the alerts that are not closed, most severe first. Raises BudgetRefused."""
        ...


class RealizedSavings(Protocol):
    """The optimizer."""

    async def realized(
        self, tenant_id: str, period: Period, *, filter_: str, currency_code: str
    ) -> Decimal:
        """Returns what recommendations that were done saved. Raises OptimizerRefused."""
        ...


@dataclass(frozen=True, slots=True)
class DashboardPeers:
    """Other services; None where one is not connected."""

    budgets: BudgetReader | None = None
    alerts: AlertGlances | None = None
    optimizer: OptimizerReader | None = None
    savings: RealizedSavings | None = None
