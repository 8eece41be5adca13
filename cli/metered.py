"""`finops billing routes` and `metered`: usage that the provider's meters price."""

from __future__ import annotations

import typer
from finops.billing.v1.provider_model_pb2 import (
    MeteredInvoice,
    MeteredInvoiceState,
    MeterRoute,
    MeterRouteState,
)
from finops.billing.v1.provider_service_pb2 import (
    ListMeteredInvoicesRequest,
    ListMeterRoutesRequest,
)

from cli.connection import open_connection
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Limit, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer()
_ROUTE_COLUMNS = (
    *("subscription_id", "plan", "state", "start", "end", "told", "unsettled", "failed"),
    *("provider_subscription_id", "error"),
)
_INVOICE_COLUMNS = (
    *("provider_invoice_id", "number", "state", "period_start", "period_end", "currency_code"),
    *("subtotal", "rated", "difference", "total", "amount_paid", "hosted_url"),
)


@app.command()
def routes(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists from when to when Stripe's meters price usage, and what they were told."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListMeterRoutesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.providers.ListMeterRoutes
        found = connection.collect(call, request, lambda page: page.meter_routes, limit=limit)
    Output(form).rows(_ROUTE_COLUMNS, [_route_row(route) for route in found], content=found)


@app.command()
def metered(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists what Stripe invoiced of metered usage, beside our own rating of it."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListMeteredInvoicesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.providers.ListMeteredInvoices
        found = connection.collect(call, request, lambda page: page.metered_invoices, limit=limit)
    rows = [_invoice_row(invoice) for invoice in found]
    Output(form).rows(_INVOICE_COLUMNS, rows, content=found)


def _route_row(route: MeterRoute) -> tuple[object, ...]:
    return (
        route.subscription_id,
        f"{route.plan_id}:{route.plan_version}",
        MeterRouteState.Name(route.state).removeprefix("METER_ROUTE_STATE_").lower(),
        utc_text(route.start_time),
        utc_text(route.end_time) if route.HasField("end_time") else "",
        ", ".join(f"{told.charge_id} {told.quantity}" for told in route.told),
        route.unsettled_count or "",
        route.failed_count or "",
        route.provider_subscription_id,
        route.error,
    )


def _invoice_row(invoice: MeteredInvoice) -> tuple[object, ...]:
    return (
        *(invoice.provider_invoice_id, invoice.number),
        MeteredInvoiceState.Name(invoice.state).removeprefix("METERED_INVOICE_STATE_").lower(),
        utc_text(invoice.period.start_time),
        utc_text(invoice.period.end_time),
        invoice.subtotal.currency_code,
        *(invoice.subtotal.amount, invoice.rated.amount, invoice.difference.amount),
        *(invoice.total.amount, invoice.amount_paid.amount, invoice.hosted_url),
    )
