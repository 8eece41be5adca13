"""What BillingService does with invoices, credit notes and runs."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import invoice_messages_pb2 as messages
from finops.billing.v1 import run_messages_pb2
from google.api.httpbody_pb2 import HttpBody

from services.billing.api.invoices import InvoiceUseCases
from services.billing.api.tenant import as_tenant
from services.billing.convert import credit_notes as convert_notes
from services.billing.convert import documents as convert_documents
from services.billing.convert import invoices as convert
from services.billing.convert import payments as convert_payments
from services.billing.convert import runs as convert_runs
from services.billing.service.crediting import CreditNotes
from services.billing.service.paying import Paying
from services.billing.service.running import BillingRuns
from services.kernel.idempotency import answers_repetitions

Context = grpc.aio.ServicerContext[Any, Any]
_SERVICE = "finops.billing.v1.BillingService"


class InvoiceMethods:
    """The methods of BillingService that make invoices and what corrects them."""

    _invoicing: InvoiceUseCases
    _credit_notes: CreditNotes
    _runs: BillingRuns
    _paying: Paying

    async def GenerateInvoice(
        self, request: messages.GenerateInvoiceRequest, _: Context
    ) -> messages.GenerateInvoiceResponse:
        """Makes the invoice of a period."""
        wanted = convert.to_wanted(request, as_tenant(request.tenant_id))
        invoice = await self._invoicing.invoices.generate_invoice(wanted)
        return messages.GenerateInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def PreviewInvoice(
        self, request: messages.PreviewInvoiceRequest, _: Context
    ) -> messages.PreviewInvoiceResponse:
        """Computes what an invoice would be."""
        wanted = convert.to_previewed(request, as_tenant(request.tenant_id))
        invoice = await self._invoicing.invoices.preview_invoice(wanted, plan_id=request.plan_id)
        return messages.PreviewInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def GetInvoice(
        self, request: messages.GetInvoiceRequest, _: Context
    ) -> messages.GetInvoiceResponse:
        """Returns one invoice."""
        tenant_id = as_tenant(request.tenant_id)
        invoice = await self._invoicing.invoices.get_invoice(tenant_id, request.invoice_id)
        return messages.GetInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def ListInvoices(
        self, request: messages.ListInvoicesRequest, _: Context
    ) -> messages.ListInvoicesResponse:
        """Lists invoices."""
        tenant_id = as_tenant(request.tenant_id)
        method = f"ListInvoices/{request.account_id}"
        page = convert.to_page(request, tenant_id, method, service=_SERVICE)
        found = await self._invoicing.invoices.list_invoices(page, account_id=request.account_id)
        return convert.from_invoices(found)

    async def FinalizeInvoice(
        self, request: messages.FinalizeInvoiceRequest, _: Context
    ) -> messages.FinalizeInvoiceResponse:
        """Locks a draft and sends it."""
        tenant_id = as_tenant(request.tenant_id)
        invoice = await self._invoicing.invoices.finalize_invoice(
            tenant_id, request.invoice_id, etag=request.etag
        )
        return messages.FinalizeInvoiceResponse(invoice=convert.from_invoice(invoice))

    async def VoidInvoice(
        self, request: messages.VoidInvoiceRequest, _: Context
    ) -> messages.VoidInvoiceResponse:
        """Voids an invoice."""
        tenant_id = as_tenant(request.tenant_id)
        invoice = await self._invoicing.invoices.void_invoice(
            tenant_id, request.invoice_id, request.reason, etag=request.etag
        )
        return messages.VoidInvoiceResponse(invoice=convert.from_invoice(invoice))

    @answers_repetitions
    async def PayInvoice(
        self, request: messages.PayInvoiceRequest, _: Context
    ) -> messages.PayInvoiceResponse:
        """Collects an invoice; its attempt knows the request_id."""
        invoice, attempt = await self._paying.pay_invoice(
            *(as_tenant(request.tenant_id), request.invoice_id),
            payment_method_id=request.payment_method_id,
            request_id=request.request_id,
        )
        paid = convert.from_invoice(invoice)
        return messages.PayInvoiceResponse(
            invoice=paid, attempt=convert_payments.from_attempt(attempt)
        )

    async def GetInvoicePdf(self, request: messages.GetInvoicePdfRequest, _: Context) -> HttpBody:
        """Returns an invoice as PDF."""
        tenant_id = as_tenant(request.tenant_id)
        _invoice, pdf = await self._invoicing.documents.get_invoice_pdf(
            tenant_id, request.invoice_id, locale=request.locale
        )
        return convert_documents.from_pdf(pdf)

    async def CreateCreditNote(
        self, request: messages.CreateCreditNoteRequest, _: Context
    ) -> messages.CreateCreditNoteResponse:
        """Credits lines of an invoice."""
        tenant_id = as_tenant(request.tenant_id)
        wanted = convert_notes.to_wanted(request.credit_note)
        note = await self._credit_notes.create_credit_note(tenant_id, wanted)
        return messages.CreateCreditNoteResponse(credit_note=convert_notes.from_credit_note(note))

    async def RunBilling(
        self, request: run_messages_pb2.RunBillingRequest, _: Context
    ) -> run_messages_pb2.RunBillingResponse:
        """Starts a billing run."""
        run = await self._runs.run_billing(convert_runs.to_wanted(request))
        return run_messages_pb2.RunBillingResponse(billing_run=convert_runs.from_run(run))
