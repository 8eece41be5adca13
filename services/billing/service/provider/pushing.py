"""Sends locked invoices to the provider: create, lines, fence, finalize, one durable step each."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from services.billing.domain.account import BillingAccount, CollectionMethod
from services.billing.domain.invoice_record import Invoice, InvoiceLine
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.operation import Step
from services.billing.domain.provider import (
    ProviderKind,
    PushedInvoice,
    PushedLine,
    RemoteInvoice,
    RemoteState,
)
from services.billing.domain.push import chunks, fence, grouped, missing_lines
from services.billing.errors import AccountNotFound
from services.billing.service.moving import SYSTEM, InvoiceMoves, locked_invoice
from services.billing.service.provider.port import Refused
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.queue import queue_collect, queue_push, subject_of
from services.billing.service.provider.steps import StepRefused, Steps, StepWaits
from services.billing.store import accounts, invoices, operations
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.kernel.transaction import Transaction

_T = TypeVar("_T")


class Amnesia(Exception):
    """The provider does not have what it said it had; nothing is billed again without a person."""


@dataclass(frozen=True, slots=True)
class _Push:
    """One invoice on its way."""

    invoice: PushedInvoice
    opened: Opened

    async def call(self, asked: Callable[[], Awaitable[_T]]) -> _T:
        """Makes one request when it is its turn."""
        async with self.opened.turn():
            return await asked()


class Pushing:
    """Carries an invoice from locked to open."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        steps: Steps,
        moves: InvoiceMoves,
        *,
        clock: Clock,
        has_fence: bool = True,
    ) -> None:
        """has_fence: False only for the test that shows what happens without."""
        self._database = database
        self._providers = providers
        self._steps = steps
        self._moves = moves
        self._clock = clock
        self._has_fence = has_fence

    async def run(self, job: Job) -> None:
        """Sends the invoice that the job names; queues itself anew where an outcome is unknown."""
        tenant_id, invoice_id = subject_of(job)
        try:
            await self.push(tenant_id, invoice_id)
        except StepWaits as wait:
            async with self._database.transaction(tenant_id) as tx:
                await queue_push(tx, invoice_id, delay=max(wait.delay, timedelta(seconds=0.1)))
        except (StepRefused, Amnesia, Refused) as refused:
            await self._block(tenant_id, invoice_id, str(refused))

    async def push(self, tenant_id: str, invoice_id: str) -> None:
        """Sends an invoice, from wherever it stopped. Raises StepWaits, StepRefused, Amnesia."""
        pushed = await self._begin(tenant_id, invoice_id)
        if pushed is None:
            return
        push = _Push(pushed, await self._providers.of(tenant_id))
        customer_id = await self.customer(push.opened, tenant_id, pushed.account_id, pushed)
        provider_invoice_id = await self._create(push, customer_id)
        for number, lines in enumerate(chunks(pushed.lines)):
            await self._add_lines(push, provider_invoice_id, number, lines)
        await self._finalize(push, provider_invoice_id)
        remote = await push.call(lambda: push.opened.provider.fetch_invoice(provider_invoice_id))
        await self._open(push, provider_invoice_id, remote)

    async def _begin(self, tenant_id: str, invoice_id: str) -> PushedInvoice | None:
        """Returns what is to be sent, None when nothing is."""
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            if invoice.state is InvoiceState.LOCKED and invoice.kind is not InvoiceKind.CHARGEBACK:
                if invoice.total <= 0:
                    await self._moves.move(
                        tx,
                        invoice,
                        InvoiceState.PAID,
                        actor=SYSTEM,
                        description="Nothing is due.",
                        now=now,
                        issued_at=now,
                        due_at=now,
                        paid_at=now,
                    )
                    return None
                invoice = await self._moves.move(
                    tx,
                    invoice,
                    InvoiceState.PUSHING,
                    actor=SYSTEM,
                    description="Sending to the payment provider began.",
                    now=now,
                )
            if invoice.state is not InvoiceState.PUSHING:
                return None
            account = await account_of(tx, invoice)
            lines = await invoices.invoice_lines(tx, tenant_id, invoice_id)
        return _pushed(invoice, account, lines)

    async def customer(
        self, opened: Opened, tenant_id: str, account_id: str, invoice: PushedInvoice
    ) -> str:
        """Returns the account's customer for the invoice's currency, made when first needed."""
        return await self.customer_of(opened, tenant_id, account_id, invoice.currency_code)

    async def customer_of(
        self, opened: Opened, tenant_id: str, account_id: str, currency_code: str
    ) -> str:
        """Returns the account's customer for a currency. Raises StepWaits, StepRefused."""
        local_id = f"{account_id}:{currency_code}"
        place = (tenant_id, "customer", local_id, opened.name)
        live_mode = opened.settings.live_mode
        async with self._database.read(tenant_id) as tx:
            known = await operations.object_there(tx, *place, live_mode=live_mode)
        if known:
            return known
        provider = opened.provider

        async def send(key: str) -> str:
            async with opened.turn():
                return await provider.create_customer(
                    key, tenant_id=tenant_id, account_id=account_id, currency_code=currency_code
                )

        async def ask(since: datetime) -> str | None:
            async with opened.turn():
                return await provider.find_customer(
                    tenant_id=tenant_id,
                    account_id=account_id,
                    currency_code=currency_code,
                    since=since,
                )

        mode = "live" if live_mode else "test"
        found = await self._steps.perform(
            tenant_id,
            f"cus:{local_id}:{opened.name}:{mode}",
            Step.CUSTOMER,
            provider=opened.name,
            request=local_id,
            send=send,
            ask=ask,
        )
        async with self._database.transaction(tenant_id) as tx:
            await operations.add_object(
                tx,
                *place,
                provider_object_id=found,
                live_mode=live_mode,
                now=self._clock.now(),
            )
        return found

    async def _create(self, push: _Push, customer_id: str) -> str:
        provider, invoice = push.opened.provider, push.invoice

        async def send(key: str) -> str:
            made = await push.call(
                lambda: provider.create_invoice(key, invoice, customer_id=customer_id)
            )
            return made.provider_invoice_id

        async def ask(since: datetime) -> str | None:
            found = await push.call(
                lambda: provider.find_invoice(invoice, customer_id=customer_id, since=since)
            )
            return None if found is None else found.provider_invoice_id

        return await self._step(
            push, "create", Step.CREATE, request=customer_id, send=send, ask=ask
        )

    async def _add_lines(
        self, push: _Push, provider_invoice_id: str, number: int, lines: Sequence[PushedLine]
    ) -> None:
        provider, invoice = push.opened.provider, push.invoice

        async def send(key: str) -> str:
            await push.call(lambda: provider.add_lines(key, provider_invoice_id, invoice, lines))
            return provider_invoice_id

        async def ask(_: datetime) -> str | None:
            remote = await push.call(lambda: provider.fetch_draft(invoice, provider_invoice_id))
            if remote is None:
                raise Amnesia(f"{provider_invoice_id} is gone at the provider")
            # None or all of them: a request adds its lines together.
            return None if missing_lines(lines, remote) else provider_invoice_id

        request = json.dumps([_text(line) for line in lines])
        await self._step(push, f"lines:{number}", Step.LINES, request=request, send=send, ask=ask)

    async def _finalize(self, push: _Push, provider_invoice_id: str) -> None:
        provider = push.opened.provider

        async def send(key: str) -> str:
            # The fence is part of the step: nothing is finalized that is not exactly ours.
            remote = await push.call(
                lambda: provider.fetch_draft(push.invoice, provider_invoice_id)
            )
            if remote is None:
                raise Amnesia(f"{provider_invoice_id} is gone at the provider")
            wrong = fence(push.invoice, remote) if self._has_fence else ""
            if wrong and remote.state is RemoteState.DRAFT:
                await push.call(lambda: provider.delete_draft(provider_invoice_id))
                raise Refused(f"the provider's draft was not the invoice: {wrong}")
            if remote.state is RemoteState.DRAFT:
                await push.call(lambda: provider.finalize(key, provider_invoice_id))
            return provider_invoice_id

        async def ask(_: datetime) -> str | None:
            remote = await push.call(lambda: provider.fetch_invoice(provider_invoice_id))
            is_done = remote is not None and remote.state is not RemoteState.DRAFT
            return provider_invoice_id if is_done else None

        await self._step(
            push, "finalize", Step.FINALIZE, request=provider_invoice_id, send=send, ask=ask
        )

    async def _step(
        self,
        push: _Push,
        name: str,
        step: Step,
        *,
        request: str,
        send: Callable[[str], Awaitable[str]],
        ask: Callable[[datetime], Awaitable[str | None]],
    ) -> str:
        invoice = push.invoice
        return await self._steps.perform(
            invoice.tenant_id,
            f"inv:{invoice.invoice_id}:{name}",
            step,
            provider=push.opened.name,
            request=request,
            send=send,
            ask=ask,
            invoice_id=invoice.invoice_id,
        )

    async def _open(
        self, push: _Push, provider_invoice_id: str, remote: RemoteInvoice | None
    ) -> None:
        """Issues the invoice, and queues its first charge in the same transaction."""
        tenant_id, now = push.invoice.tenant_id, self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, push.invoice.invoice_id)
            if invoice.state is not InvoiceState.PUSHING:
                return
            days = push.invoice.days_until_due
            charges = days is None and push.opened.settings.kind is ProviderKind.STRIPE
            issued_at = invoice.issued_at or now
            await self._moves.move(
                tx,
                invoice,
                InvoiceState.OPEN,
                actor=SYSTEM,
                description="Issued.",
                now=now,
                kind="provider",
                operation_key=f"inv:{invoice.invoice_id}:finalize",
                provider_invoice_id=provider_invoice_id,
                hosted_url="" if remote is None else remote.hosted_url,
                issued_at=issued_at,
                due_at=issued_at + timedelta(days=days or 0),
                next_attempt_at=now if charges else None,
            )
            if charges:
                await queue_collect(tx, invoice.invoice_id)

    async def _block(self, tenant_id: str, invoice_id: str, reason: str) -> None:
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            if invoice.state is InvoiceState.PUSHING:
                await self._moves.move(
                    tx,
                    invoice,
                    InvoiceState.BLOCKED,
                    actor=SYSTEM,
                    description="Stopped at the payment provider; a person must look.",
                    now=self._clock.now(),
                    kind="provider",
                    block_reason=reason[:1000],
                )


