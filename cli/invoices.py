"""`finops invoices`: made, shown, locked and written to files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from finops.billing.v1.invoice_messages_pb2 import (
    FinalizeInvoiceRequest,
    GenerateInvoiceRequest,
    GetInvoicePdfRequest,
    GetInvoiceRequest,
    ListInvoicesRequest,
    PreviewInvoiceRequest,
)
from finops.billing.v1.invoice_model_pb2 import Invoice, InvoiceKind, InvoiceState
from finops.billing.v1.invoice_service_pb2 import (
    FindInvoiceLinesRequest,
    GetInvoiceCsvRequest,
    ListInvoiceLinesRequest,
)

from cli.connection import ALL_TENANTS, Connection, open_connection
from cli.errors import CommandError
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    Filter,
    Limit,
    OutputFormat,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer(help="Makes, shows and exports invoices.", no_args_is_help=True)
_PDF_SECONDS = 120.0
_RATE_DIGITS = 10
InvoiceId = Annotated[str, typer.Argument(help="Id of the invoice.", show_default=False)]
Month = Annotated[
    str, typer.Option("--month", help="Month, YYYY-MM. Default: see above.", show_default=False)
]
ToFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write. [default: the number]", dir_okay=False),
]
_COLUMNS = (
    *("invoice_id", "number", "state", "kind", "period_start", "period_end", "currency_code"),
    *("total", "amount_due", "issue_time", "due_time"),
)
_FOUND_COLUMNS = ("invoice_id", "position", "description", "quantity", "amount")
_LINE_COLUMNS = ("position", "description", "quantity", "unit", "unit_price", "amount")


@app.command("list")
def list_invoices(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists invoices, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListInvoicesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.billing.ListInvoices
        found = connection.collect(call, request, lambda page: page.invoices, limit=limit)
    Output(form).rows(_COLUMNS, [_row(invoice) for invoice in found], content=found)


@app.command()
def show(
    invoice_id: InvoiceId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows an invoice with its lines."""
    with open_connection(data_dir, url, tenant) as connection:
        invoice = _find(connection, invoice_id)
        request = ListInvoiceLinesRequest(tenant_id=connection.tenant, invoice_id=invoice_id)
        call = connection.client.asynchronous.invoices.ListInvoiceLines
        lines = connection.collect(call, request, lambda page: page.lines, limit=None)
    output = Output(form)
    _show(invoice, output)
    if form is Format.TABLE:
        output.rows(
            _LINE_COLUMNS,
            [
                (
                    *(line.position, line.description, line.quantity, line.unit),
                    *(line.unit_price.amount, line.amount.amount),
                )
                for line in lines
            ],
        )


