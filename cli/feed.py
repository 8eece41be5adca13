"""`finops feed`: every change of cost, as it happens."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.usage.v1.cost_model_pb2 import CostChange, WatchCostsRequest
from finops_sdk import resume

from cli.connection import open_connection
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer()
_COLUMNS = (
    "sequence",
    "recorded_time",
    "hour_time",
    "resource_type",
    "resource_id",
    "department",
    "user_id",
    "quantity",
    "unit",
    "billed_amount",
    "currency_code",
    "events",
)


@app.command()
def feed(
    *,
    after: Annotated[
        str,
        typer.Option(
            "--after",
            help="Sequence of the last change seen; `now` for only what comes. "
            "Default: from the oldest kept on.",
            show_default=False,
        ),
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for changes to come.")
    ] = True,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Changes to show. [default: no end]")
    ] = None,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Follows the cost change feed; lost connections are taken up where they broke.

    JSON is one object a line. `--after` with the last sequence shown goes on where a run ended.
    """
    write = Output(form).lines(_COLUMNS)
    shown = 0
    with open_connection(data_dir, url, tenant) as connection:
        request = WatchCostsRequest(tenant_id=connection.tenant, after_sequence=after)
        call = connection.client.asynchronous.usage.WatchCosts
        for message in connection.client.iterate(resume(call, request)):
            if not message.changes and not follow:
                return
            for change in message.changes:
                write(_row(change), change)
                shown += 1
                if shown == limit:
                    return


def _row(change: CostChange) -> tuple[object, ...]:
    dimension = change.dimension
    return (
        change.sequence,
        utc_text(change.recorded_time),
        utc_text(change.hour_time),
        dimension.resource_type,
        dimension.resource_id,
        dimension.department,
        dimension.user_id,
        change.quantity,
        dimension.unit,
        change.billed_cost.amount,
        change.billed_cost.currency_code,
        change.events,
    )
