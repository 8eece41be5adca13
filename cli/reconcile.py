"""`finops reconcile`: compares raw events, roll-ups and the feed."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.usage.v1.cost_model_pb2 import ReconcileUsageRequest

from cli.connection import open_connection
from cli.errors import CommandError
from cli.options import DEFAULT_DATA_DIR, DataDir, End, OutputFormat, Start, Tenant, Url
from cli.output import Format, Output

app = typer.Typer()
_SECONDS = 1800.0
_COLUMNS = (
    "tenant_id",
    "date",
    "compared",
    "event_difference",
    "quantity_difference",
    "cost_difference",
)


@app.command()
def reconcile(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild roll-ups that differ from raw events.")
    ] = False,
    start: Start = "",
    end: End = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Checks that every event counts once everywhere; exits with 1 when something differs.

    `--tenant '*'` checks all tenants.
    """
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.usage.ReconcileUsage(
            ReconcileUsageRequest(tenant_id=connection.tenant, start=start, end=end, repair=repair),
            timeout=_SECONDS,
        )
    output = Output(form)
    rows = [
        (
            drift.tenant_id,
            drift.date,
            drift.compared,
            drift.event_difference,
            drift.quantity_difference,
            drift.cost_difference,
        )
        for drift in answer.drifts
    ]
    if rows or form is not Format.TABLE:
        output.rows(_COLUMNS, rows, content=answer)
    summary = (
        f"{answer.days_checked:,} days: {answer.raw_events:,} raw events, "
        f"{answer.rolled_up_events:,} rolled up, {answer.feed_events:,} in the feed; "
        f"{answer.days_repaired:,} days rebuilt"
    )
    if form is Format.TABLE:
        output.line(summary)
    if len(rows) > answer.days_repaired:
        raise CommandError(
            f"{len(rows)} differences; `finops reconcile --repair` rebuilds roll-ups"
        )
