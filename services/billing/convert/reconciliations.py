"""Reconciliations between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime

from finops.billing.v1 import run_messages_pb2 as messages
from finops.billing.v1 import run_model_pb2 as models
from finops.billing.v1 import run_service_pb2
from finops.common.v1.progress_pb2 import Progress

from services.billing.convert.values import from_instant, from_money, from_period
from services.billing.domain.reconciliation import Diff, Reconciliation, Resolution, Scope
from services.billing.errors import InvalidInstant
from services.billing.service.provider.reconciling import Wanted
from services.kernel.pagination import Page

_SCOPES = (Scope.FULL, Scope.LIGHT, Scope.FULL, Scope.USAGE)
_RESOLUTIONS = (
    Resolution.IGNORE,
    Resolution.ACCEPT_OURS,
    Resolution.ACCEPT_THEIRS,
    Resolution.IGNORE,
)


def to_wanted(request: messages.ReconcileRequest) -> Wanted:
    """Converts what to compare; a date is its first instant in UTC. Raises InvalidInstant."""
    return Wanted(
        _SCOPES[request.scope],
        start=_instant(request.start),
        end=_instant(request.end),
        repair=request.repair,
    )


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInstant(value=text) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def to_resolution(request: run_service_pb2.ResolveReconciliationDiffRequest) -> Resolution:
    """Converts what was decided."""
    return _RESOLUTIONS[request.resolution]


def from_reconciliation(found: Reconciliation) -> models.Reconciliation:
    """Converts a reconciliation."""
    return models.Reconciliation(
        reconciliation_id=found.reconciliation_id,
        scope=models.ReconciliationScope.Value(f"RECONCILIATION_SCOPE_{found.scope.name}"),
        trigger=models.ReconciliationTrigger.Value(f"RECONCILIATION_TRIGGER_{found.cause.name}"),
        state=models.ReconciliationState.Value(f"RECONCILIATION_STATE_{found.state.name}"),
        progress=Progress(done_units=found.compared_count, total_units=found.total_count),
        window=from_period(found.window),
        repair=found.repair,
        diff_count=found.diff_count,
        repaired_count=found.repaired_count,
        error=found.error,
        create_time=from_instant(found.created_at),
        end_time=from_instant(found.ended_at),
    )


def from_reconciliations(
    page: Page[Reconciliation],
) -> run_service_pb2.ListReconciliationsResponse:
    """Converts a page."""
    return run_service_pb2.ListReconciliationsResponse(
        reconciliations=[from_reconciliation(found) for found in page.items],
        next_page_token=page.next_page_token,
    )


def from_diff(diff: Diff) -> models.ReconciliationDiff:
    """Converts a difference."""
    return models.ReconciliationDiff(
        diff_id=diff.diff_id,
        reconciliation_id=diff.reconciliation_id,
        kind=models.DiffKind.Value(f"DIFF_KIND_{diff.kind.name}"),
        state=models.DiffState.Value(f"DIFF_STATE_{diff.state.name}"),
        invoice_id=diff.invoice_id,
        provider_object_id=diff.provider_object_id,
        ours=diff.ours,
        theirs=diff.theirs,
        difference=None if diff.amount is None else from_money(diff.amount),
        action=diff.action,
        resolved_by=diff.resolved_by,
        note=diff.note,
        create_time=from_instant(diff.created_at),
    )


def from_diffs(page: Page[Diff]) -> messages.ListReconciliationDiffsResponse:
    """Converts a page."""
    return messages.ListReconciliationDiffsResponse(
        diffs=[from_diff(diff) for diff in page.items],
        next_page_token=page.next_page_token,
    )
