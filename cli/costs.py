"""`finops costs`: what usage cost, grouped as asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from finops.usage.v1.cost_model_pb2 import CostRow, QueryCostsRequest, QueryCostsResponse
from finops_sdk import pages

from cli.connection import PAGE_SIZE, open_connection
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
from cli.times import utc_text

app = typer.Typer()
Row = tuple[object, ...]


class Granularity(StrEnum):
    """Size of the buckets."""

    TOTAL = "total"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class CostType(StrEnum):
    """Cost that is summed."""

    BILLED = "billed"
    EFFECTIVE = "effective"
    LIST = "list"
    CONTRACTED = "contracted"


GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        "-g",
        help="Dimension: tenant, department, project, user, manager, resource_type, "
        "resource_id, service, service_category, provider, region, sub_account, "
        "charge_category, unit, source or tag:KEY. Repeat it, or separate by commas.",
        show_default=False,
    ),
]
BucketSize = Annotated[Granularity, typer.Option("--granularity", help="Size of the buckets.")]
CostKind = Annotated[CostType, typer.Option("--cost-type", help="Cost that is summed.")]
Currency = Annotated[
    str,
    typer.Option(
        "--currency", help="Convert to this currency by ECB day rates.", show_default=False
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Compare with the period before.")]
Allocated = Annotated[
    bool, typer.Option("--allocated", help="Let allocation rules move shared cost.")
]
OrderBy = Annotated[
    str,
    typer.Option(
        "--order-by", help="Default: amount desc, of buckets start_time.", show_default=False
    ),
]
RowLimit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Rows to show. [default: all]")
]


@app.command()
def costs(
    *,
    group_by: GroupBy = None,
    start: Start = "",
    end: End = "",
    granularity: BucketSize = Granularity.TOTAL,
    filter_text: Filter = "",
    cost_type: CostKind = CostType.BILLED,
    currency: Currency = "",
    compare: Compare = False,
    allocated: Allocated = False,
    order_by: OrderBy = "",
    limit: RowLimit = None,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Sums cost by any dimensions over any period, exactly.

    CSV has one column a group key, then currency_code, amount, quantity, events; with a granularity
    the bucket's start_time comes first.
    """
    with open_connection(data_dir, url, tenant) as connection:
        request = QueryCostsRequest(
            tenant_id=connection.tenant,
            group_by=[key for text in group_by or [] for key in text.split(",") if key],
            start=start,
            end=end,
            granularity=granularity.value,
            filter=filter_text,
            cost_type=cost_type.value,
            currency=currency,
            compare_previous=compare,
            allocated=allocated,
            order_by=order_by or ("start_time" if has_buckets(granularity.value) else ""),
            page_size=min(limit or PAGE_SIZE, PAGE_SIZE),
        )
        answer = QueryCostsResponse()
        query = connection.client.asynchronous.usage.QueryCosts
        for page in connection.client.iterate(pages(query, request)):
            rows = [*answer.rows, *page.rows]
            answer = page
            del answer.rows[:]
            answer.rows.extend(rows[:limit])
            if limit is not None and len(rows) >= limit:
                break
    show_costs(request, answer, Output(form))


def show_costs(request: QueryCostsRequest, answer: QueryCostsResponse, output: Output) -> None:
    """Writes the rows, and for people the totals and the rates that were applied."""
    is_bucketed = has_buckets(request.granularity)
    columns = [*(["start_time"] if is_bucketed else []), *request.group_by]
    columns += ["currency_code", "amount", "quantity", "events"]
    is_table = output.form is Format.TABLE
    if is_table:
        columns += ["unit"]
    if request.compare_previous:
        columns += ["previous_amount"]
    rows = [_row(request, row, is_table=is_table, is_bucketed=is_bucketed) for row in answer.rows]
    output.rows(columns, rows, content=answer)
    if is_table:
        _show_totals(answer, output)


def has_buckets(granularity: str) -> bool:
    """Tells whether a granularity cuts the period into buckets."""
    return granularity not in ("", Granularity.TOTAL)


def _row(request: QueryCostsRequest, row: CostRow, *, is_table: bool, is_bucketed: bool) -> Row:
    cells: list[object] = [utc_text(row.start_time)] if is_bucketed else []
    cells += [row.group[key] for key in request.group_by]
    cells += [row.cost.currency_code, row.cost.amount, row.quantity, row.events]
    if is_table:
        cells += [row.unit]
    if request.compare_previous:
        cells += [row.previous_cost.amount]
    return tuple(cells)


def _show_totals(answer: QueryCostsResponse, output: Output) -> None:
    zone = answer.time_zone or "UTC"
    period = f"{utc_text(answer.period.start_time)} to {utc_text(answer.period.end_time)}, {zone}"
    for total in answer.totals:
        unpriced = f", {total.unpriced_events:,} without a price" if total.unpriced_events else ""
        output.line(
            f"total {total.cost.amount} {total.cost.currency_code}, "
            f"{total.events:,} events{unpriced} ({period})"
        )
    for rate in answer.exchange_rates[-3:]:
        output.line(
            f"1 {rate.from_currency} = {rate.rate} {rate.to_currency} "
            f"(ECB {rate.rate_date}, for {rate.usage_date})"
        )
