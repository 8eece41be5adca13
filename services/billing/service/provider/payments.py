"""The use cases of payments: recorded by hand, imported from statements, given back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.billing.domain.bank_statement import StatementRow, read_statement
from services.billing.domain.credit_note import CreditNoteState, CreditSettlement
from services.billing.domain.draft import numbers_in
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import UNPAID, require_state
from services.billing.domain.payment import (
    Payment,
    PaymentAttempt,
    PaymentKind,
    PaymentState,
)
from services.billing.errors import (
    CreditNoteNotFound,
    PaymentExceedsInvoice,
    PaymentNotFound,
    PaymentReferenceReused,
    RefundExceedsPayment,
    SettlementForbidden,
)
from services.billing.service.fence import require_no_charge
from services.billing.service.issuing import SERIES
from services.billing.service.journal import Journal
from services.billing.service.moving import InvoiceMoves, locked_invoice
from services.billing.service.provider.following import record_payment
from services.billing.service.provider.queue import queue_close
from services.billing.store import credit_notes
from services.billing.store import payments as rows
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.money import CurrencyMismatch, Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

PROBLEMS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Money that came in outside the provider. value_at: None for now."""

    invoice_id: str
    amount: Money
    reference: str
    value_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A row that could not be used."""

    row_number: int
    reference: str
    reason: str


@dataclass(slots=True)
class PaymentImport:
    """What a statement gave."""

    row_count: int = 0
    duplicate_count: int = 0
    payment_ids: list[str] = field(default_factory=list)
    problems: list[ImportProblem] = field(default_factory=list)


class Payments:
    """Money in, and back."""

    def __init__(
        self,
        database: Database,
        moves: InvoiceMoves,
        journal: Journal,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what it works with."""
        self._database = database
        self._moves = moves
        self._journal = journal
        self._tokens = tokens
        self._clock = clock

    async def record_payment(self, tenant_id: str, transfer: Transfer) -> Payment:
        """Records a transfer; the same reference counts once, and returns the first.

        Raises InvoiceNotFound, InvoiceStateForbids, PaymentExceedsInvoice, PaymentReferenceReused,
        ChargeUnderWay.
        """
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, transfer.invoice_id)
            payment, is_new = await self._transfer(tx, invoice, transfer)
            await audit.append(
                tx,
                action="payments.record" if is_new else "payments.repeat",
                resource=f"payments/{payment.payment_id}",
                after={
                    "invoice_id": transfer.invoice_id,
                    "amount": str(transfer.amount),
                    "reference": transfer.reference,
                },
            )
        return payment

    async def _transfer(
        self, tx: Transaction, invoice: Invoice, transfer: Transfer
    ) -> tuple[Payment, bool]:
        tenant_id, now = invoice.tenant_id, self._clock.now()
        kind, reference, amount = PaymentKind.TRANSFER, transfer.reference, transfer.amount
        known = await rows.find_by_reference(tx, tenant_id, kind, reference)
        if known is not None:
            if (known.invoice_id, known.amount) != (invoice.invoice_id, amount):
                raise PaymentReferenceReused(
                    reference=reference, invoice_id=known.invoice_id, amount=known.amount
                )
            return known, False
        require_state(invoice.state, UNPAID, wanted="take a payment")
        await require_no_charge(tx, invoice)
        due = Money(invoice.currency_code, invoice.amount_due)
        if amount.currency_code != due.currency_code:
            raise CurrencyMismatch(
                f"payment.amount: the invoice is in {due.currency_code}; record what came in of it",
                left=due.currency_code,
                right=amount.currency_code,
            )
        if (due - amount).amount < 0:
            raise PaymentExceedsInvoice(due=due, amount=amount)
        payment = Payment(
            payment_id=new_id(),
            account_id=invoice.account_id,
            invoice_id=invoice.invoice_id,
            kind=kind,
            state=PaymentState.SUCCEEDED,
            amount=amount,
            reference=reference,
            value_at=transfer.value_at or now,
            created_at=now,
            provider="offline",
        )
        await rows.add_payment(tx, tenant_id, payment)
        await record_payment(tx, self._journal, invoice, payment)
        await self._moves.settle(
            tx,
            invoice,
            amount.amount,
            actor=current_caller().subject,
            description="A transfer came in.",
            now=now,
        )
        # The provider must not collect what came in elsewhere.
        await queue_close(tx, invoice.invoice_id)
        return payment, True

    async def import_payments(self, tenant_id: str, content: bytes, kind: str) -> PaymentImport:
        """Settles the invoices whose numbers a statement names; each reference counts once.

        The same file may come again: rows that had a problem are tried anew.

        Raises InvalidStatement.
        """
        statement = read_statement(content, kind)
        digest = hashlib.sha256(content).hexdigest()
        result = PaymentImport(row_count=len(statement))
        async with self._database.transaction(tenant_id) as tx:
            named = {number for row in statement for number in numbers_in(row.text, SERIES)}
            payable = await rows.payable_numbers(tx, tenant_id, named)
            for row in statement:
                await self._import_row(tx, tenant_id, payable, row, result)
            await audit.append(
                tx,
                action="payments.import",
                resource=f"payment-imports/{digest[:16]}",
                after={"rows": result.row_count, "payments": len(result.payment_ids)},
            )
        return result

    async def _import_row(
        self,
        tx: Transaction,
        tenant_id: str,
        payable: dict[str, str],
        row: StatementRow,
        result: PaymentImport,
    ) -> None:
        named = [number for number in numbers_in(row.text, SERIES) if number in payable]
        if not row.reference or len(named) != 1:
            reason = "It names no open invoice." if not named else "It names several invoices."
            if not row.reference:
                reason = "It has no reference of the bank's."
            self._problem(result, row, reason)
            return
        try:
            async with tx.savepoint():
                invoice = await locked_invoice(tx, tenant_id, payable[named[0]])
                transfer = Transfer(
                    invoice_id=invoice.invoice_id,
                    amount=row.amount,
                    reference=row.reference,
                    value_at=row.value_at,
                )
                payment, is_new = await self._transfer(tx, invoice, transfer)
        except Error as error:
            self._problem(result, row, error.message)
            return
        if is_new:
            result.payment_ids.append(payment.payment_id)
        else:
            result.duplicate_count += 1

    def _problem(self, result: PaymentImport, row: StatementRow, reason: str) -> None:
        if len(result.problems) < PROBLEMS_MAX:
            result.problems.append(ImportProblem(row.row_number, row.reference, reason))

    async def refund_payment(
        self, tenant_id: str, payment_id: str, credit_note_id: str, amount: Money | None
    ) -> Payment:
        """Records that a transfer went back; a charge goes back with its credit note by itself.

        Returns the refund. Raises PaymentNotFound, CreditNoteNotFound, SettlementForbidden,
        RefundExceedsPayment, CurrencyMismatch.
        """
        async with self._database.transaction(tenant_id) as tx:
            note = await credit_notes.find_credit_note(
                tx, tenant_id, credit_note_id, is_locked=True
            )
            if note is None:
                raise CreditNoteNotFound(credit_note_id=credit_note_id)
            payment = await rows.find_payment(tx, tenant_id, payment_id)
            if payment is None or payment.kind is PaymentKind.REFUND:
                raise PaymentNotFound(payment_id=payment_id)
            wanted = Money(note.currency_code, note.total) if amount is None else amount
            if wanted.currency_code != note.currency_code:
                raise CurrencyMismatch(
                    f"amount: the credit note is in {note.currency_code}, so is its refund",
                    left=note.currency_code,
                    right=wanted.currency_code,
                )
            known = await rows.find_by_reference(tx, tenant_id, PaymentKind.REFUND, credit_note_id)
            if known is None:
                if note.settlement is not CreditSettlement.REFUND:
                    raise SettlementForbidden(settlement=note.settlement.value)
                if wanted.amount != note.total or wanted.amount > payment.refundable:
                    raise RefundExceedsPayment(
                        refundable=payment.refundable, credit_note_total=note.total
                    )
                if payment.kind is PaymentKind.CHARGE or note.state is not CreditNoteState.ISSUED:
                    raise SettlementForbidden(
                        "The refund of this charge goes through the provider, with its credit"
                        " note; it is on its way."
                    )
                known = await self._give_back(tx, tenant_id, payment, note.credit_note_id, wanted)
                settled = replace(note, state=CreditNoteState.SETTLED, settled_at=self._clock.now())
                await credit_notes.save_credit_note(tx, tenant_id, settled)
            await audit.append(
                tx,
                action="payments.refund",
                resource=f"payments/{payment_id}",
                after={"refund": known.payment_id, "credit_note_id": credit_note_id},
            )
        return known

    async def _give_back(
        self,
        tx: Transaction,
        tenant_id: str,
        payment: Payment,
        credit_note_id: str,
        amount: Money,
    ) -> Payment:
        now = self._clock.now()
        refund = Payment(
            payment_id=new_id(),
            account_id=payment.account_id,
            invoice_id=payment.invoice_id,
            kind=PaymentKind.REFUND,
            state=PaymentState.SUCCEEDED,
            amount=amount,
            reference=credit_note_id,
            value_at=now,
            created_at=now,
            provider="offline",
            refund_of=payment.payment_id,
            credit_note_id=credit_note_id,
        )
        await rows.add_payment(tx, tenant_id, refund)
        await rows.add_refunded(tx, tenant_id, payment.payment_id, amount.amount)
        invoice = await locked_invoice(tx, tenant_id, payment.invoice_id)
        await record_payment(tx, self._journal, invoice, refund)
        return refund

    async def list_payments(self, page: PageRequest) -> Page[Payment]:
        """Returns a page of payments and refunds."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_payments(tx, page, self._tokens)

    async def list_payment_attempts(self, page: PageRequest) -> Page[PaymentAttempt]:
        """Returns a page of attempts."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_attempts(tx, page, self._tokens)
