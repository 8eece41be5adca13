"""Decisions and holds as JSON text: stored whole, read whole, never queried."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.settlement import Hold
from services.budget.domain.spend import (
    BudgetCheck,
    CostEstimate,
    EstimateMethod,
    SpendDecision,
    SpendOutcome,
)
from services.budget.domain.terms import Enforcement
from services.kernel.money import Money
from services.kernel.period import Period

_quoted = json.encoder.encode_basestring


def decision_text(decision: SpendDecision) -> str:
    """Returns a decision as text.

    Put together by hand, because a decision is stored with every call: in a third of the time.
    Numbers, amounts, codes and instants are their own JSON.
    """
    estimate = decision.estimate
    amount, worst = estimate.amount, estimate.worst_case
    bound = "null" if worst is None else f'["{worst.currency_code}","{worst.amount!s}"]'
    checks = ",".join([_check(check) for check in decision.checks])
    return (
        f'[[{int(estimate.method)},"{amount.currency_code}","{amount.amount!s}",'
        f"{_quoted(estimate.explanation)},{bound},{_text(estimate.quantile)},"
        f"{estimate.sample_count},{_text(estimate.excess_probability)}],"
        f"{_quoted(decision.explanation)},{_instant(decision.retry_at)},[{checks}]]"
    )


def decision_of(text: str, outcome: int) -> SpendDecision:
    """Returns the decision of a text."""
    (method, code, amount, why, worst, quantile, count, probability), explanation, retry, checks = (
        json.loads(text)
    )
    estimate = CostEstimate(
        EstimateMethod(method),
        Money(code, Decimal(amount)),
        why,
        None if worst is None else Money(worst[0], Decimal(worst[1])),
        _decimal(quantile),
        count,
        _decimal(probability),
    )
    return SpendDecision(
        SpendOutcome(outcome), estimate, [_check_of(c) for c in checks], explanation, _at(retry)
    )


def holds_text(holds: Sequence[Hold]) -> str:
    """Returns holds as text."""
    texts = [
        f'["{h.budget_id}","{h.period_start.isoformat()}","{h.currency_code}","{h.amount!s}",'
        f'"{h.settled!s}"]'
        for h in holds
    ]
    return f"[{','.join(texts)}]"


def holds_of(text: str) -> tuple[Hold, ...]:
    """Returns the holds of a text."""
    return tuple(
        Hold(budget_id, datetime.fromisoformat(start), code, Decimal(amount), Decimal(settled))
        for budget_id, start, code, amount, settled in json.loads(text)
    )


def _check(check: BudgetCheck) -> str:
    period = check.period
    return (
        f'["{check.budget_id}",{_quoted(check.display_name)},{check.version},'
        f'"{check.enforcement.value}","{period.start.isoformat()}","{period.end.isoformat()}",'
        f'"{check.currency_code}","{check.limit!s}","{check.spent!s}","{check.held!s}",'
        f'"{check.asked!s}",{_instant(check.reset_at)},{"true" if check.is_blocking else "false"},'
        f'{_quoted(check.reason)},{_text(check.rate)},"{check.rate_date}"]'
    )


def _check_of(row: list[Any]) -> BudgetCheck:
    return BudgetCheck(
        row[0],
        row[1],
        row[2],
        Enforcement(row[3]),
        Period(datetime.fromisoformat(row[4]), datetime.fromisoformat(row[5])),
        row[6],
        Decimal(row[7]),
        Decimal(row[8]),
        Decimal(row[9]),
        Decimal(row[10]),
        _at(row[11]),
        row[12],
        row[13],
        _decimal(row[14]),
        row[15],
    )


def _text(value: Decimal | None) -> str:
    return "null" if value is None else f'"{value!s}"'


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _instant(at: datetime | None) -> str:
    return "null" if at is None else f'"{at.isoformat()}"'


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
