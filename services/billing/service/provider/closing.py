"""Tells the provider what was decided here: void, paid elsewhere, credited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.billing.domain.credit_note import CreditNote, CreditNoteState, CreditSettlement
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.operation import Step
from services.billing.domain.payment import Payment, PaymentKind, PaymentState
from services.billing.domain.provider import ProviderKind, PushedCredit, RemoteState
from services.billing.service.journal import Journal
from services.billing.service.moving import SYSTEM, add_event, locked_invoice
from services.billing.service.provider.collecting import CREDIT_PAUSE
from services.billing.service.provider.following import record_payment
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.queue import queue_close, queue_credit_note, subject_of
from services.billing.service.provider.steps import StepRefused, Steps, StepWaits
from services.billing.store import credit_notes, invoices, payments
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.transaction import Transaction

WAIT_MIN = timedelta(seconds=0.1)
SENT = (CreditNoteState.ISSUED, CreditNoteState.SETTLED)
# Nothing is due of it, whatever is credited after it was paid.
SETTLED = (InvoiceState.PAID, InvoiceState.PART_CREDITED, InvoiceState.CREDITED)


class Closing:
    """What happens to an invoice at the provider after it was opened."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        journal: Journal,
        *,
        clock: Clock,
    ) -> None:
        """Takes what it works with."""
        self._database = database
        self._providers = providers
        self._steps = steps
        self._journal = journal
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Voids the invoice that the job names, or marks it as paid, as ours is."""
        tenant_id, invoice_id = subject_of(job)
        async with self._database.read(tenant_id) as tx:
            invoice = await invoices.find_invoice(tx, tenant_id, invoice_id)
        wanted = (InvoiceState.VOID, *SETTLED)
        if invoice is None or not invoice.provider_invoice_id or invoice.state not in wanted:
            return
        await self._waiting(
            invoice,
            lambda: self._close(invoice),
            lambda tx, delay: queue_close(tx, invoice_id, delay=delay),
        )

    async def _close(self, invoice: Invoice) -> None:
        opened = await self._providers.of(invoice.tenant_id)
        provider, there = opened.provider, invoice.provider_invoice_id
        is_void = invoice.state is InvoiceState.VOID
        wanted = RemoteState.VOID if is_void else RemoteState.PAID
        key = f"inv:{invoice.invoice_id}:{'void' if is_void else 'settle'}"
        if not is_void:
            async with self._database.read(invoice.tenant_id) as tx:
                is_unsent = await credit_notes.has_unsent(tx, invoice.tenant_id, invoice.invoice_id)
            if is_unsent:
                # The provider takes no credit note for what is settled.
                raise StepWaits(key, CREDIT_PAUSE)

        async def send(key: str) -> str:
            async with opened.turn():
                remote = await (
                    provider.void(key, there) if is_void else provider.settle(key, there)
                )
            return remote.provider_invoice_id

        async def ask(_: datetime) -> str | None:
            async with opened.turn():
                remote = await provider.fetch_invoice(there)
            return there if remote is not None and remote.state is wanted else None

        await self._steps.perform(
            invoice.tenant_id,
            key,
            Step.VOID if is_void else Step.SETTLE,
            provider=opened.name,
            request=there,
            send=send,
            ask=ask,
            invoice_id=invoice.invoice_id,
        )

    async def run_credit(self, job: Job) -> None:
        """Makes the credit note that the job names at the provider."""
        tenant_id, credit_note_id = subject_of(job)
        async with self._database.read(tenant_id) as tx:
            note = await credit_notes.find_credit_note(tx, tenant_id, credit_note_id)
            invoice = (
                None
                if note is None
                else await invoices.find_invoice(tx, tenant_id, note.invoice_id)
            )
        if note is None or invoice is None or not invoice.provider_invoice_id:
            return
        if note.state not in SENT:
            return
        await self._waiting(
            invoice,
            lambda: self._credit(invoice, note),
            lambda tx, delay: queue_credit_note(tx, credit_note_id, delay=delay),
        )

    async def _credit(self, invoice: Invoice, note: CreditNote) -> None:
        opened = await self._providers.of(invoice.tenant_id)
        provider = opened.provider
        pushed = PushedCredit(
            tenant_id=invoice.tenant_id,
            credit_note_id=note.credit_note_id,
            provider_invoice_id=invoice.provider_invoice_id,
            currency_code=note.currency_code,
            total=note.total,
            settlement=note.settlement.value,
            reason=note.reason,
        )

        async def send(key: str) -> str:
            async with opened.turn():
                made = await provider.credit(key, pushed)
            return f"{made.provider_credit_id} {made.refund_id}"

        async def ask(_: datetime) -> str | None:
            async with opened.turn():
                found = await provider.find_credit(pushed)
            return None if found is None else f"{found.provider_credit_id} {found.refund_id}"

        key, request = f"cn:{note.credit_note_id}", f"{note.total} {note.settlement.value}"
        if not await self._begun(invoice, note, opened, key, request):
            return
        made = await self._steps.perform(
            invoice.tenant_id,
            key,
            Step.CREDIT,
            provider=opened.name,
            request=request,
            send=send,
            ask=ask,
            invoice_id=invoice.invoice_id,
        )
        is_refund = note.settlement is CreditSettlement.REFUND
        if is_refund and opened.settings.kind is ProviderKind.STRIPE:
            refund_id = made.partition(" ")[2] or made
            async with self._database.transaction(invoice.tenant_id) as tx:
                await self._refunded(tx, invoice, note, opened, refund_id)
        if note.settlement is CreditSettlement.REDUCE_DUE:
            await self._settled(invoice)

    async def _settled(self, invoice: Invoice) -> None:
        """Has the provider's copy, of which a part was paid elsewhere, closed once nothing is due.

        Only now that it has the credit, which it does not take for what is settled.
        """
        async with self._database.transaction(invoice.tenant_id) as tx:
            found = await locked_invoice(tx, invoice.tenant_id, invoice.invoice_id)
            if found.state in SETTLED and found.amount_paid:
                await queue_close(tx, invoice.invoice_id)

    async def _begun(
        self, invoice: Invoice, note: CreditNote, opened: Opened, key: str, request: str
    ) -> bool:
        """Writes the step down while nobody voids the note; False where somebody has."""
        tenant_id = invoice.tenant_id
        async with self._database.transaction(tenant_id) as tx:
            await locked_invoice(tx, tenant_id, invoice.invoice_id)
            found = await credit_notes.find_credit_note(
                tx, tenant_id, note.credit_note_id, is_locked=True
            )
            if found is None or found.state not in SENT:
                return False
            await self._steps.begin(
                *(tx, key, Step.CREDIT),
                provider=opened.name,
                request=request,
                invoice_id=invoice.invoice_id,
            )
        return True

    async def _refunded(
        self, tx: Transaction, invoice: Invoice, note: CreditNote, opened: Opened, refund_id: str
    ) -> None:
        """Records that the money went back, once."""
        tenant_id, now = invoice.tenant_id, self._clock.now()
        await locked_invoice(tx, tenant_id, invoice.invoice_id)
        taken = await payments.payments_of_invoice(tx, tenant_id, invoice.invoice_id)
        charge = next(
            (
                each
                for each in taken
                if each.kind is PaymentKind.CHARGE and each.refundable >= note.total
            ),
            None,
        )
        refund = Payment(
            payment_id=new_id(),
            account_id=invoice.account_id,
            invoice_id=invoice.invoice_id,
            kind=PaymentKind.REFUND,
            state=PaymentState.SUCCEEDED,
            amount=Money(note.currency_code, note.total),
            reference=note.credit_note_id,
            value_at=now,
            created_at=now,
            provider=opened.name,
            provider_payment_id=refund_id,
            refund_of="" if charge is None else charge.payment_id,
            credit_note_id=note.credit_note_id,
        )
        if await payments.add_payment(tx, tenant_id, refund):
            if charge is not None:
                await payments.add_refunded(tx, tenant_id, charge.payment_id, note.total)
            settled = replace(note, state=CreditNoteState.SETTLED, settled_at=now)
            await credit_notes.save_credit_note(tx, tenant_id, settled)
            await record_payment(tx, self._journal, invoice, refund)

    async def _waiting(
        self,
        invoice: Invoice,
        work: Callable[[], Awaitable[None]],
        later: Callable[[Transaction, timedelta], Awaitable[None]],
    ) -> None:
        """Does the work, queues it anew where its outcome is unknown, and tells of a refusal."""
        try:
            await work()
        except StepWaits as wait:
            async with self._database.transaction(invoice.tenant_id) as tx:
                await later(tx, max(wait.delay, WAIT_MIN))
        except StepRefused as refused:
            async with self._database.transaction(invoice.tenant_id) as tx:
                await add_event(
                    tx,
                    invoice,
                    kind="provider",
                    description=f"The payment provider refused: {refused.text}"[:500],
                    actor=SYSTEM,
                    now=self._clock.now(),
                    operation_key=refused.operation_key,
                )