@app.command()
def preview(
    *,
    month: Month = "",
    plan: Annotated[
        str, typer.Option("--plan", help="Price by this plan instead.", show_default=False)
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Computes what an invoice would be now, by default of the running period; stores nothing."""
    with open_connection(data_dir, url, tenant) as connection:
        request = PreviewInvoiceRequest(tenant_id=connection.tenant, month=month, plan_id=plan)
        invoice = connection.client.billing.PreviewInvoice(request).invoice
    _show(invoice, Output(form))


@app.command()
def generate(
    *,
    month: Month = "",
    finalize: Annotated[
        bool, typer.Option("--finalize", help="Lock it at once, without grace.")
    ] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Makes the invoice of a month, by default of the last full period; a second time finds it."""
    with _open_as_seller(data_dir, url, tenant) as connection:
        request = GenerateInvoiceRequest(
            tenant_id=connection.tenant, month=month, finalize=finalize
        )
        invoice = connection.client.billing.GenerateInvoice(request).invoice
    _show(invoice, Output(form))


@app.command()
def finalize(
    invoice_id: InvoiceId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Locks a draft and sends it; later changes are credit notes."""
    with _open_as_seller(data_dir, url, tenant) as connection:
        request = FinalizeInvoiceRequest(tenant_id=connection.tenant, invoice_id=invoice_id)
        invoice = connection.client.billing.FinalizeInvoice(request).invoice
    _show(invoice, Output(form))


@app.command()
def find(
    source: Annotated[str, typer.Argument(help="Source of the usage event.", show_default=False)],
    event_id: Annotated[str, typer.Argument(help="Its id.", show_default=False)],
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Finds where a usage event is billed: the lines of invoices, or the provider's meter."""
    with open_connection(data_dir, url, tenant) as connection:
        request = FindInvoiceLinesRequest(
            tenant_id=connection.tenant, usage_source=source, usage_event_id=event_id
        )
        found = connection.client.invoices.FindInvoiceLines(request)
    output = Output(form)
    if form is Format.TABLE:
        output.line(found.explanation)
    if found.lines or form is not Format.TABLE:
        rows = [
            (line.invoice_id, line.position, line.description, line.quantity, line.amount.amount)
            for line in found.lines
        ]
        output.rows(_FOUND_COLUMNS, rows, content=found)


@app.command()
def pdf(
    invoice_id: InvoiceId,
    *,
    output: ToFile = None,
    locale: Annotated[
        str, typer.Option("--locale", help="BCP 47, as de-CH.", show_default=False)
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
) -> None:
    """Writes an invoice as PDF."""
    with open_connection(data_dir, url, tenant) as connection:
        invoice = _find(connection, invoice_id)
        request = GetInvoicePdfRequest(
            tenant_id=connection.tenant, invoice_id=invoice_id, locale=locale
        )
        content = connection.client.billing.GetInvoicePdf(request, timeout=_PDF_SECONDS).data
    path = output or Path(f"{invoice.number or invoice_id}.pdf")
    with _opened(path) as file:
        file.write(content)
    Output().note(f"{path}: {len(content):,} bytes")


@app.command()
def csv(
    invoice_id: InvoiceId,
    *,
    output: ToFile = None,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
) -> None:
    """Writes all lines of an invoice as CSV."""
    with open_connection(data_dir, url, tenant) as connection:
        invoice = _find(connection, invoice_id)
        request = GetInvoiceCsvRequest(tenant_id=connection.tenant, invoice_id=invoice_id)
        path = output or Path(f"{invoice.number or invoice_id}.csv")
        with _opened(path) as file:
            for chunk in connection.client.invoices.GetInvoiceCsv(request):
                file.write(chunk.data)
    Output().note(f"{path}: {path.stat().st_size:,} bytes")


def _open_as_seller(data_dir: Path, url: str, tenant: str) -> Connection:
    """Opens a connection that may make invoices: on the local stack, of the platform itself."""
    named = open_connection(data_dir, url, tenant)
    if url:
        return named
    named.client.close()
    seller = open_connection(data_dir, url, ALL_TENANTS)
    return Connection(seller.client, named.tenant)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; see --output") from None


def _find(connection: Connection, invoice_id: str) -> Invoice:
    request = GetInvoiceRequest(tenant_id=connection.tenant, invoice_id=invoice_id)
    return connection.client.billing.GetInvoice(request).invoice


def _show(invoice: Invoice, output: Output) -> None:
    if output.form is not Format.TABLE:
        output.rows(_COLUMNS, [_row(invoice)], content=invoice)
        return
    fields = dict(zip(_COLUMNS, _row(invoice), strict=True))
    fields |= {
        "subtotal": invoice.subtotal.amount,
        "tax": invoice.tax_total.amount,
        "lines": invoice.line_count,
        "exchange_rates": ", ".join(
            f"1 {rate.from_currency} = {_short(rate.rate)} {rate.to_currency} ({rate.source} "
            f"{rate.rate_date})"
            for rate in invoice.exchange_rates
        ),
        "block_reason": invoice.block_reason,
    }
    output.record({name: value for name, value in fields.items() if value != ""})


def _short(rate: str) -> str:
    """Returns a rate with the digits that people compare; `--format json` has all of them."""
    return f"{round(Decimal(rate), _RATE_DIGITS).normalize():f}"


def _row(invoice: Invoice) -> tuple[object, ...]:
    return (
        *(invoice.invoice_id, invoice.number),
        InvoiceState.Name(invoice.state).removeprefix("INVOICE_STATE_").lower(),
        InvoiceKind.Name(invoice.kind).removeprefix("INVOICE_KIND_").lower(),
        utc_text(invoice.period.start_time),
        utc_text(invoice.period.end_time),
        *(invoice.currency_code, invoice.total.amount, invoice.amount_due.amount),
        utc_text(invoice.issue_time) if invoice.HasField("issue_time") else "",
        utc_text(invoice.due_time) if invoice.HasField("due_time") else "",
    )
