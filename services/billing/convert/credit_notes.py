"""Credit notes between contract and domain."""

from __future__ import annotations

from finops.billing.v1 import credit_note_model_pb2 as model
from finops.billing.v1 import credit_note_service_pb2 as messages

from services.billing.convert.values import from_amount, from_instant, to_money
from services.billing.domain.credit_note import CreditNote, CreditSettlement
from services.billing.service.crediting import WantedCredit
from services.kernel.pagination import Page


def to_wanted(note: model.CreditNote) -> WantedCredit:
    """Converts what is to be credited. Raises InvalidDecimal."""
    settlement = model.CreditSettlement.Name(note.settlement).removeprefix("CREDIT_SETTLEMENT_")
    return WantedCredit(
        invoice_id=note.invoice_id,
        reason=note.reason,
        lines=[
            (
                line.invoice_line_id,
                to_money(line.amount).amount if line.HasField("amount") else None,
            )
            for line in note.lines
        ],
        settlement=CreditSettlement[settlement] if note.settlement else None,
        currency_codes=frozenset(
            line.amount.currency_code for line in note.lines if line.HasField("amount")
        ),
    )


def from_credit_note(note: CreditNote) -> model.CreditNote:
    """Converts a credit note."""
    code = note.currency_code
    return model.CreditNote(
        credit_note_id=note.credit_note_id,
        invoice_id=note.invoice_id,
        number=note.number,
        state=model.CreditNoteState.Value(f"CREDIT_NOTE_STATE_{note.state.name}"),
        lines=[
            model.CreditNoteLine(
                invoice_line_id=line.line_id, amount=from_amount(code, line.amount)
            )
            for line in note.lines
        ],
        reason=note.reason,
        settlement=model.CreditSettlement.Value(f"CREDIT_SETTLEMENT_{note.settlement.name}"),
        subtotal=from_amount(code, note.subtotal),
        tax_total=from_amount(code, note.tax_total),
        total=from_amount(code, note.total),
        author=note.author,
        approver=note.approver,
        create_time=from_instant(note.created_at),
        settle_time=from_instant(note.settled_at),
    )


def from_credit_notes(page: Page[CreditNote]) -> messages.ListCreditNotesResponse:
    """Converts a page of credit notes."""
    return messages.ListCreditNotesResponse(
        credit_notes=[from_credit_note(note) for note in page.items],
        next_page_token=page.next_page_token,
    )
