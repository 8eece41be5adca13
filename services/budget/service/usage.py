"""What the budget service asks the usage service, in its own terms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from services.budget.domain.directory import Directory
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.terms import BudgetTerms
from services.kernel.period import Period


@dataclass(frozen=True, slots=True)
class SpendAnswer:
    """What usage of a scope cost in a period, in the budget's currency.

    sequence: position in the cost feed of the newest change that it counts. is_certain: nothing can
    appear before that position any more, so that it says exactly what is counted.
    """

    cost: Decimal
    unpriced_events: int
    sequence: str
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class SpendEvent:
    """One usage event as a backtest replays it. cost: in its own currency."""

    event_id: str
    at: datetime
    cost: Decimal
    currency_code: str
    is_unpriced: bool
    attributes: SpendAttributes


class UsageReader(Protocol):
    """Asks the usage service; never inside a transaction.

    Every method raises PeerUnavailable, PeerTimeout and UsageRefused.
    """

    async def directory(self, tenant_id: str) -> Directory:
        """Returns the tenant's settings, departments and managers as they are now."""

    async def horizon(self, tenant_id: str) -> str:
        """Returns a position of the cost feed before which nothing can appear any more."""

    async def spend(self, tenant_id: str, terms: BudgetTerms, period: Period) -> SpendAnswer:
        """Returns what the terms' scope cost in a period."""

    async def spend_series(
        self, tenant_id: str, terms: BudgetTerms, period: Period, *, by_hour: bool
    ) -> list[tuple[datetime, Decimal]]:
        """Returns the cost of each hour or day of the tenant's zone that had any, oldest first."""

    def events(
        self, tenant_id: str, terms: BudgetTerms, period: Period
    ) -> AsyncIterator[SpendEvent]:
        """Yields the events of the terms' scope, oldest first."""
