"""InvoiceService: what is inside invoices, and what happens to them after they are issued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from finops.billing.v1 import invoice_service_pb2 as messages
from finops.billing.v1 import invoice_service_pb2_grpc
from google.api.httpbody_pb2 import HttpBody

from services.billing.api.tenant import as_tenant
from services.billing.convert import documents as convert_documents
from services.billing.convert import invoices as convert
from services.billing.convert import runs as convert_runs
from services.billing.service.chargeback import Chargebacks
from services.billing.service.documents import Documents
from services.billing.service.invoicing import Invoices
from services.billing.service.mailing import Mailing
from services.billing.service.tracing import Tracing

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class InvoiceUseCases:
    """What both services do with invoices."""

    invoices: Invoices
    tracing: Tracing
    documents: Documents
    mailing: Mailing
    chargebacks: Chargebacks


class InvoiceServicer(invoice_service_pb2_grpc.InvoiceServiceServicer):
    """Serves InvoiceService."""

    def __init__(self, use_cases: InvoiceUseCases) -> None:
        """Takes the use cases."""
        self._use_cases = use_cases
        self._invoices = use_cases.invoices

    async def ListInvoiceLines(
        self, request: messages.ListInvoiceLinesRequest, _: Context
    ) -> messages.ListInvoiceLinesResponse:
        """Lists the lines of an invoice."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, f"ListInvoiceLines/{request.invoice_id}")
        lines = await self._invoices.list_invoice_lines(page, request.invoice_id)
        invoice = await self._invoices.get_invoice(tenant_id, request.invoice_id)
        return convert.from_lines(lines, invoice)

    async def GetInvoiceCsv(
        self, request: messages.GetInvoiceCsvRequest, _: Context
    ) -> AsyncIterator[HttpBody]:
        """Streams all lines as CSV."""
        tenant_id = as_tenant(request.tenant_id)
        chunks = self._use_cases.documents.get_invoice_csv(tenant_id, request.invoice_id)
        async for chunk in chunks:
            yield convert_documents.from_csv(chunk)

    async def ListInvoiceLineUsage(
        self, request: messages.ListInvoiceLineUsageRequest, _: Context
    ) -> messages.ListInvoiceLineUsageResponse:
        """Lists the usage events behind a line."""
        tenant_id = as_tenant(request.tenant_id)
        name = f"ListInvoiceLineUsage/{request.invoice_id}/{request.line_id}"
        page = convert.to_page(request, tenant_id, name)
        found, invoice = await self._use_cases.tracing.list_invoice_line_usage(
            page, request.invoice_id, request.line_id
        )
        return convert.from_traced(found, invoice.currency_code)

    async def FindInvoiceLines(
        self, request: messages.FindInvoiceLinesRequest, _: Context
    ) -> messages.FindInvoiceLinesResponse:
        """Finds the lines that bill a usage event."""
        tenant_id = as_tenant(request.tenant_id)
        found, where = await self._use_cases.tracing.find_invoice_lines(
            tenant_id, request.usage_source, request.usage_event_id
        )
        return convert.from_found(found, where)

    async def ListInvoiceEvents(
        self, request: messages.ListInvoiceEventsRequest, _: Context
    ) -> messages.ListInvoiceEventsResponse:
        """Lists what happened to an invoice."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, f"ListInvoiceEvents/{request.invoice_id}")
        events = await self._invoices.list_invoice_events(page, request.invoice_id)
        return convert.from_events(events)

    async def SendInvoice(
        self, request: messages.SendInvoiceRequest, _: Context
    ) -> messages.SendInvoiceResponse:
        """Mails an invoice."""
        tenant_id = as_tenant(request.tenant_id)
        addresses = list(request.email_addresses)
        invoice = await self._use_cases.mailing.send_invoice(
            tenant_id, request.invoice_id, addresses
        )
        return messages.SendInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def UnblockInvoice(
        self, request: messages.UnblockInvoiceRequest, _: Context
    ) -> messages.UnblockInvoiceResponse:
        """Lets a blocked invoice go on."""
        tenant_id = as_tenant(request.tenant_id)
        invoice = await self._invoices.unblock_invoice(
            tenant_id, request.invoice_id, request.reason
        )
        return messages.UnblockInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def WriteOffInvoice(
        self, request: messages.WriteOffInvoiceRequest, _: Context
    ) -> messages.WriteOffInvoiceResponse:
        """Gives up an overdue invoice."""
        tenant_id = as_tenant(request.tenant_id)
        invoice = await self._invoices.write_off_invoice(
            tenant_id, request.invoice_id, request.reason
        )
        return messages.WriteOffInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def GenerateChargeback(
        self, request: messages.GenerateChargebackRequest, _: Context
    ) -> messages.GenerateChargebackResponse:
        """Starts the internal invoices of departments."""
        tenant_id = as_tenant(request.tenant_id)
        run = await self._use_cases.chargebacks.generate_chargeback(
            tenant_id, convert_runs.to_chargeback(request)
        )
        return messages.GenerateChargebackResponse(billing_run=convert_runs.from_run(run))
