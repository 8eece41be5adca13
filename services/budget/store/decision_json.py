"""Decisions and holds as JSON text: stored whole, read whole, never queried."""

from __future__ import annotations

import json
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

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def decision_text(decision: SpendDecision) -> str:
    """Returns a decision as text."""
    estimate = decision.estimate
    worst = estimate.worst_case
    return _encode(
        [
            [
                int(estimate.method),
                *_money(estimate.amount),
                estimate.explanation,
                None if worst is None else _money(worst),
                _text(estimate.quantile),
                estimate.sample_count,
                _text(estimate.excess_probability),
            ],
            decision.explanation,
            _instant(decision.retry_at),
            [_check(check) for check in decision.checks],
        ]
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


def holds_text(holds: tuple[Hold, ...]) -> str:
    """Returns holds as text."""
    return _encode(
        [
            [
                h.budget_id,
                h.period_start.isoformat(),
                h.currency_code,
                str(h.amount),
                str(h.settled),
            ]
            for h in holds
        ]
    )


def holds_of(text: str) -> tuple[Hold, ...]:
    """Returns the holds of a text."""
    return tuple(
        Hold(budget_id, datetime.fromisoformat(start), code, Decimal(amount), Decimal(settled))
        for budget_id, start, code, amount, settled in json.loads(text)
    )


def _check(check: BudgetCheck) -> list[Any]:
    return [
        check.budget_id,
        check.display_name,
        check.version,
        check.enforcement.value,
        check.period.start.isoformat(),
        check.period.end.isoformat(),
        check.currency_code,
        str(check.limit),
        str(check.spent),
        str(check.held),
        str(check.asked),
        _instant(check.reset_at),
        check.is_blocking,
        check.reason,
        _text(check.rate),
        check.rate_date,
    ]


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


def _money(money: Money) -> tuple[str, str]:
    return money.currency_code, str(money.amount)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
