"""Charges open invoices: one attempt at a time, on the account's own schedule, each charge once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.billing.domain.account import DunningEnd
from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import COLLECTIBLE, InvoiceState, require_state
from services.billing.domain.operation import Step
from services.billing.domain.payment import (
    AttemptState,
    PaymentAttempt,
    is_retryable,
    next_attempt_at,
)
from services.billing.domain.provider import ProviderKind, RemoteState
from services.billing.service.moving import SYSTEM, InvoiceMoves, add_event, locked_invoice
from services.billing.service.provider.following import Following
from services.billing.service.provider.port import Refused
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.pushing import Amnesia, account_of
from services.billing.service.provider.queue import queue_collect, subject_of
from services.billing.service.provider.steps import StepRefused, Steps, StepWaits
from services.billing.store import credit_notes, payment_methods, payments
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.transaction import Transaction

CREDIT_PAUSE = timedelta(seconds=2)  # what the provider takes for a credit note, about
LATE_PAUSE = timedelta(days=1)  # a debit that failed after days is not tried again at once
AFTER_LAST = "No attempt is left on the schedule."
NO_CARDS = "The offline provider charges nobody; the payer sends a bank transfer."
PARTLY_PAID = (
    "The provider asks for another amount than is due here, because a part came in elsewhere;"
    " let the rest come in the same way, or void the invoice and issue one of the rest."
)


@dataclass(frozen=True, slots=True)
class _Charge:
    """One charge behind its fence."""

    opened: Opened
    key: str
    invoice_id: str
    provider_invoice_id: str
    method_id: str
    amount: Money

    @property
    def request(self) -> str:
        """What is sent, as text."""
        return f"{self.provider_invoice_id} {self.method_id} {self.amount}"


class Collecting:
    """Collects what is due."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        moves: InvoiceMoves,
        following: Following,
        *,
        clock: Clock,
    ) -> None:
        """following: records what came in."""
        self._database = database
        self._providers = providers
        self._steps = steps
        self._moves = moves
        self._following = following
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Charges the invoice that the job names, or learns how its running attempt ended."""
        tenant_id, invoice_id = subject_of(job)
        attempt = await self._begin(tenant_id, invoice_id)
        if attempt is None:
            return
        try:
            await self.charge(tenant_id, attempt)
        except StepWaits as wait:
            async with self._database.transaction(tenant_id) as tx:
                await queue_collect(tx, invoice_id, delay=max(wait.delay, timedelta(seconds=0.1)))

    async def begin_manual(
        self,
        tx: Transaction,
        invoice: Invoice,
        *,
        payment_method_id: str = "",
        request_id: str = "",
        worker_delay: timedelta = timedelta(0),
    ) -> PaymentAttempt:
        """Begins an attempt that somebody asked for, which does not advance the schedule.

        invoice: locked. A running attempt is returned instead of a second one. worker_delay: after
        which a worker looks at it, where the caller makes it itself. Raises InvoiceStateForbids.
        """
        running = await payments.running_attempt(tx, invoice.tenant_id, invoice.invoice_id)
        if running is not None:
            return running
        require_state(invoice.state, COLLECTIBLE, wanted="charge")
        attempt = await self._attempt(
            tx, invoice, 0, payment_method_id=payment_method_id, request_id=request_id
        )
        await queue_collect(tx, invoice.invoice_id, delay=worker_delay)
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
            if await payments.has_dispute(tx, tenant_id, invoice.account_id):
                # Who disputes one payment is charged no other until that is decided.
                return None
            return await self._attempt(tx, invoice, invoice.attempt_count + 1)

    async def _attempt(
        self,
        tx: Transaction,
        invoice: Invoice,
        number: int,
        *,
        payment_method_id: str = "",
        request_id: str = "",
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
            request_id=request_id,
        )
        await payments.add_attempt(tx, invoice.tenant_id, attempt)
        return attempt

    async def charge(self, tenant_id: str, attempt: PaymentAttempt) -> None:
        """Makes an attempt that was written down; harmless twice, also at once.

        Raises StepWaits where the outcome is not known yet.
        """
        opened = await self._providers.of(tenant_id)
        key = f"inv:{attempt.invoice_id}:pay:{attempt.attempt_id}"
        try:
            charge = await self._fenced(tenant_id, attempt, opened, key)
            await self._performed(tenant_id, charge)
        except StepRefused as refused:
            await self._failed(tenant_id, attempt, refused)
            return
        except Amnesia as gone:
            await self._forgotten(tenant_id, attempt, str(gone))
            return
        async with opened.turn():
            remote = await opened.provider.fetch_invoice(charge.provider_invoice_id)
        if remote is not None and remote.state is RemoteState.OPEN:
            await self._unpaid_there(tenant_id, attempt, charge)
        elif remote is not None:
            await self._following.learn(tenant_id, attempt.invoice_id, opened, remote)

    async def _unpaid_there(self, tenant_id: str, attempt: PaymentAttempt, charge: _Charge) -> None:
        """Learns what became of a charge that was taken up and has not paid yet.

        A debit is worked on for days; it then succeeds, or fails as any charge does.
        """
        async with charge.opened.turn():
            outcome = await charge.opened.provider.outcome_of(charge.provider_invoice_id)
        if outcome is None:
            return
        if outcome.is_processing:
            await self._processing(tenant_id, attempt)
        elif outcome.decline_code:
            text = f"the debit failed: {outcome.decline_code}"
            await self._failed(
                tenant_id, attempt, StepRefused(charge.key, text, outcome.decline_code)
            )

    async def _processing(self, tenant_id: str, attempt: PaymentAttempt) -> None:
        """Stops the schedule while the bank works on a debit."""
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, attempt.invoice_id)
            running = await payments.running_attempt(tx, tenant_id, attempt.invoice_id)
            if running is None or running.state is AttemptState.PROCESSING:
                return
            await payments.end_attempt(tx, tenant_id, running.attempt_id, AttemptState.PROCESSING)
            if invoice.state in COLLECTIBLE:
                await self._moves.move(
                    tx,
                    invoice,
                    InvoiceState.PROCESSING,
                    actor=SYSTEM,
                    description="The bank works on the debit.",
                    now=self._clock.now(),
                    kind="payment",
                    next_attempt_at=None,
                )

    async def _fenced(
        self, tenant_id: str, attempt: PaymentAttempt, opened: Opened, key: str
    ) -> _Charge:
        """Fixes what the charge takes, in one transaction with the step that takes it.

        From here to the outcome nothing here changes the amount due: see `require_no_charge`.
        Raises StepWaits, StepRefused.
        """
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, attempt.invoice_id)
            method = await payment_methods.find_method(tx, tenant_id, attempt.payment_method_id)
            begun = await payments.is_charging(tx, tenant_id, attempt.invoice_id)
            due = invoice.amount_due if not begun else await _fixed(tx, tenant_id, attempt)
            charge = _Charge(
                opened=opened,
                key=key,
                invoice_id=invoice.invoice_id,
                provider_invoice_id=invoice.provider_invoice_id,
                method_id="" if method is None else method.provider_payment_method_id,
                amount=Money(invoice.currency_code, due),
            )
            if begun:
                return charge
            if opened.settings.kind is ProviderKind.OFFLINE:
                raise StepRefused(key, NO_CARDS)
            if invoice.state not in COLLECTIBLE:
                raise StepRefused(key, f"the invoice is {invoice.state.value} by now")
            if await credit_notes.has_unsent(tx, tenant_id, invoice.invoice_id):
                # The provider still asks for what was credited here.
                raise StepWaits(key, CREDIT_PAUSE)
            await payments.set_attempt_amount(tx, tenant_id, attempt.attempt_id, due)
            await self._steps.begin(
                *(tx, key, Step.PAY),
                provider=opened.name,
                request=charge.request,
                invoice_id=charge.invoice_id,
            )
        return charge

    async def _performed(self, tenant_id: str, charge: _Charge) -> None:
        opened, there = charge.opened, charge.provider_invoice_id
        provider = opened.provider

        async def send(key: str) -> str:
            async with opened.turn():
                remote = await provider.fetch_invoice(there)
            if remote is None:
                raise Amnesia(f"{there} is gone at the provider")
            # It charges all that its own copy asks for, and knows nothing of transfers.
            is_open = remote.state is RemoteState.OPEN
            if is_open and remote.amount_due != charge.amount.amount:
                raise Refused(PARTLY_PAID)
            async with opened.turn():
                remote = await provider.collect(key, there, method_id=charge.method_id)
            return remote.provider_invoice_id

        async def ask(_: datetime) -> str | None:
            async with opened.turn():
                remote = await provider.fetch_invoice(there)
            if remote is None:
                raise Amnesia(f"{there} is gone at the provider")
            if remote.state is not RemoteState.OPEN:
                return there if remote.state is RemoteState.PAID else None
            async with opened.turn():
                outcome = await provider.outcome_of(there)
            return there if outcome is not None and outcome.is_processing else None

        await self._steps.perform(
            tenant_id,
            charge.key,
            Step.PAY,
            provider=opened.name,
            request=charge.request,
            send=send,
            ask=ask,
            invoice_id=charge.invoice_id,
        )

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
            if following is not None and invoice.state is InvoiceState.PROCESSING:
                following = max(following, now + LATE_PAUSE)
            state = AttemptState.DECLINED if code else AttemptState.ERROR
            await payments.end_attempt(
                tx,
                tenant_id,
                attempt.attempt_id,
                AttemptState.ACTION_REQUIRED if needs_action else state,
                decline_code=code,
                error="" if code else refused.text[:500],
                retryable=can_retry,
                next_attempt_at=following,
            )
            # What somebody asked for and the provider cannot do says nothing about the payer.
            is_idle = not code and attempt.attempt_number == 0
            if is_idle or invoice.state not in (*COLLECTIBLE, InvoiceState.PROCESSING):
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
        if invoice.state is not InvoiceState.PAST_DUE:
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
            await payments.end_attempt(
                tx, tenant_id, attempt.attempt_id, AttemptState.ERROR, error=text
            )
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


async def _fixed(tx: Transaction, tenant_id: str, attempt: PaymentAttempt) -> Decimal:
    """Returns the amount that was fixed when the attempt's charge was begun."""
    stored = await payments.find_attempt(tx, tenant_id, attempt_id=attempt.attempt_id)
    return attempt.amount.amount if stored is None else stored.amount.amount
