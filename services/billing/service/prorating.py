"""Invoices of a change inside a period, made at once instead of with the period's own."""

from __future__ import annotations

from datetime import datetime

from services.billing.domain.currency import currency
from services.billing.domain.draft import Draft, kept_lines
from services.billing.domain.invoice import ExactLine, InvoiceTerms, Settlement
from services.billing.domain.invoice_record import ZERO, Invoice
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.invoicing import invoice_of
from services.billing.service.catalogue import taxes_of
from services.billing.service.credits import Credits
from services.billing.service.issuing import Issuing, Parties
from services.billing.service.moving import add_event
from services.billing.store import invoices as rows
from services.billing.store.pending_lines import pending_lines
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.period import Period, zone

JOB = "invoice_pending_lines"  # payload: the account's id
ACTOR = "system"


class Prorating:
    """Invoices what waits on an account now: fees and prorations, no usage."""

    def __init__(
        self, database: Database, issuing: Issuing, credit: Credits, *, clock: Clock
    ) -> None:
        """Takes what locks invoices."""
        self._database = database
        self._issuing = issuing
        self._credit = credit
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Makes and locks the invoice; where nothing waits any more, does nothing."""
        if job.tenant_id is None:
            raise ValueError("this job is always of a tenant")
        now = self._clock.now()
        async with self._database.transaction(job.tenant_id) as tx:
            parties = await self._issuing.parties(
                tx, job.tenant_id, account_id=job.payload.decode()
            )
            account = parties.account
            lines = await pending_lines(tx, job.tenant_id, account.account_id, until=now)
            if lines:
                await self._issue(tx, parties, lines, now)

    async def _issue(
        self, tx: Transaction, parties: Parties, lines: list[ExactLine], now: datetime
    ) -> Invoice:
        account, subscription = parties.account, parties.subscription
        day = now.astimezone(zone(account.time_zone)).date()
        code = subscription.currency_code
        terms = InvoiceTerms(
            currency_code=code,
            rounding=account.rounding_mode,
            taxes=await taxes_of(tx, account, day),
            credits=await self._credit.available(tx, account.tenant_id, account.account_id, at=now),
            settlement=Settlement(step=currency(code).settlement_step),
        )
        computed = invoice_of(lines, terms)
        periods = [line.period for line in lines if line.period is not None]
        period = subscription.period
        if periods:
            start = min(each.start for each in periods)
            period = Period(start, max(each.end for each in periods))
        draft = Draft(
            computed=computed,
            kind=InvoiceKind.PRORATION,
            period=period,
            lines=kept_lines(computed, period),
            plan_id=subscription.plan_id,
            plan_version=subscription.plan_version,
            pending_keys=[line.key for line in lines],
        )
        invoice = Invoice(
            tenant_id=account.tenant_id,
            invoice_id=new_id(),
            account_id=account.account_id,
            subscription_id=subscription.subscription_id,
            kind=InvoiceKind.PRORATION,
            state=InvoiceState.DRAFT,
            period=period,
            currency_code=code,
            subtotal=ZERO,
            discount_total=ZERO,
            credit_total=ZERO,
            tax_total=ZERO,
            total=ZERO,
            line_count=0,
            created_at=now,
        )
        await rows.add_invoice(tx, invoice)
        await add_event(tx, invoice, kind="state", description="Made.", actor=ACTOR, now=now)
        return await self._issuing.lock_draft(tx, invoice, parties, draft, actor=ACTOR, now=now)
