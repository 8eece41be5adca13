"""Backtests between contract and domain."""

from __future__ import annotations

from datetime import datetime

from finops.budget.v1 import backtest_messages_pb2 as messages
from finops.budget.v1 import budget_status_model_pb2 as models

from services.budget.convert.budgets import changed_terms, set_fields
from services.budget.convert.instants import from_amount, from_instant, from_period
from services.budget.convert.periods import from_totals
from services.budget.convert.terms import from_threshold, to_terms
from services.budget.domain.backtest import ReplayedAlert, ReplayedBlock, ReplayedPeriod
from services.budget.domain.terms import BudgetTerms
from services.budget.service.backtesting import BacktestAnswer, BacktestWish
from services.kernel.errors import FieldViolations


def to_wish(request: messages.BacktestBudgetRequest) -> BacktestWish:
    """Converts what to try."""

    def terms(stored: BudgetTerms | None, time_zone: str, now: datetime) -> BudgetTerms:
        if stored is not None:
            return changed_terms(stored, request.budget, set_fields(request.budget), now)
        planned = request.budget
        missing = [
            (f"budget.{name}", "is required to try a budget that is not stored")
            for name, is_given in (
                ("cadence", planned.cadence != 0),
                ("amount", planned.HasField("amount")),
            )
            if not is_given
        ]
        if missing:
            raise FieldViolations(missing)
        if not planned.display_name:
            planned.display_name = "Planned budget"
        return to_terms(planned, time_zone, now)

    return BacktestWish(request.budget_id, terms, request.start, request.end)


def from_backtest(answer: BacktestAnswer) -> messages.BacktestBudgetResponse:
    """Converts what was found."""
    found, code = answer.found, answer.currency_code
    return messages.BacktestBudgetResponse(
        period=from_period(answer.period),
        event_count=found.event_count,
        spent=from_amount(code, found.spent),
        alerts=[_from_alert(each, code) for each in found.alerts],
        blocks=[_from_block(each, code) for each in found.blocks],
        blocked_event_count=found.blocked_count,
        blocked_cost=from_amount(code, found.blocked_cost),
        periods=[_from_period(each, code) for each in found.periods],
    )


def _from_alert(alert: ReplayedAlert, code: str) -> messages.BacktestAlert:
    return messages.BacktestAlert(
        threshold=from_threshold(alert.threshold),
        period=from_period(alert.period),
        fire_time=from_instant(alert.at),
        spent=from_amount(code, alert.spent),
        usage_event_id=alert.event_id,
    )


def _from_block(block: ReplayedBlock, code: str) -> messages.BacktestBlock:
    return messages.BacktestBlock(
        period=from_period(block.period),
        block_time=from_instant(block.event.at),
        usage_event_id=block.event.event_id,
        cost=from_amount(code, block.event.cost),
        remaining=from_amount(code, block.remaining),
    )


def _from_period(ended: ReplayedPeriod, code: str) -> models.BudgetPeriodResult:
    return models.BudgetPeriodResult(
        period=from_period(ended.period),
        totals=from_totals(code, ended.totals),
        rolled_out=from_amount(code, ended.rolled_out),
        closed=True,
        alert_count=ended.alert_count,
        denied_count=ended.blocked_count,
    )
