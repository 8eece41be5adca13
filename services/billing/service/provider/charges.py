"""Follows what becomes of money after it was taken: disputes, refunds, credit notes made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.billing.domain.credit_note import CreditNoteState
from services.billing.domain.invoice_record import ZERO, Invoice
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.payment import Payment, PaymentKind, PaymentState
from services.billing.domain.provider import (
    DisputeState,
    RemoteCharge,
    RemoteCredit,
    RemoteRefund,
)
from services.billing.service.journal import Journal
from services.billing.service.moving import SYSTEM, add_event, locked_invoice
from services.billing.service.provider.following import record_payment
from services.billing.service.provider.providers import Opened
from services.billing.store import credit_notes, operations, payments
from services.billing.store.invoice_events import has_event
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.money import Money
from services.kernel.transaction import Transaction

_STATES = {
    DisputeState.OPEN: (PaymentState.DISPUTED, "The payer disputes the payment of invoice {}."),
    DisputeState.WON: (PaymentState.SUCCEEDED, "The dispute over invoice {} was won."),
    DisputeState.LOST: (PaymentState.FAILED, "The dispute over invoice {} was lost."),
}
MADE_THERE = "Refunded at the provider; issue a credit note that is settled out of band."
CREDITED_THERE = "Credited at the provider by {}; issue a credit note for it here."
VOIDED_THERE = "The provider's copy of {} was voided there; look which of the two is right."


class NotYet(Exception):
    """The object is ours, and what it is about is not there yet."""


class ChargeEvents:
    """Makes payments what their charges have become."""

    def __init__(self, database: Database, journal: Journal, *, clock: Clock) -> None:
        """Takes the journal, which tells the account's time line."""
        self._database = database
        self._journal = journal
        self._clock = clock

    async def follow(self, opened: Opened, charge: RemoteCharge) -> bool:
        """Records a charge's dispute and refunds, each once; False for a foreign charge.

        Raises NotYet where the payment, or the credit note of a refund, is on its way.
        """
        async with self._database.system_transaction() as tx:
            owner = await payments.owner_of(tx, opened.name, charge.payment_ids)
            is_ours = owner is not None or await operations.is_object(
                tx, opened.name, charge.customer_id
            )
        if owner is None:
            if is_ours:
                raise NotYet("the payment of the charge is not recorded yet")
            return False
        tenant_id, invoice_id, payment_id = owner
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            payment = await payments.find_payment(tx, tenant_id, payment_id)
            if payment is not None:
                await self._dispute(tx, invoice, payment, charge.dispute)
                for refund in charge.refunds:
                    await self._refund(tx, invoice, payment, refund)
        return True

    async def _dispute(
        self, tx: Transaction, invoice: Invoice, payment: Payment, dispute: DisputeState | None
    ) -> None:
        """Follows a dispute. One that is lost is owed again; a person decides what then."""
        if dispute is None or payment.state is PaymentState.FAILED:
            return
        state, text = _STATES[dispute]
        if payment.state is state:
            return
        now, amount = self._clock.now(), payment.amount
        await payments.set_state(tx, invoice.tenant_id, payment.payment_id, state)
        title = text.format(invoice.number)
        is_lost = dispute is DisputeState.LOST
        fact = BillingFact(
            kind=FactKind.PAYMENT,
            resource_id=payment.payment_id,
            from_state=payment.state.value,
            to_state=state.value,
            occurred_at=now,
            account_id=payment.account_id,
            amount=amount if is_lost else None,
            title=title.removesuffix("."),
            invoice_id=invoice.invoice_id,
            balance_change=amount.amount if is_lost else ZERO,
        )
        await self._journal.record(tx, fact, tenant_id=invoice.tenant_id)
        await self._tell(tx, invoice, title, now)

    async def _refund(
        self, tx: Transaction, invoice: Invoice, payment: Payment, refund: RemoteRefund
    ) -> None:
        tenant_id, now = invoice.tenant_id, self._clock.now()
        known = await payments.find_there(tx, tenant_id, refund.provider_refund_id)
        if known is not None:
            if refund.has_failed and known.state is not PaymentState.FAILED:
                await self._came_back(tx, invoice, payment, known, now)
            return
        if refund.has_failed:
            return
        if await credit_notes.awaits_refund(tx, tenant_id, invoice.invoice_id):
            raise NotYet("the refund may be that of a credit note on its way")
        made = Payment(
            payment_id=new_id(),
            account_id=payment.account_id,
            invoice_id=invoice.invoice_id,
            kind=PaymentKind.REFUND,
            state=PaymentState.SUCCEEDED,
            amount=Money(payment.amount.currency_code, refund.amount),
            reference=refund.provider_refund_id,
            value_at=refund.created_at,
            created_at=now,
            provider=payment.provider,
            provider_payment_id=refund.provider_refund_id,
            refund_of=payment.payment_id,
        )
        await payments.add_payment(tx, tenant_id, made)
        await payments.add_refunded(tx, tenant_id, payment.payment_id, refund.amount)
        await record_payment(tx, self._journal, invoice, made)
        await self._tell(tx, invoice, MADE_THERE, now)

    async def _came_back(
        self, tx: Transaction, invoice: Invoice, payment: Payment, refund: Payment, now: datetime
    ) -> None:
        """Takes a refund back that did not arrive; its credit note waits for another."""
        tenant_id, amount = invoice.tenant_id, refund.amount
        await payments.set_state(tx, tenant_id, refund.payment_id, PaymentState.FAILED)
        await payments.add_refunded(tx, tenant_id, payment.payment_id, -amount.amount)
        fact = BillingFact(
            kind=FactKind.REFUND,
            resource_id=refund.payment_id,
            from_state=refund.state.value,
            to_state=PaymentState.FAILED.value,
            occurred_at=now,
            account_id=refund.account_id,
            amount=-amount,
            title=f"Refund of invoice {invoice.number} failed",
            invoice_id=invoice.invoice_id,
            balance_change=-amount.amount,
        )
        await self._journal.record(tx, fact, tenant_id=tenant_id)
        if refund.credit_note_id:
            note = await credit_notes.find_credit_note(
                tx, tenant_id, refund.credit_note_id, is_locked=True
            )
            if note is not None:
                waits = replace(note, state=CreditNoteState.ISSUED, settled_at=None)
                await credit_notes.save_credit_note(tx, tenant_id, waits)
        await self._tell(tx, invoice, "A refund failed; the money is here again.", now)

    async def follow_credits(
        self, tenant_id: str, invoice_id: str, credits_there: Sequence[RemoteCredit]
    ) -> None:
        """Tells on an invoice, once each, of credit notes that only the provider has or voided."""
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            for there in credits_there:
                text = await self._difference(tx, tenant_id, there)
                key = f"{there.provider_credit_id}:{'void' if there.is_void else 'made'}"
                if text and not await has_event(tx, tenant_id, invoice_id, key):
                    await self._tell(tx, invoice, text, self._clock.now(), key)

    async def _difference(self, tx: Transaction, tenant_id: str, there: RemoteCredit) -> str:
        """Returns what is to be told of the provider's credit note, "" where the two agree."""
        if not there.credit_note_id:
            return "" if there.is_void else CREDITED_THERE.format(there.provider_credit_id)
        ours = await credit_notes.find_credit_note(tx, tenant_id, there.credit_note_id)
        if ours is None:
            return CREDITED_THERE.format(there.provider_credit_id)
        is_wrong = there.is_void and ours.state is not CreditNoteState.VOID
        return VOIDED_THERE.format(ours.number) if is_wrong else ""

    async def _tell(
        self, tx: Transaction, invoice: Invoice, text: str, now: datetime, key: str = ""
    ) -> None:
        await add_event(
            tx,
            invoice,
            kind="payment",
            description=text,
            actor=SYSTEM,
            now=now,
            operation_key=key,
        )
