"""CreditNoteService: credit notes after they are made."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import credit_note_service_pb2 as messages
from finops.billing.v1 import credit_note_service_pb2_grpc

from services.billing.api.tenant import as_tenant
from services.billing.convert import credit_notes as convert
from services.billing.convert.invoices import to_page
from services.billing.service.crediting import CreditNotes

Context = grpc.aio.ServicerContext[Any, Any]
_SERVICE = "finops.billing.v1.CreditNoteService"


class CreditNoteServicer(credit_note_service_pb2_grpc.CreditNoteServiceServicer):
    """Serves CreditNoteService."""

    def __init__(self, credit_notes: CreditNotes) -> None:
        """Takes the use cases."""
        self._credit_notes = credit_notes

    async def PreviewCreditNote(
        self, request: messages.PreviewCreditNoteRequest, _: Context
    ) -> messages.PreviewCreditNoteResponse:
        """Computes a credit note."""
        tenant_id = as_tenant(request.tenant_id)
        wanted = convert.to_wanted(request.credit_note)
        note = await self._credit_notes.preview_credit_note(tenant_id, wanted)
        return messages.PreviewCreditNoteResponse(credit_note=convert.from_credit_note(note))

    async def GetCreditNote(
        self, request: messages.GetCreditNoteRequest, _: Context
    ) -> messages.GetCreditNoteResponse:
        """Returns one credit note."""
        tenant_id = as_tenant(request.tenant_id)
        note = await self._credit_notes.get_credit_note(tenant_id, request.credit_note_id)
        return messages.GetCreditNoteResponse(credit_note=convert.from_credit_note(note))

    async def ListCreditNotes(
        self, request: messages.ListCreditNotesRequest, _: Context
    ) -> messages.ListCreditNotesResponse:
        """Lists credit notes."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "ListCreditNotes", service=_SERVICE)
        return convert.from_credit_notes(await self._credit_notes.list_credit_notes(page))

    async def ApproveCreditNote(
        self, request: messages.ApproveCreditNoteRequest, _: Context
    ) -> messages.ApproveCreditNoteResponse:
        """Releases a credit note."""
        tenant_id = as_tenant(request.tenant_id)
        note = await self._credit_notes.approve_credit_note(
            tenant_id, request.credit_note_id, request.note
        )
        return messages.ApproveCreditNoteResponse(credit_note=convert.from_credit_note(note))

    async def VoidCreditNote(
        self, request: messages.VoidCreditNoteRequest, _: Context
    ) -> messages.VoidCreditNoteResponse:
        """Voids a credit note."""
        tenant_id = as_tenant(request.tenant_id)
        note = await self._credit_notes.void_credit_note(
            tenant_id, request.credit_note_id, request.reason
        )
        return messages.VoidCreditNoteResponse(credit_note=convert.from_credit_note(note))
