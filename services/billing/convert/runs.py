"""Billing runs between contract and domain."""

from __future__ import annotations

from finops.billing.v1 import invoice_service_pb2, run_messages_pb2
from finops.billing.v1 import run_model_pb2 as model
from finops.billing.v1 import run_service_pb2 as messages
from finops.common.v1.progress_pb2 import Progress

from services.billing.convert.values import from_instant, from_money
from services.billing.domain.billing_run import BillingRun, RunItem
from services.billing.service.chargeback import WantedChargeback
from services.billing.service.running import WantedRun
from services.kernel.pagination import Page


def to_wanted(request: run_messages_pb2.RunBillingRequest) -> WantedRun:
    """Converts which run is asked for."""
    return WantedRun(
        tenant_ids=list(request.tenant_ids),
        month=request.month,
        finalize=request.finalize,
        dry_run=request.dry_run,
    )


def to_chargeback(request: invoice_service_pb2.GenerateChargebackRequest) -> WantedChargeback:
    """Converts which departments are charged."""
    return WantedChargeback(
        month=request.month,
        department_ids=list(request.department_ids),
        plan_id=request.plan_id,
        send_notifications=request.send_notifications,
    )


def from_run(run: BillingRun) -> model.BillingRun:
    """Converts a run."""
    return model.BillingRun(
        run_id=run.run_id,
        kind=model.BillingRunKind.Value(f"BILLING_RUN_KIND_{run.kind.name}"),
        state=model.BillingRunState.Value(f"BILLING_RUN_STATE_{run.state.name}"),
        progress=Progress(
            done_units=run.done,
            total_units=run.size,
            message=f"{run.done} of {run.size} accounts",
            update_time=from_instant(run.updated_at or run.created_at),
        ),
        month=run.month,
        dry_run=run.dry_run,
        invoice_count=run.invoices,
        failed_count=run.failed,
        totals=[from_money(total) for total in run.totals],
        error=run.error,
        create_time=from_instant(run.created_at),
        end_time=from_instant(run.ended_at),
    )


def from_runs(page: Page[BillingRun]) -> messages.ListBillingRunsResponse:
    """Converts a page of runs."""
    return messages.ListBillingRunsResponse(
        runs=[from_run(run) for run in page.items], next_page_token=page.next_page_token
    )


def from_items(page: Page[RunItem]) -> messages.ListBillingRunItemsResponse:
    """Converts a page of what a run did for each account."""
    return messages.ListBillingRunItemsResponse(
        items=[
            model.BillingRunItem(
                tenant_id=item.tenant_id,
                account_id=item.account_id,
                department_id=item.department_id,
                state=model.BillingRunItemState.Value(f"BILLING_RUN_ITEM_STATE_{item.state.name}"),
                invoice_id=item.invoice_id,
                total=None if item.total is None else from_money(item.total),
                error=item.error,
                update_time=from_instant(item.updated_at),
            )
            for item in page.items
        ],
        next_page_token=page.next_page_token,
    )
