"""Invoices as files: PDF and CSV."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Final

from services.billing.domain.invoice_record import Invoice, InvoiceLine
from services.billing.errors import InvoiceNotFound
from services.billing.service.accounts import Accounts
from services.billing.service.invoicing import Invoices
from services.billing.service.typesetting import InvoiceDocument, typeset
from services.billing.store import invoices as rows
from services.billing.store import metering
from services.kernel.database import Database
from services.kernel.money import format_decimal

CSV_ROWS: Final = 500  # of one chunk of the stream
CSV_COLUMNS: Final = (
    *("number", "position", "kind", "description", "period_start", "period_end", "charge_id"),
    *("department", "project", "resource_type", "quantity", "included_quantity", "unit"),
    *("unit_price", "source_currency", "source_amount", "exact_amount", "amount", "tax_amount"),
    *("tax_rate_id", "currency", "events"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Documents:
    """The use cases of invoices as files."""

    def __init__(self, database: Database, invoices: Invoices, accounts: Accounts) -> None:
        """accounts: know name, address and bank details."""
        self._database = database
        self._invoices = invoices
        self._accounts = accounts

    async def get_invoice_pdf(
        self, tenant_id: str, invoice_id: str, *, locale: str = ""
    ) -> tuple[Invoice, bytes]:
        """Returns an invoice and its PDF. locale: BCP 47, default the account's.

        Raises InvoiceNotFound.
        """
        document = await self.document(tenant_id, invoice_id, locale=locale)
        return document.invoice, await asyncio.to_thread(typeset, document)

    async def document(
        self, tenant_id: str, invoice_id: str, *, locale: str = ""
    ) -> InvoiceDocument:
        """Returns what the PDF shows. Raises InvoiceNotFound."""
        async with self._database.read(tenant_id) as tx:
            invoice = await rows.find_invoice(tx, tenant_id, invoice_id)
            if invoice is None:
                raise InvoiceNotFound(invoice_id=invoice_id)
            account = await self._accounts.load(tx, tenant_id, invoice.account_id)
            lines = await rows.invoice_lines(tx, tenant_id, invoice_id)
            usage = await rows.line_usage(tx, tenant_id, invoice_id)
            known = await metering.dimensions_of(tx, {(tenant_id, each[1]) for each in usage})
        by_id = {line.line_id: line for line in lines}
        traced = [
            (by_id[line_id], known[tenant_id, dimension_id], amount)
            for line_id, dimension_id, amount in usage
        ]
        return InvoiceDocument(
            invoice=invoice,
            account=account,
            lines=lines,
            usage=sorted(traced, key=lambda each: (each[0].position, each[1].dimension_id)),
            locale=locale or account.locale,
        )

    async def get_invoice_csv(self, tenant_id: str, invoice_id: str) -> AsyncIterator[bytes]:
        """Yields all lines as CSV, the header first. Raises InvoiceNotFound."""
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(CSV_COLUMNS)
        waiting = 0
        async for invoice, line in self._invoices.stream_lines(tenant_id, invoice_id):
            writer.writerow(_csv_row(invoice, line))
            waiting += 1
            if waiting == CSV_ROWS:
                yield _taken(buffer)
                waiting = 0
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _csv_row(invoice: Invoice, line: InvoiceLine) -> list[str]:
    def number(value: object) -> str:
        return "" if value is None else format_decimal(value)  # type: ignore[arg-type]

    return [
        *(invoice.number, str(line.position), line.kind, _plain(line.description)),
        *(line.period.start.isoformat(), line.period.end.isoformat(), line.charge_id),
        *(_plain(line.department_id), _plain(line.project), _plain(line.resource_type)),
        *(number(line.quantity), number(line.included_quantity), _plain(line.unit)),
        *(number(line.unit_price), line.source_currency, number(line.source_amount)),
        *(number(line.exact_amount), number(line.amount), number(line.tax_amount)),
        *(line.tax_rate_id, invoice.currency_code, str(line.events)),
    ]


def _plain(text: str) -> str:
    """Returns the text such that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
