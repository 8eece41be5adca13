"""Ledger entries and reconciliations between contract and domain."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from finops.budget.v1 import ledger_model_pb2 as models
from finops.budget.v1 import ledger_service_pb2 as messages
from finops.common.v1.progress_pb2 import Progress

from services.budget.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.budget.domain.ledger_entry import LedgerEntry
from services.budget.domain.reconciliation import BudgetDrift, Reconciliation
from services.budget.service.reconciling import ReconciliationWish
from services.kernel.errors import FieldViolations
from services.kernel.money import format_decimal
from services.kernel.pagination import Page
from services.kernel.period import day_start, zone

_DATE_LENGTH: Final = len("2026-01-31")


def to_wish(
    request: messages.ReconcileBudgetsRequest, tenant_id: str, author: str, time_zone: str
) -> ReconciliationWish:
    """Converts a request; dates are cut in the tenant's zone."""
    return ReconciliationWish(
        tenant_id=tenant_id,
        budget_ids=tuple(dict.fromkeys(request.budget_ids)),
        start_at=_edge(request.start, "start", time_zone),
        end_at=_edge(request.end, "end", time_zone),
        is_repairing=request.repair,
        author=author,
    )


def from_reconciliation(one: Reconciliation) -> models.BudgetReconciliation:
    """Converts a reconciliation."""
    return models.BudgetReconciliation(
        reconciliation_id=one.reconciliation_id,
        state=int(one.state),  # type: ignore[arg-type] # numbers are the contract's
        trigger=int(one.trigger),  # type: ignore[arg-type] # as above
        progress=Progress(
            done_units=one.done_units,
            total_units=one.total_units,
            message=f"{one.done_units} of {one.total_units} budget periods compared.",
            update_time=from_instant(one.updated_at),
        ),
        repair=one.is_repairing,
        drift_count=one.drift_count,
        repaired_count=one.repaired_count,
        error=one.error,
        create_time=from_instant(one.created_at),
        end_time=from_optional(one.ended_at),
    )


def from_reconciliations(
    page: Page[Reconciliation],
) -> messages.ListBudgetReconciliationsResponse:
    """Converts a page."""
    return messages.ListBudgetReconciliationsResponse(
        reconciliations=[from_reconciliation(one) for one in page.items],
        next_page_token=page.next_page_token,
    )


def from_drifts(page: Page[BudgetDrift]) -> messages.ListBudgetDriftsResponse:
    """Converts a page."""
    return messages.ListBudgetDriftsResponse(
        drifts=[
            models.BudgetDrift(
                budget_id=drift.budget_id,
                period=from_period(drift.period),
                ledger_spent=from_amount(drift.currency_code, drift.ledger_spent),
                usage_spent=from_amount(drift.currency_code, drift.usage_spent),
                difference=from_amount(drift.currency_code, drift.difference),
                cause=drift.cause,
                repaired=drift.is_repaired,
                ledger_entry_id="" if drift.entry_id is None else str(drift.entry_id),
            )
            for drift in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_entries(page: Page[LedgerEntry]) -> messages.ListLedgerEntriesResponse:
    """Converts a page."""
    return messages.ListLedgerEntriesResponse(
        entries=[_entry(entry) for entry in page.items], next_page_token=page.next_page_token
    )


def _entry(entry: LedgerEntry) -> models.LedgerEntry:
    source = entry.source_amount
    return models.LedgerEntry(
        entry_id=str(entry.entry_id),
        budget_id=entry.budget_id,
        kind=int(entry.kind),  # type: ignore[arg-type] # as above
        period=from_period(entry.period),
        spent_change=from_amount(entry.currency_code, entry.spent_change),
        held_change=from_amount(entry.currency_code, entry.held_change),
        source_amount=None if source is None else from_amount(entry.source_currency, source),
        exchange_rate="" if entry.rate is None else format_decimal(entry.rate),
        exchange_rate_date=entry.rate_date,
        authorization_id=entry.authorization_id,
        usage_event_id=entry.usage_event_id,
        feed_sequence=entry.feed_sequence,
        create_time=from_instant(entry.created_at),
    )


def _edge(text: str, field: str, time_zone: str) -> datetime | None:
    """Reads an instant, or a date as its first instant in the zone. Raises FieldViolations."""
    if not text:
        return None
    try:
        if len(text) == _DATE_LENGTH:
            return day_start(date.fromisoformat(text), zone(time_zone))
        instant: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise FieldViolations([(field, "must be RFC 3339 with a zone, or a date YYYY-MM-DD")])
    return instant.astimezone(UTC)