async def account_of(tx: Transaction, invoice: Invoice) -> BillingAccount:
    """Returns who is billed. Raises AccountNotFound."""
    stored = await accounts.find_account(tx, invoice.tenant_id, invoice.account_id)
    if stored is None:
        raise AccountNotFound(account_id=invoice.account_id)
    return stored.account


def _pushed(
    invoice: Invoice, account: BillingAccount, lines: Sequence[InvoiceLine]
) -> PushedInvoice:
    taxes = {tax.tax_rate_id: tax for tax in invoice.taxes}
    sent = [
        PushedLine(
            line_id=line.line_id,
            description=line.description,
            amount=line.amount,
            tax_amount=line.tax_amount,
            tax_name=taxes[line.tax_rate_id].display_name if line.tax_rate_id in taxes else "",
            tax_ratio=(
                taxes[line.tax_rate_id].rate_ratio if line.tax_rate_id in taxes else line.tax_amount
            ),
            period=line.period,
        )
        for line in lines
        # What adds nothing is printed here and not sent.
        if line.amount or line.tax_amount
    ]
    is_charged = account.collection_method is CollectionMethod.CHARGE_AUTOMATICALLY
    return PushedInvoice(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.invoice_id,
        account_id=invoice.account_id,
        number=invoice.number,
        currency_code=invoice.currency_code,
        total=invoice.total,
        tax_total=invoice.tax_total,
        days_until_due=None if is_charged else account.payment_terms_days,
        lines=grouped(sent),
    )


def _text(line: PushedLine) -> list[str]:
    return [line.line_id, str(line.amount), str(line.tax_amount), line.description]
