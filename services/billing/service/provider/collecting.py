"""Charges open invoices: one attempt at a time, on the account's own schedule, each charge once."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.billing.domain.account import DunningEnd
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import COLLECTIBLE, InvoiceState, require_state
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.operation import Step
from services.billing.domain.payment import (
    AttemptState,
    Payment,
    PaymentAttempt,
    PaymentKind,
    PaymentState,
    is_retryable,
    next_attempt_at,
)
from services.billing.domain.provider import RemoteInvoice, RemotePayment, RemoteState
from services.billing.service.credits import Credits
from services.billing.service.journal import Journal
from services.billing.service.moving import SYSTEM, InvoiceMoves, add_event, locked_invoice
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.pushing import Amnesia, account_of
from services.billing.service.provider.queue import queue_collect, subject_of
from services.billing.service.provider.steps import StepRefused, Steps, StepWaits
from services.billing.service.releasing import release_billed
from services.billing.store import payment_methods, payments
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.transaction import Transaction

AFTER_LAST = "No attempt is left on the schedule."
PARTLY_PAID = (
    "The provider asks for another amount than is due here, because a part came in elsewhere;"
    " let the rest come in the same way, or void the invoice and issue one of the rest."
)


class Collecting:
    """Collects what is due, and records what came in."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        moves: InvoiceMoves,
        journal: Journal,
        *,
        credit: Credits,
        clock: Clock,
    ) -> None:
        """Takes what it works with."""
        self._database = database
        self._providers = providers
        self._steps = steps
        self._moves = moves
        self._journal = journal
        self._credit = credit
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Charges the invoice that the job names, or learns how its running attempt ended."""
        tenant_id, invoice_id = subject_of(job)
        attempt = await self._begin(tenant_id, invoice_id)
        if attempt is None:
            return
        try:
            await self._charge(tenant_id, attempt)
        except StepWaits as wait:
            async with self._database.transaction(tenant_id) as tx:
                await queue_collect(tx, invoice_id, delay=max(wait.delay, timedelta(seconds=0.1)))

    async def begin_manual(
        self, tx: Transaction, invoice: Invoice, *, payment_method_id: str = ""
    ) -> PaymentAttempt:
        """Begins an attempt that somebody asked for, which does not advance the schedule.

        invoice: locked. A running attempt is returned instead of a second one.
        Raises InvoiceStateForbids.
        """
        running = await payments.running_attempt(tx, invoice.tenant_id, invoice.invoice_id)
        if running is not None:
            return running
        require_state(invoice.state, COLLECTIBLE, wanted="charge")
        attempt = await self._attempt(tx, invoice, 0, payment_method_id=payment_method_id)
        await queue_collect(tx, invoice.invoice_id)
        return attempt

    async def _begin(self, tenant_id: str, invoice_id: str) -> PaymentAttempt | None:
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            running = await payments.running_attempt(tx, tenant_id, invoice_id)
            if running is not None:
                return running
            due_at = invoice.next_attempt_at
            if invoice.state not in COLLECTIBLE or due_at is None or due_at > self._clock.now():
                return None
            return await self._attempt(tx, invoice, invoice.attempt_count + 1)

    async def _attempt(
        self, tx: Transaction, invoice: Invoice, number: int, *, payment_method_id: str = ""
    ) -> PaymentAttempt:
        """Writes the attempt down before it is made, so that it cannot be miscounted."""
        if not payment_method_id:
            default = await payment_methods.default_method(
                tx, invoice.tenant_id, invoice.account_id
            )
            payment_method_id = "" if default is None else default.payment_method_id
        attempt = PaymentAttempt(
            attempt_id=new_id(),
            invoice_id=invoice.invoice_id,
            attempt_number=number,
            state=AttemptState.STARTED,
            amount=Money(invoice.currency_code, invoice.amount_due),
            attempted_at=self._clock.now(),
            payment_method_id=payment_method_id,
        )
        await payments.add_attempt(tx, invoice.tenant_id, attempt)
        return attempt

    async def _charge(self, tenant_id: str, attempt: PaymentAttempt) -> None:
        opened = await self._providers.of(tenant_id)
        async with self._database.read(tenant_id) as tx:
            method = await payment_methods.find_method(tx, tenant_id, attempt.payment_method_id)
            found = await payment_methods.provider_invoice(tx, tenant_id, attempt.invoice_id)
        method_id = "" if method is None else method.provider_payment_method_id
        provider = opened.provider

        async def send(key: str) -> str:
            async with opened.turn():
                remote = await provider.collect(key, found, method_id=method_id)
            return remote.provider_invoice_id

        async def ask(_: datetime) -> str | None:
            async with opened.turn():
                remote = await provider.fetch_invoice(found)
            if remote is None:
                raise Amnesia(f"{found} is gone at the provider")
            return found if remote.state is RemoteState.PAID else None

        key = f"inv:{attempt.invoice_id}:pay:{attempt.attempt_id}"
        try:
            await require_same_amount(opened, found, attempt, key)
            await self._steps.perform(
                tenant_id,
                key,
                Step.PAY,
                provider=opened.name,
                request=f"{found} {method_id} {attempt.amount}",
                send=send,
                ask=ask,
                invoice_id=attempt.invoice_id,
            )
        except StepRefused as refused:
            await self._failed(tenant_id, attempt, refused)
            return
        except Amnesia as gone:
            await self._forgotten(tenant_id, attempt, str(gone))
            return
        async with opened.turn():
            remote = await provider.fetch_invoice(found)
        if remote is not None:
            await self.learn(tenant_id, attempt.invoice_id, opened, remote)

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

    async def _failed(self, tenant_id: str, attempt: PaymentAttempt, refused: StepRefused) -> None:
        """Plans the next attempt, or ends the schedule as the account says."""
        now = self._clock.now()
        code = refused.decline_code
        needs_action = code == "authentication_required"
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, attempt.invoice_id)
            account = await account_of(tx, invoice)
            made = max(invoice.attempt_count, attempt.attempt_number)
            can_retry = bool(code) and is_retryable(code) and not needs_action
            following = None
            if can_retry and invoice.issued_at is not None:
                days = account.dunning.attempt_days
                following = next_attempt_at(invoice.issued_at, days, made)
            state = AttemptState.DECLINED if code else AttemptState.ERROR
            await payments.end_attempt(
                tx,
                tenant_id,
                attempt.attempt_id,
                AttemptState.ACTION_REQUIRED if needs_action else state,
                decline_code=code,
                retryable=can_retry,
                next_attempt_at=following,
            )
            # What somebody asked for and the provider cannot do says nothing about the payer.
            is_idle = not code and attempt.attempt_number == 0
            if is_idle or invoice.state not in COLLECTIBLE:
                return
            is_last = made >= len(account.dunning.attempt_days)
            ends = is_last and account.dunning.end_action is not DunningEnd.KEEP
            await self._unpaid(
                tx, invoice, refused.text, made=made, following=following, ends=ends, now=now
            )

    async def _unpaid(
        self,
        tx: Transaction,
        invoice: Invoice,
        text: str,
        *,
        made: int,
        following: datetime | None,
        ends: bool,
        now: datetime,
    ) -> None:
        description = f"A charge failed: {text}"[:500]
        if invoice.state is InvoiceState.OPEN:
            invoice = await self._moves.move(
                tx,
                invoice,
                InvoiceState.PAST_DUE,
                actor=SYSTEM,
                description=description,
                now=now,
                kind="payment",
                attempt_count=made,
                next_attempt_at=following,
            )
        else:
            await payments.set_schedule(tx, invoice.tenant_id, invoice.invoice_id, made, following)
            await add_event(
                tx, invoice, kind="payment", description=description, actor=SYSTEM, now=now
            )
        if ends:
            await self._moves.move(
                tx,
                invoice,
                InvoiceState.UNCOLLECTIBLE,
                actor=SYSTEM,
                description=AFTER_LAST,
                now=now,
                attempt_count=made,
                next_attempt_at=None,
            )

    async def _forgotten(self, tenant_id: str, attempt: PaymentAttempt, text: str) -> None:
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, attempt.invoice_id)
            await payments.end_attempt(tx, tenant_id, attempt.attempt_id, AttemptState.ERROR)
            await self._moves.move(
                tx,
                invoice,
                InvoiceState.BLOCKED,
                actor=SYSTEM,
                description="The payment provider has lost it; a person must look.",
                now=self._clock.now(),
                block_reason=text,
                next_attempt_at=None,
            )


async def require_same_amount(
    opened: Opened, provider_invoice_id: str, attempt: PaymentAttempt, key: str
) -> None:
    """Raises StepRefused where a charge would take another amount than is due here.

    A provider charges all that its own copy asks for, and knows nothing of transfers.
    """
    async with opened.turn():
        remote = await opened.provider.fetch_invoice(provider_invoice_id)
    if remote is None or remote.state is not RemoteState.OPEN:
        return
    if remote.amount_due != attempt.amount.amount:
        raise StepRefused(key, PARTLY_PAID)


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
