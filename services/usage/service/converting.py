"""Converts cost cells to one currency by the rate of each usage day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from services.kernel.exchange import ExchangeRate, ExchangeRates
from services.kernel.money import EXACT
from services.usage.domain.answer import AppliedRate
from services.usage.store.costs import CostCell


def convert_cells(
    cells: Sequence[CostCell], currency_code: str, rates: ExchangeRates
) -> tuple[list[CostCell], list[AppliedRate]]:
    """Folds currencies and days into one currency, and returns the rates that were applied.

    cells: cut by local day. The cost of each group, day and currency is rounded once, to 18 digits.
    Raises MissingRate.
    """
    folded: dict[tuple[tuple[str, ...], object], CostCell] = {}
    applied: dict[tuple[str, date], ExchangeRate] = {}
    for cell in cells:
        cost, usage_date = cell.cost, cell.usage_date
        if cell.currency_code != currency_code and usage_date is not None:
            key = (cell.currency_code, usage_date)
            if key not in applied:
                applied[key] = rates.rate(cell.currency_code, currency_code, usage_date)
            cost = applied[key].convert(cost)
        place = (cell.keys, cell.bucket)
        one = cell._replace(cost=cost, currency_code=currency_code, usage_date=None)
        folded[place] = add_cells(folded[place], one) if place in folded else one
    shown = [
        AppliedRate(code, currency_code, day, applied[code, day].rate_date, applied[code, day].rate)
        for code, day in sorted(applied)
    ]
    return list(folded.values()), shown


def add_cells(left: CostCell, right: CostCell) -> CostCell:
    """Returns the sum of two cells of one group, bucket and currency."""
    is_same_unit = left.unit == right.unit and left.unit != ""
    quantity = None
    if is_same_unit and left.quantity is not None and right.quantity is not None:
        quantity = EXACT.add(left.quantity, right.quantity)
    return left._replace(
        unit=left.unit if is_same_unit else "",
        quantity=quantity,
        cost=EXACT.add(left.cost, right.cost),
        events=left.events + right.events,
        failed_events=left.failed_events + right.failed_events,
        unpriced_events=left.unpriced_events + right.unpriced_events,
    )
