"""How budgets stand, in a report."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.figures import link
from services.reporting.domain.report.document import Cell, Form, Number, Table
from services.reporting.domain.report.frame import Frame

SHOWN_MAX: Final = 25
AT_RISK: Final = Decimal("0.5")  # more probable than not


def budget_link(state: BudgetState) -> str:
    """Returns where a budget's figures are from."""
    return link(f"budgets/{state.budget_id}/status")


def at_risk(states: Sequence[BudgetState]) -> list[BudgetState]:
    """Returns the budgets that are passed, or whose forecast passes them more likely than not."""
    return [state for state in states if breach_probability(state) >= AT_RISK]


def breach_probability(state: BudgetState) -> Decimal:
    """Returns how probable the limit is passed in the present period."""
    if state.limit and state.spent >= state.limit:
        return Decimal(1)
    return state.forecast.breach_probability if state.forecast is not None else Decimal(0)


def budget_table(frame: Frame, states: Sequence[BudgetState]) -> Table:
    """Returns the budgets, most used first. Each in its own currency, so there is no sum."""
    words = frame.words
    shown = states[:SHOWN_MAX]
    note = ""
    if len(states) > len(shown):
        note = words.word(
            "{count} more budgets are used less.", count=str(len(states) - len(shown))
        )
    return Table(
        title=words.word("Budgets"),
        columns=(
            words.word("Budget"),
            words.word("Limit"),
            words.word("Spent"),
            words.word("Used"),
            words.word("Forecast"),
            words.word("Breach probability"),
            words.word("Period ends"),
        ),
        rows=tuple(_row(frame, state) for state in shown),
        note=note,
        text_columns=(6,),
    )


def _row(frame: Frame, state: BudgetState) -> tuple[Cell, ...]:
    query = budget_link(state)
    code = state.currency_code
    forecast: Cell = ""
    if state.forecast is not None:
        forecast = Number(state.forecast.expected, Form.MONEY, code, query)
    end = state.period_end
    return (
        state.display_name,
        Number(state.limit, Form.MONEY, code, query),
        Number(state.spent, Form.MONEY, code, query),
        Number(state.utilization, Form.RATIO, "", query),
        forecast,
        Number(breach_probability(state), Form.RATIO, "", query),
        "" if end is None else f"{end.astimezone(frame.tz):%Y-%m-%d}",
    )
