"""The use cases of credit notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from services.billing.domain.credit import CreditGrant
from services.billing.domain.credit_note import (
    CreditNote,
    CreditNoteState,
    CreditSettlement,
    credited_lines,
    settlement_of,
)
from services.billing.domain.draft import number_of
from services.billing.domain.invoice_record import ZERO, Invoice
from services.billing.domain.invoice_state import UNPAID, InvoiceState
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.operation import OperationState
from services.billing.errors import (
    CreditNoteNotFound,
    CreditNoteStateForbids,
    InvoiceNotFound,
    SelfApproval,
)
from services.billing.service.credits import Credits, require_account
from services.billing.service.fence import require_no_charge
from services.billing.service.journal import Journal
from services.billing.service.moving import InvoiceMoves, add_event, locked_invoice
from services.billing.service.provider.queue import queue_credit_note
from services.billing.store import credit_notes as rows
from services.billing.store import invoices as invoice_rows
from services.billing.store import operations
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.money import EXACT, CurrencyMismatch, Money
from services.kernel.pagination import Page, PageRequest, PageTokens

SERIES = "CN"
_OPEN = (CreditNoteState.AWAITING_APPROVAL, CreditNoteState.ISSUED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCredit:
    """What is to be credited. lines: with amounts before tax, None for all left; empty: all.

    currency_codes: of the amounts that are given.
    """

    invoice_id: str
    reason: str
    lines: Sequence[tuple[str, Decimal | None]] = ()
    settlement: CreditSettlement | None = None
    currency_codes: frozenset[str] = frozenset()


class CreditNotes:
    """Makes, approves and voids credit notes."""

    def __init__(
        self,
        database: Database,
        moves: InvoiceMoves,
        credit: Credits,
        journal: Journal,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """credit: takes what is settled to the account's balance."""
        self._database = database
        self._moves = moves
        self._credit = credit
        self._journal = journal
        self._tokens = tokens
        self._clock = clock

    async def preview_credit_note(self, tenant_id: str, wanted: WantedCredit) -> CreditNote:
        """Computes a credit note; stores nothing. Raises as `create_credit_note`."""
        async with self._database.read(tenant_id) as tx:
            invoice = await invoice_rows.find_invoice(tx, tenant_id, wanted.invoice_id)
            if invoice is None:
                raise InvoiceNotFound(invoice_id=wanted.invoice_id)
            note = await self._compose(tx, invoice, wanted)
        return replace(note, credit_note_id="")

    async def create_credit_note(self, tenant_id: str, wanted: WantedCredit) -> CreditNote:
        """Credits lines of an issued invoice; above the account's limit it waits for approval.

        Raises InvoiceNotFound, InvoiceStateForbids, InvoiceLineNotFound, CreditExceedsInvoice,
        SettlementForbidden, ChargeUnderWay.
        """
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, wanted.invoice_id)
            await require_no_charge(tx, invoice)
            account = await require_account(tx, tenant_id, invoice.account_id)
            note = await self._compose(tx, invoice, wanted)
            limit = account.credit_approval_limit
            needs_approval = limit is not None and note.total > limit
            await rows.add_credit_note(tx, tenant_id, note)
            await self._take(tx, invoice, note, sign=1)
            if needs_approval:
                await self._tell(tx, tenant_id, note, before="")
            else:
                note = await self._issue(tx, invoice, note)
            await _audited(tx, "credit_notes.create", note)
        return note

    async def approve_credit_note(
        self, tenant_id: str, credit_note_id: str, note_text: str
    ) -> CreditNote:
        """Releases a credit note that another person wrote.

        Raises CreditNoteNotFound, CreditNoteStateForbids, SelfApproval, ChargeUnderWay.
        """
        approver = current_caller().subject
        async with self._database.transaction(tenant_id) as tx:
            found = await self._load(tx, tenant_id, credit_note_id)
            invoice = await locked_invoice(tx, tenant_id, found.invoice_id)
            await require_no_charge(tx, invoice)
            note = await self._load(tx, tenant_id, credit_note_id, is_locked=True)
            if note.state is not CreditNoteState.AWAITING_APPROVAL:
                raise CreditNoteStateForbids(state=note.state.value)
            if note.author == approver:
                raise SelfApproval(author=note.author)
            settlement_of(invoice, note.settlement)
            note = await self._issue(tx, invoice, replace(note, approver=approver, note=note_text))
            await _audited(tx, "credit_notes.approve", note)
        return note

    async def void_credit_note(
        self, tenant_id: str, credit_note_id: str, reason: str
    ) -> CreditNote:
        """Voids a credit note that is not settled; the invoice is as it was before it.

        Raises CreditNoteNotFound, CreditNoteStateForbids, ChargeUnderWay.
        """
        async with self._database.transaction(tenant_id) as tx:
            found = await self._load(tx, tenant_id, credit_note_id)
            invoice = await locked_invoice(tx, tenant_id, found.invoice_id)
            await require_no_charge(tx, invoice)
            note = await self._load(tx, tenant_id, credit_note_id, is_locked=True)
            if note.state not in _OPEN:
                raise CreditNoteStateForbids(state=note.state.value)
            sent = await operations.find(tx, tenant_id, f"cn:{credit_note_id}")
            if sent is not None and sent.state is not OperationState.FAILED:
                raise CreditNoteStateForbids(
                    "The provider was told of it, and may have given the money back.",
                    state=note.state.value,
                )
            await self._take(tx, invoice, note, sign=-1)
            if note.state is CreditNoteState.ISSUED:
                credited = EXACT.subtract(invoice.amount_credited, note.total)
                await self._follow(tx, invoice, note, credited, f"{note.number} voided.")
            voided = replace(note, state=CreditNoteState.VOID, void_reason=reason)
            await rows.save_credit_note(tx, tenant_id, voided)
            await self._tell(tx, tenant_id, voided, before=note.state.value)
            await _audited(tx, "credit_notes.void", voided)
        return voided

    async def get_credit_note(self, tenant_id: str, credit_note_id: str) -> CreditNote:
        """Returns a credit note. Raises CreditNoteNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self._load(tx, tenant_id, credit_note_id)

    async def list_credit_notes(self, page: PageRequest) -> Page[CreditNote]:
        """Returns a page of credit notes."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_credit_notes(tx, page, self._tokens)

    async def _load(
        self, tx: Transaction, tenant_id: str, credit_note_id: str, *, is_locked: bool = False
    ) -> CreditNote:
        note = await rows.find_credit_note(tx, tenant_id, credit_note_id, is_locked=is_locked)
        if note is None:
            raise CreditNoteNotFound(credit_note_id=credit_note_id)
        return note

    async def _compose(self, tx: Transaction, invoice: Invoice, wanted: WantedCredit) -> CreditNote:
        settlement = settlement_of(invoice, wanted.settlement)
        strangers = sorted(wanted.currency_codes - {invoice.currency_code})
        if strangers:
            raise CurrencyMismatch(
                f"lines: the invoice is in {invoice.currency_code}, so are its credit notes",
                left=invoice.currency_code,
                right=strangers[0],
            )
        lines = await invoice_rows.invoice_lines(tx, invoice.tenant_id, invoice.invoice_id)
        return CreditNote(
            credit_note_id=new_id(),
            invoice_id=invoice.invoice_id,
            account_id=invoice.account_id,
            state=CreditNoteState.AWAITING_APPROVAL,
            reason=wanted.reason,
            settlement=settlement,
            currency_code=invoice.currency_code,
            lines=credited_lines(invoice, lines, wanted.lines),
            author=current_caller().subject,
            created_at=self._clock.now(),
        )

    async def _take(
        self, tx: Transaction, invoice: Invoice, note: CreditNote, *, sign: int
    ) -> None:
        """Reserves the lines' parts, so that two credit notes never take the same."""
        taken = {line.line_id: (line.amount * sign, line.tax_amount * sign) for line in note.lines}
        await invoice_rows.credit_lines(tx, invoice.tenant_id, invoice.invoice_id, taken)

    async def _issue(self, tx: Transaction, invoice: Invoice, note: CreditNote) -> CreditNote:
        """Numbers the note, lowers what is due or paid, and settles what settles at once."""
        now, tenant_id = self._clock.now(), invoice.tenant_id
        taken = await invoice_rows.next_number(tx, tenant_id, SERIES)
        is_refund = note.settlement is CreditSettlement.REFUND
        issued = replace(
            note,
            number=number_of(SERIES, tenant_id, taken),
            state=CreditNoteState.ISSUED if is_refund else CreditNoteState.SETTLED,
            settled_at=None if is_refund else now,
        )
        await rows.save_credit_note(tx, tenant_id, issued)
        credited = EXACT.add(invoice.amount_credited, note.total)
        # Of what is credited beyond the amount due, money came in: it is the customer's.
        is_due = note.settlement is CreditSettlement.REDUCE_DUE
        excess = max(EXACT.subtract(note.total, invoice.amount_due), ZERO) if is_due else note.total
        await self._follow(tx, invoice, issued, credited, f"{issued.number}: {note.reason}")
        is_balance = note.settlement is CreditSettlement.BALANCE
        if is_balance or (is_due and excess):
            account = await require_account(tx, tenant_id, invoice.account_id)
            await self._credit.grant(tx, account, _grant(issued, excess, now))
        if not is_balance and invoice.provider_invoice_id:
            # The provider's copy follows, and a refund goes through it.
            await queue_credit_note(tx, issued.credit_note_id, tenant_id=tenant_id)
        off_due = EXACT.subtract(note.total, excess)
        await self._tell(tx, tenant_id, issued, before=note.state.value, off_due=off_due)
        return issued

    async def _follow(
        self,
        tx: Transaction,
        invoice: Invoice,
        note: CreditNote,
        credited: Decimal,
        description: str,
    ) -> None:
        """Stores what is credited of the invoice, in the state that follows from it."""
        now, actor = self._clock.now(), current_caller().subject
        to = _state_after(invoice, note, credited)
        changed = replace(invoice, amount_credited=credited)
        if to is not invoice.state:
            is_settled = to in (InvoiceState.PAID, InvoiceState.CREDITED)
            await self._moves.move(
                tx,
                changed,
                to,
                actor=actor,
                description=description,
                now=now,
                kind="credit",
                next_attempt_at=None if is_settled else invoice.next_attempt_at,
            )
            return
        await invoice_rows.save_invoice(tx, replace(changed, revision=invoice.revision + 1))
        await add_event(tx, changed, kind="credit", description=description, actor=actor, now=now)

    async def _tell(
        self,
        tx: Transaction,
        tenant_id: str,
        note: CreditNote,
        *,
        before: str,
        off_due: Decimal = ZERO,
    ) -> None:
        """Tells of the note. off_due: what it lowers the amount due by, and what is owed."""
        is_new = note.state in (CreditNoteState.ISSUED, CreditNoteState.SETTLED)
        await self._journal.record(
            tx,
            BillingFact(
                kind=FactKind.CREDIT_NOTE,
                resource_id=note.credit_note_id,
                account_id=note.account_id,
                from_state=before,
                to_state=note.state.value,
                amount=Money(note.currency_code, -note.total),
                title=f"Credit note {note.number}" if is_new else "",
                invoice_id=note.invoice_id,
                balance_change=-off_due,
                occurred_at=self._clock.now(),
            ),
            tenant_id=tenant_id,
        )


def _state_after(invoice: Invoice, note: CreditNote, credited: Decimal) -> InvoiceState:
    if note.settlement is CreditSettlement.REDUCE_DUE and invoice.state in UNPAID:
        left = EXACT.subtract(EXACT.subtract(invoice.total, invoice.amount_paid), credited)
        if left > 0:
            return invoice.state
        return InvoiceState.PAID if invoice.amount_paid else InvoiceState.CREDITED
    if credited == invoice.total:
        return InvoiceState.CREDITED
    return InvoiceState.PART_CREDITED if credited else InvoiceState.PAID


def _grant(note: CreditNote, amount: Decimal, now: datetime) -> CreditGrant:
    return CreditGrant(
        credit_grant_id=new_id(),
        account_id=note.account_id,
        currency_code=note.currency_code,
        amount=amount,
        remaining=amount,
        display_name=f"Credit note {note.number}",
        start_at=now,
        created_at=now,
    )


async def _audited(tx: Transaction, action: str, note: CreditNote) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"credit-notes/{note.credit_note_id}",
        after={
            "invoice_id": note.invoice_id,
            "number": note.number,
            "state": note.state.value,
            "total": str(Money(note.currency_code, note.total)),
            "approver": note.approver,
        },
    )
