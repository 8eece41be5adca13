"""Versions, increases, periods and changes of budgets between contract and domain."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from finops.budget.v1 import budget_service_pb2, ledger_service_pb2
from finops.budget.v1 import budget_status_model_pb2 as models

from services.budget.convert.budgets import from_budget
from services.budget.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
    to_instant,
    to_money,
    to_optional,
)
from services.budget.convert.terms import ratio_text
from services.budget.domain.budget import Budget, BudgetIncrease, BudgetVersion, PeriodTotals
from services.budget.domain.change import BudgetChange
from services.budget.service.increases import IncreaseWish, PeriodResult
from services.budget.service.watching import ChangePage
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest

SERVICE: Final = "finops.budget.v1.LedgerService"


def to_page(request: ListRequest, tenant_id: str, method: str, budget_id: str) -> PageRequest:
    """Returns which page of which budget's list is asked. method: the RPC's own name."""
    page = page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/{method}")
    return PageRequest(
        tenant_id=page.tenant_id,
        method=page.method,
        page_size=page.page_size,
        page_token=page.page_token,
        filter=page.filter,
        order_by=page.order_by,
        arguments={"budget_id": budget_id},
    )


def to_wish(request: ledger_service_pb2.CreateBudgetIncreaseRequest) -> IncreaseWish:
    """Converts an increase to grant."""
    increase = request.increase
    return IncreaseWish(
        budget_id=request.budget_id,
        amount=to_money(increase.amount),
        start_at=to_optional(increase, "start_time"),
        end_at=to_instant(increase.end_time),
        reason=increase.reason,
    )


def from_increase(
    increase: BudgetIncrease, currency_code: str, now: datetime
) -> models.BudgetIncrease:
    """Converts an increase."""
    state = increase.state_at(now)
    return models.BudgetIncrease(
        increase_id=increase.increase_id,
        budget_id=increase.budget_id,
        amount=from_amount(currency_code, increase.amount),
        start_time=from_instant(increase.start_at),
        end_time=from_instant(increase.ends_at),
        reason=increase.reason,
        state=models.BudgetIncreaseState.Value(f"BUDGET_INCREASE_STATE_{state.name}"),
        author=increase.author,
        create_time=from_instant(increase.created_at),
    )


def from_increases(
    page: Page[BudgetIncrease], currency_code: str, now: datetime
) -> ledger_service_pb2.ListBudgetIncreasesResponse:
    """Converts a page of increases."""
    return ledger_service_pb2.ListBudgetIncreasesResponse(
        increases=[from_increase(each, currency_code, now) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_versions(
    budget: Budget, page: Page[BudgetVersion], now: datetime
) -> ledger_service_pb2.ListBudgetVersionsResponse:
    """Converts a page of a budget's versions."""
    return ledger_service_pb2.ListBudgetVersionsResponse(
        versions=[_from_version(budget, each, now) for each in page.items],
        next_page_token=page.next_page_token,
    )


def _from_version(budget: Budget, version: BudgetVersion, now: datetime) -> models.BudgetVersion:
    later = [each.effective_at for each in budget.versions if _comes_after(each, version)]
    return models.BudgetVersion(
        version=version.number,
        budget=from_budget(budget, version, now),
        effective_start_time=from_instant(version.effective_at),
        effective_end_time=from_optional(min(later, default=None)),
        author=version.author,
        reason=version.note,
        create_time=from_instant(version.created_at),
    )


def _comes_after(one: BudgetVersion, other: BudgetVersion) -> bool:
    return (one.effective_at, one.number) > (other.effective_at, other.number)


def from_totals(currency_code: str, totals: PeriodTotals) -> models.BudgetTotals:
    """Converts the figures of a period."""
    limit = totals.limit
    return models.BudgetTotals(
        amount=from_amount(currency_code, totals.amount),
        rolled_over=from_amount(currency_code, totals.rolled_over),
        increased=from_amount(currency_code, totals.increased),
        limit=from_amount(currency_code, limit),
        spent=from_amount(currency_code, totals.spent),
        held=from_amount(currency_code, totals.held),
        remaining=from_amount(currency_code, totals.remaining),
        utilization_ratio=ratio_text(totals.utilization),
        excess=from_amount(currency_code, totals.excess),
        unpriced_event_count=totals.unpriced_events,
    )


def from_periods(page: Page[PeriodResult]) -> ledger_service_pb2.ListBudgetPeriodsResponse:
    """Converts a page of periods."""
    return ledger_service_pb2.ListBudgetPeriodsResponse(
        periods=[_from_result(each) for each in page.items],
        next_page_token=page.next_page_token,
    )


def _from_result(result: PeriodResult) -> models.BudgetPeriodResult:
    row = result.row
    is_closed = row.closed_at is not None
    rolled_out = result.budget.rolled_out(row) if is_closed else Decimal(0)
    return models.BudgetPeriodResult(
        period=from_period(row.period),
        version=row.version,
        totals=from_totals(row.currency_code, row.totals),
        rolled_out=from_amount(row.currency_code, rolled_out),
        closed=is_closed,
        alert_count=result.alert_count,
        denied_count=row.denied_count,
    )


def from_page(page: ChangePage) -> list[budget_service_pb2.WatchBudgetsResponse]:
    """Converts changes, one message each; a page without any is a heartbeat."""
    found = [
        budget_service_pb2.WatchBudgetsResponse(
            sequence=str(item.position), change=from_change(item.fact, item.tenant_id)
        )
        for item in page.items
    ]
    return found or [budget_service_pb2.WatchBudgetsResponse(sequence=str(page.position))]


def from_change(change: BudgetChange, tenant_id: str) -> models.BudgetChange:
    """Converts a change of a tenant's budget."""
    return models.BudgetChange(
        tenant_id=tenant_id,
        kind=models.BudgetChangeKind.Value(f"BUDGET_CHANGE_KIND_{change.kind.name}"),
        budget_id=change.budget_id,
        version=change.version,
        period=None if change.period is None else from_period(change.period),
        totals=None if change.totals is None else from_totals(change.currency_code, change.totals),
        change_time=from_instant(change.changed_at),
    )
