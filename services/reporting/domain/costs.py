"""Questions about cost, and the answers that usage gives, exact to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.kernel.money import add_exactly
from services.kernel.period import Granularity, Period


@dataclass(frozen=True, slots=True)
class CostQuestion:
    """A question for cost by group and step, as QueryCosts takes it.

    currency_code: empty keeps currencies apart. has_previous: each group is compared with the
    period of the same length before. is_allocated: allocation rules move shared cost first.
    """

    tenant_id: str
    period: Period
    group_by: tuple[str, ...] = ()
    granularity: Granularity = Granularity.TOTAL
    filter: str = ""
    cost_type: str = "billed"
    currency_code: str = ""
    has_previous: bool = False
    is_allocated: bool = False


@dataclass(frozen=True, slots=True)
class CostRow:
    """Cost of one group in one step and currency.

    group: values in the order of the question's dimensions. start_at: None in a total.
    quantity: None where units differ. previous_cost: None where it was not asked.
    """

    group: tuple[str, ...]
    start_at: datetime | None
    currency_code: str
    cost: Decimal
    quantity: Decimal | None = None
    unit: str = ""
    events: int = 0
    failed_events: int = 0
    unpriced_events: int = 0
    previous_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CostSum:
    """Sum over all groups in one currency."""

    currency_code: str
    cost: Decimal
    events: int
    unpriced_events: int
    previous_cost: Decimal | None


@dataclass(frozen=True, slots=True)
class AppliedRate:
    """An exchange rate that was applied, and the day it was published."""

    from_currency: str
    to_currency: str
    rate_date: str
    rate: Decimal


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """All rows of all pages, largest cost first; sequence: how far the cost feed is counted in."""

    rows: tuple[CostRow, ...]
    totals: tuple[CostSum, ...]
    sequence: str
    rates: tuple[AppliedRate, ...] = ()

    def total(self, currency_code: str) -> CostSum:
        """Returns the sum in a currency, zero where there is none."""
        for each in self.totals:
            if each.currency_code == currency_code:
                return each
        return CostSum(currency_code, Decimal(0), 0, 0, Decimal(0))

    def within(self, period: Period, whole: Period) -> CostAnswer:
        """Returns the answer for a part of the period, given one in steps, not grouped or compared.

        period: begins and ends between steps, or with the whole period that was asked.
        """
        rows = tuple(
            row
            for row in self.rows
            if row.start_at is not None
            and (period.start == whole.start or period.start <= row.start_at)
            and (period.end == whole.end or row.start_at < period.end)
        )
        totals = []
        for code in sorted({row.currency_code for row in rows}):
            mine = [row for row in rows if row.currency_code == code]
            cost = add_exactly(row.cost for row in mine)
            events = sum(row.events for row in mine)
            unpriced = sum(row.unpriced_events for row in mine)
            totals.append(CostSum(code, cost, events, unpriced, None))
        return CostAnswer(rows, tuple(totals), self.sequence, self.rates)
