"""What reporting asks of other services."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from services.kernel.period import Granularity, Period
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.forecast.outlook import BudgetStanding
from services.reporting.domain.recommendations import OpenSavings
from services.reporting.domain.usage_analysis import UsageAnalysis


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """Zone in which a tenant's steps are cut, and the currency of its reports."""

    tz: ZoneInfo
    currency_code: str


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """A question for cost or quantity over time."""

    tenant_id: str
    period: Period
    granularity: Granularity
    group_by: tuple[str, ...] = ()
    filter: str = ""
    cost_type: str = "billed"
    currency_code: str = ""


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """Cost and quantity of one group in one step. quantity: None where units differ."""

    group: tuple[tuple[str, str], ...]
    start: datetime
    cost: Decimal
    quantity: Decimal | None
    unit: str


@dataclass(frozen=True, slots=True)
class SeriesAnswer:
    """All points, and how far the cost feed was counted in."""

    points: tuple[SeriesPoint, ...]
    sequence: str


class SeriesReader(Protocol):
    """Who tells what forecasts are made from: the usage service, or who asked it before."""

    async def tenant(self, tenant_id: str) -> TenantSettings:
        """Returns the tenant's settings; those of a tenant that usage does not know are plain."""
        ...

    async def series(self, question: SeriesQuestion) -> SeriesAnswer:
        """Returns cost and quantity over time. Raises UsageQuestionRefused."""
        ...


class UsageReader(SeriesReader, Protocol):
    """The usage service."""

    async def costs(self, question: CostQuestion) -> CostAnswer:
        """Returns all rows and totals of one state of the tenant's cost.

        Raises UsageQuestionRefused, CostsKeepChanging.
        """
        ...

    async def analysis(
        self, tenant_id: str, period: Period, *, filter_: str, currency_code: str
    ) -> UsageAnalysis:
        """Returns pattern, efficiency and cost of errors. Raises UsageQuestionRefused."""
        ...


class BudgetReader(Protocol):
    """The budget service."""

    async def standing(self, tenant_id: str, budget_id: str) -> BudgetStanding:
        """Returns how a budget stands now. Raises BudgetRefused."""
        ...

    async def states(
        self, tenant_id: str, *, filter_: str = "", most: int = 0
    ) -> tuple[BudgetState, ...]:
        """Returns how active budgets stand now, most used first. Raises BudgetRefused.

        filter_: AIP-160 over what the list of statuses takes. most: 0 for all of them.
        """
        ...


class OptimizerReader(Protocol):
    """The optimizer service."""

    async def open_savings(
        self, tenant_id: str, currency_code: str, filter_: str, *, most: int = 200
    ) -> OpenSavings:
        """Returns what may be saved, best first. Raises OptimizerRefused.

        filter_: AIP-160 over what the list of recommendations takes, beside being open.
        most: entries; what all of them save together is told in any case.
        """
        ...
