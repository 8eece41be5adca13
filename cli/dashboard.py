"""`finops dashboard`: what matters now, in one look."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.reporting.v1.dashboard_model_pb2 import CostDriver, Dashboard
from finops.reporting.v1.reporting_messages_pb2 import GetDashboardRequest

from cli.connection import open_connection
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    End,
    Filter,
    OutputFormat,
    Start,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.recommendation_output import money_text
from cli.times import utc_text

app = typer.Typer()
DRIVERS = ("dimension", "value", "cost", "change", "change_ratio", "share")


@app.command()
def dashboard(
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    currency: Annotated[
        str, typer.Option("--currency", help="Convert everything to it. [default: the tenant's]")
    ] = "",
    top: Annotated[int, typer.Option("--top", min=1, max=50, help="Rows of each ranking.")] = 5,
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute it anew.")] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows cost against the period before, budgets, alerts, drivers and what may be saved.

    The period is this month so far unless it is said. CSV holds the drivers alone, JSON everything.
    """
    with open_connection(data_dir, url, tenant) as connection:
        request = GetDashboardRequest(
            tenant_id=connection.tenant,
            start=start,
            end=end,
            filter=filter_text,
            currency=currency,
            top_count=top,
            refresh=refresh,
        )
        found = connection.client.reporting.GetDashboard(request).dashboard
    output = Output(form)
    if form is Format.JSON:
        output.json(found)
    elif form is Format.CSV:
        output.rows(DRIVERS, [_exact(one) for one in found.drivers])
    else:
        _show(found, output)


def _show(found: Dashboard, output: Output) -> None:
    summary = found.summary
    output.record(
        {
            "period": f"{utc_text(found.period.start_time)} to {utc_text(found.period.end_time)}",
            "cost": money_text(summary.cost),
            "before": money_text(summary.previous_cost),
            "change": f"{money_text(summary.change)} {percent_text(summary.change_ratio)}".strip(),
            "a day": money_text(summary.daily_average),
            "at the month's end": money_text(summary.expected_period_cost),
            "failed work": money_text(summary.wasted),
            "may be saved a month": money_text(found.potential_monthly_saving),
            "people": summary.active_user_count,
            "without": ", ".join(found.missing_parts),
        }
    )
    for sentence in summary.highlights:
        output.line(f"* {sentence}")
    if found.budgets:
        rows = [
            (
                one.display_name,
                money_text(one.spent),
                money_text(one.limit),
                percent_text(one.utilization_ratio),
                percent_text(one.breach_probability_ratio),
                utc_text(one.reset_time),
            )
            for one in found.budgets
        ]
        columns = ("budget", "spent", "limit", "used", "breach", "reset")
        output.rows(columns, rows, title="Budgets")
    if found.alerts:
        told = [(utc_text(one.fire_time), one.severity, one.message) for one in found.alerts]
        output.rows(("since", "severity", "alert"), told, title="Alerts", fold=True)
    if found.drivers:
        output.rows(DRIVERS, [_shown(one) for one in found.drivers], title="Drivers")


def _exact(one: CostDriver) -> tuple[object, ...]:
    amounts = (one.cost.amount, one.change.amount)
    return (one.dimension, one.value, *amounts, one.change_ratio, one.share_ratio)


def _shown(one: CostDriver) -> tuple[object, ...]:
    return (
        one.dimension,
        one.value or "-",
        money_text(one.cost),
        money_text(one.change),
        percent_text(one.change_ratio),
        percent_text(one.share_ratio),
    )


def percent_text(ratio: str) -> str:
    """Returns a ratio in percent, to one digit; empty for none."""
    return f"{float(ratio) * 100:.1f} %" if ratio else ""
