"""`finops billing`: runs over all tenants, and comparisons with the payment provider."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from finops.billing.v1.run_messages_pb2 import ReconcileRequest, RunBillingRequest
from finops.billing.v1.run_model_pb2 import (
    BillingRun,
    BillingRunState,
    ReconciliationScope,
    ReconciliationState,
)
from finops.billing.v1.run_service_pb2 import (
    CancelBillingRunRequest,
    GetBillingRunRequest,
    GetReconciliationRequest,
    ResumeBillingRunRequest,
)

from cli import metered
from cli.connection import ALL_TENANTS, Connection, open_connection
from cli.errors import CommandError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Tenant, Url
from cli.output import Format, Output

app = typer.Typer(help="Bills all tenants, and compares with the provider.", no_args_is_help=True)
app.add_typer(metered.app)
_POLL_SECONDS = 1.0
_RUNNING = ("PENDING", "LOCKING")
RunId = Annotated[str, typer.Argument(help="Id of the run.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is through.")]


@app.command()
def run(
    *,
    month: Annotated[
        str,
        typer.Option("--month", help="YYYY-MM. Default: the last full one.", show_default=False),
    ] = "",
    tenants: Annotated[
        list[str] | None,
        typer.Option("--only", help="A tenant to bill; repeat it. [default: all]"),
    ] = None,
    finalize: Annotated[
        bool, typer.Option("--finalize", help="Lock and send the invoices.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute, store nothing.")] = False,
    wait: Wait = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Bills a month over all tenants; one tenant's failure stops no other."""
    request = RunBillingRequest(
        month=month, tenant_ids=tenants or [], finalize=finalize, dry_run=dry_run
    )
    with open_connection(data_dir, url, ALL_TENANTS) as connection:
        started = connection.client.billing.RunBilling(request).billing_run
        ended = _followed(connection, started, Output(form)) if wait else started
    _show(ended, Output(form))


@app.command()
def resume(
    run_id: RunId,
    *,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try what failed once more.")
    ] = False,
    wait: Wait = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Goes on with a stopped run; what is done stays done."""
    request = ResumeBillingRunRequest(run_id=run_id, retry_failed=retry_failed)
    with open_connection(data_dir, url, ALL_TENANTS) as connection:
        resumed = connection.client.runs.ResumeBillingRun(request).run
        ended = _followed(connection, resumed, Output(form)) if wait else resumed
    _show(ended, Output(form))


@app.command()
def cancel(
    run_id: RunId,
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Stops a run after the accounts under way."""
    with open_connection(data_dir, url, ALL_TENANTS) as connection:
        request = CancelBillingRunRequest(run_id=run_id)
        cancelled = connection.client.runs.CancelBillingRun(request).run
    _show(cancelled, Output(form))


@app.command()
def reconcile(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Also orphans, payments, refunds and fees.")
    ] = False,
    usage: Annotated[
        bool, typer.Option("--usage", help="Instead: invoices with the usage behind them.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what needs no person.")] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Compares invoices and payments with the payment provider, or with the usage service."""
    if usage and (full or repair):
        raise CommandError("--usage compares alone, and repairs nothing; leave the others out")
    name = "USAGE" if usage else "FULL" if full else "LIGHT"
    scope = ReconciliationScope.Value(f"RECONCILIATION_SCOPE_{name}")
    with open_connection(data_dir, url, ALL_TENANTS) as connection:
        named = "" if tenant == ALL_TENANTS else tenant
        request = ReconcileRequest(tenant_id=named, scope=scope, repair=repair)
        found = connection.client.billing.Reconcile(request).reconciliation
        look = GetReconciliationRequest(tenant_id=named, reconciliation_id=found.reconciliation_id)
        while ReconciliationState.Name(found.state).endswith(("PENDING", "RUNNING")):
            time.sleep(_POLL_SECONDS)
            found = connection.client.runs.GetReconciliation(look).reconciliation
    if ReconciliationState.Name(found.state).endswith("FAILED"):
        raise CommandError(f"the comparison failed: {found.error}")
    Output(form).record(
        {
            "reconciliation_id": found.reconciliation_id,
            "state": ReconciliationState.Name(found.state)
            .removeprefix("RECONCILIATION_STATE_")
            .lower(),
            "compared": found.progress.done_units,
            "differences": found.diff_count,
            "repaired": found.repaired_count,
        }
    )


def _followed(connection: Connection, run: BillingRun, output: Output) -> BillingRun:
    """Shows progress until the invoices are made; sending them goes on by itself."""
    request = GetBillingRunRequest(run_id=run.run_id)
    with output.progress("billing", unit="accounts", total=run.progress.total_units) as advance:
        done = 0
        while True:
            advance(run.progress.done_units - done)
            done = run.progress.done_units
            if _state(run) not in {name.lower() for name in _RUNNING}:
                break
            time.sleep(_POLL_SECONDS)
            run = connection.client.runs.GetBillingRun(request).run
    if _state(run) == "failed":
        raise CommandError(f"the run failed: {run.error}; `finops billing resume {run.run_id}`")
    return run


def _state(run: BillingRun) -> str:
    return BillingRunState.Name(run.state).removeprefix("BILLING_RUN_STATE_").lower()


def _show(run: BillingRun, output: Output) -> None:
    output.record(
        {
            "run_id": run.run_id,
            "month": run.month,
            "state": _state(run),
            "accounts": f"{run.progress.done_units} of {run.progress.total_units}",
            "invoices": run.invoice_count,
            "failed": run.failed_count,
            "totals": ", ".join(f"{total.amount} {total.currency_code}" for total in run.totals),
        }
    )
