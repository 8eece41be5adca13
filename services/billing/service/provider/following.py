"""Makes ours what the provider's invoice says, where that is further along."""

from __future__ import annotations

from datetime import datetime

from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import COLLECTIBLE, InvoiceState
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.payment import AttemptState, Payment, PaymentKind, PaymentState
from services.billing.domain.provider import RemoteInvoice, RemotePayment, RemoteState
from services.billing.service.credits import Credits
from services.billing.service.journal import Journal
from services.billing.service.moving import SYSTEM, InvoiceMoves, locked_invoice
from services.billing.service.provider.providers import Opened
from services.billing.service.provider.queue import queue_collect
from services.billing.service.releasing import release_billed
from services.billing.store import payments
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.money import Money
from services.kernel.transaction import Transaction


class Following:
    """Follows invoices that were paid or voided at the provider."""

    def __init__(
        self,
        database: Database,
        moves: InvoiceMoves,
        journal: Journal,
        *,
        credit: Credits,
        clock: Clock,
    ) -> None:
        """credit: gives back what a voided invoice had used."""
        self._database = database
        self._moves = moves
        self._journal = journal
        self._credit = credit
        self._clock = clock

    async def learn(
        self, tenant_id: str, invoice_id: str, opened: Opened, remote: RemoteInvoice
    ) -> bool:
        """Makes ours what the provider's invoice says, where that is further along.

        Called after a charge, for a webhook and by reconciliation: all three may come at once, in
        any order, twice. Returns whether anything changed.
        """
        taken: list[RemotePayment] = []
        if remote.state is RemoteState.PAID and not remote.paid_out_of_band:
            async with opened.turn():
                taken = list(await opened.provider.payments_of(remote.provider_invoice_id))
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            if invoice.provider_invoice_id != remote.provider_invoice_id:
                return False
            changed = await self._add_payments(tx, invoice, taken, opened.name, now)
            running = await payments.running_attempt(tx, tenant_id, invoice_id)
            if running is not None and remote.state is RemoteState.PAID:
                await payments.end_attempt(
                    tx, tenant_id, running.attempt_id, AttemptState.SUCCEEDED
                )
            if running is not None and remote.state is RemoteState.OPEN:
                # The bank may have said no: whoever charged asks what became of it.
                await queue_collect(tx, invoice_id)
            return await self._follow(tx, invoice, remote, now) or changed

    async def _follow(
        self, tx: Transaction, invoice: Invoice, remote: RemoteInvoice, now: datetime
    ) -> bool:
        payable = (*COLLECTIBLE, InvoiceState.PROCESSING, InvoiceState.UNCOLLECTIBLE)
        if invoice.state not in payable:
            return False
        if remote.state is RemoteState.PAID and remote.total == invoice.total:
            attempts = await payments.attempts_made(tx, invoice.tenant_id, invoice.invoice_id)
            await self._moves.settle(
                tx,
                invoice,
                invoice.amount_due,
                actor=SYSTEM,
                description="Paid through the payment provider.",
                now=now,
            )
            await payments.set_attempt_count(tx, invoice.tenant_id, invoice.invoice_id, attempts)
            return True
        if remote.state is RemoteState.VOID and invoice.state is not InvoiceState.PROCESSING:
            await release_billed(tx, self._credit, invoice.tenant_id, invoice.invoice_id)
            await self._moves.move(
                tx,
                invoice,
                InvoiceState.VOID,
                actor=SYSTEM,
                description="Voided at the payment provider.",
                now=now,
                void_reason="Voided at the payment provider.",
                next_attempt_at=None,
            )
            return True
        return False

    async def _add_payments(
        self,
        tx: Transaction,
        invoice: Invoice,
        taken: list[RemotePayment],
        provider: str,
        now: datetime,
    ) -> bool:
        running = await payments.running_attempt(tx, invoice.tenant_id, invoice.invoice_id)
        changed = False
        for remote in taken:
            payment = Payment(
                payment_id=new_id(),
                account_id=invoice.account_id,
                invoice_id=invoice.invoice_id,
                kind=PaymentKind.CHARGE,
                state=PaymentState.SUCCEEDED,
                amount=Money(remote.currency_code, remote.amount),
                reference=remote.provider_payment_id,
                value_at=remote.paid_at or now,
                created_at=now,
                fee=remote.fee,
                payment_method_id="" if running is None else running.payment_method_id,
                provider=provider,
                provider_payment_id=remote.provider_payment_id,
            )
            if await payments.add_payment(tx, invoice.tenant_id, payment):
                changed = True
                await record_payment(tx, self._journal, invoice, payment)
        return changed


async def record_payment(
    tx: Transaction, journal: Journal, invoice: Invoice, payment: Payment
) -> None:
    """Tells the feed and the account's time line of money that came in or went back."""
    is_refund = payment.kind is PaymentKind.REFUND
    amount = payment.amount
    await journal.record(
        tx,
        BillingFact(
            kind=FactKind.REFUND if is_refund else FactKind.PAYMENT,
            resource_id=payment.payment_id,
            to_state=payment.state.value,
            occurred_at=payment.created_at,
            account_id=payment.account_id,
            amount=-amount if not is_refund else amount,
            title=f"{'Refund of' if is_refund else 'Payment for'} invoice {invoice.number}",
            invoice_id=invoice.invoice_id,
            balance_change=amount.amount if is_refund else -amount.amount,
        ),
        tenant_id=invoice.tenant_id,
    )
