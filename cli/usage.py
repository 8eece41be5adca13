"""`finops usage`: stored events, one by one, and how usage behaves."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.usage.v1.analytics_model_pb2 import AnalyzeUsageRequest, AnalyzeUsageResponse
from finops.usage.v1.usage_model_pb2 import Outcome, StoredUsageEvent
from finops.usage.v1.usage_service_pb2 import GetUsageEventRequest, ListUsageEventsRequest

from cli.connection import open_connection
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    End,
    Filter,
    Limit,
    OutputFormat,
    Start,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer(help="Shows stored events and how usage behaves.")
_COLUMNS = (
    "start_time",
    "source",
    "event_id",
    "resource_type",
    "resource_id",
    "department",
    "user_id",
    "quantity",
    "unit",
    "amount",
    "currency_code",
    "outcome",
)


@app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists stored events, newest usage first."""
    if context.invoked_subcommand is not None:
        return
    with open_connection(data_dir, url, tenant) as connection:
        request = ListUsageEventsRequest(
            tenant_id=connection.tenant, start=start, end=end, filter=filter_text
        )
        call = connection.client.asynchronous.usage.ListUsageEvents
        found = connection.collect(call, request, lambda page: page.events, limit=limit)
    Output(form).rows(_COLUMNS, [_row(event) for event in found], content=found)


def _row(stored: StoredUsageEvent) -> tuple[object, ...]:
    event = stored.event
    outcome = Outcome.Name(event.outcome).removeprefix("OUTCOME_").lower()
    return (
        utc_text(event.start_time),
        event.source,
        event.event_id,
        event.resource_type,
        event.resource_id,
        stored.resolved_department or event.department,
        event.user_id,
        event.quantity,
        event.unit,
        "unpriced" if stored.is_unpriced else stored.cost.billed,
        stored.cost.currency_code,
        "voided" if stored.is_voided else outcome,
    )


@app.command()
def show(
    source: Annotated[str, typer.Argument(help="Source of the event.")],
    event_id: Annotated[str, typer.Argument(help="Id of the event.")],
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows one event: the prices and rules behind its cost, and its revisions."""
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.usage.GetUsageEvent(
            GetUsageEventRequest(tenant_id=connection.tenant, source=source, event_id=event_id)
        )
    output, stored = Output(form), answer.event
    if form is Format.JSON:
        output.json(stored)
        return
    output.record(dict(zip(_COLUMNS, _row(stored), strict=True)))
    if form is Format.TABLE:
        lines = [
            (
                line.meter,
                line.quantity,
                line.unit_price,
                line.multiplier,
                line.price_id,
                line.cost.amount,
            )
            for line in stored.rating
        ]
        columns = ("meter", "quantity", "unit_price", "multiplier", "price_id", "amount")
        output.rows(columns, lines, title="how the cost came about")
        revisions = [
            (
                item.revision,
                utc_text(item.recorded_time),
                item.billed_cost.amount,
                item.amend_reason,
            )
            for item in stored.revisions
        ]
        output.rows(("revision", "recorded", "amount", "reason"), revisions, title="revisions")


@app.command()
def analyze(
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows the pattern over the week, peaks, efficiency, the cost of errors, growth, capacity."""
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.usage.AnalyzeUsage(
            AnalyzeUsageRequest(
                tenant_id=connection.tenant, start=start, end=end, filter=filter_text
            )
        )
    output = Output(form)
    if form is Format.JSON:
        output.json(answer)
        return
    columns = ("weekday", "hour", "mean_quantity", "mean_cost", "events")
    cells = [
        (cell.weekday, cell.hour, cell.mean_quantity, cell.mean_cost, cell.events)
        for cell in answer.pattern
    ]
    if form is Format.CSV:
        output.rows(columns, cells)
        return
    _show_analysis(answer, output)


def _show_analysis(answer: AnalyzeUsageResponse, output: Output) -> None:
    errors, unit_cost = answer.errors, answer.unit_cost_per_success
    output.record(
        {
            "events": f"{answer.events:,}",
            "cost": f"{answer.cost.amount} {answer.cost.currency_code}",
            "efficiency": f"{answer.efficiency.score:.0f} of 100",
            **{
                f"  {part.name}": f"{part.score:.0f}  {part.explanation}"
                for part in answer.efficiency.parts
            },
            "errors": f"{errors.failed_events:,} ({errors.error_rate:.2%}), "
            f"{errors.retries:,} retries, billed {errors.billed_cost.amount}",
            "cost per success": f"{unit_cost.amount} {unit_cost.currency_code}",
        }
    )
    peaks = [(utc_text(p.hour_time), p.quantity, f"{p.ratio_to_mean:.1f}") for p in answer.peaks]
    output.rows(("hour", f"quantity ({answer.unit})", "times the mean"), peaks, title="peaks")
