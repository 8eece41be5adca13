"""What differs between a period's ledger and the answer of the usage service, and why."""

from __future__ import annotations

from services.budget.domain.budget import Budget
from services.budget.domain.reconciliation import BudgetDrift
from services.budget.service.usage import SpendAnswer
from services.budget.store.reconciliations import ComparedRow
from services.kernel.money import EXACT


def drift_of(budget: Budget, compared: ComparedRow, answer: SpendAnswer, cause: str) -> BudgetDrift:
    """Returns how a period's ledger differs; settlements that no usage has replaced left out."""
    row = compared.row
    return BudgetDrift(
        budget_id=budget.budget_id,
        period=row.period,
        currency_code=row.currency_code,
        ledger_spent=EXACT.subtract(row.totals.spent, compared.settled),
        usage_spent=answer.cost,
        cause=cause,
    )


def unpriced_change_of(compared: ComparedRow, answer: SpendAnswer) -> int:
    """Returns how many events without a price the ledger has to add."""
    return answer.unpriced_events - compared.row.totals.unpriced_events


def cause_of(answer: SpendAnswer, compared: ComparedRow, *, is_comparable: bool) -> str:
    """Returns why they differ, as far as it can be told."""
    if not is_comparable:
        return "Usage was arriving during the comparison; compare again."
    if answer.unpriced_events or compared.row.totals.unpriced_events:
        return "Some usage has no price or no exchange rate yet."
    return "The ledger does not hold what the usage service has stored."
