"""Locks invoices: from then on they have a number and change only by credit notes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from services.billing.domain.account import BillingAccount
from services.billing.domain.credit import CreditGrant
from services.billing.domain.draft import Draft, content_hash, number_of
from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.domain.invoice_record import Invoice, InvoiceEvent
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState, require_move
from services.billing.domain.subscription import Subscription
from services.billing.errors import NothingToInvoice
from services.billing.service.accounts import Accounts
from services.billing.service.advancing import Advancing
from services.billing.service.credits import Credits
from services.billing.service.drafting import Drafting, Target
from services.billing.service.moving import InvoiceMoves
from services.billing.service.provider.queue import queue_push
from services.billing.store import accounts as account_rows
from services.billing.store import invoices as rows
from services.billing.store import metering
from services.billing.store import pending_lines as pending_rows
from services.billing.store import subscriptions as subscription_rows
from services.billing.store.invoice_events import add_events
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.ids import new_id

SERIES = "INV"
CHARGEBACK_SERIES = "CB"


@dataclass(frozen=True, slots=True)
class Parties:
    """Who is billed, for what, and whether for usage too."""

    account: BillingAccount
    subscription: Subscription
    include_usage: bool
    grace: timedelta


class Issuing:
    """Locks invoices inside a transaction that has locked their rows."""

    def __init__(
        self,
        drafting: Drafting,
        accounts: Accounts,
        advancing: Advancing,
        credit: Credits,
        moves: InvoiceMoves,
        *,
        clock: Clock,
    ) -> None:
        """advancing: brings a subscription up to now, so that its fees wait before it is billed."""
        self._advancing = advancing
        self._clock = clock
        self._drafting = drafting
        self._accounts = accounts
        self._credit = credit
        self._moves = moves

    async def parties(
        self,
        tx: Transaction,
        tenant_id: str,
        *,
        account_id: str = "",
        subscription_id: str = "",
        is_locked: bool = True,
    ) -> Parties:
        """Returns account and subscription. is_locked: one invoice of an account at a time.

        Raises AccountNotFound, NothingToInvoice.
        """
        account = await self._accounts.load(tx, tenant_id, account_id, is_locked=is_locked)
        subscription = await subscription_rows.find_subscription(
            tx,
            tenant_id,
            subscription_id=subscription_id,
            account_id=account.account_id,
            is_locked=is_locked,
        )
        if subscription is None:
            raise NothingToInvoice(account_id=account.account_id)
        if is_locked:
            now = self._clock.now()
            subscription = await self._advancing.advance(tx, subscription, now)
        automated = await account_rows.find_automated(tx, tenant_id, account.account_id)
        return Parties(
            account,
            subscription,
            include_usage=automated.include_usage,
            grace=timedelta(hours=automated.grace_hours),
        )

    async def lock(
        self, tx: Transaction, invoice: Invoice, parties: Parties, *, actor: str, now: datetime
    ) -> Invoice:
        """Computes a draft for the last time and locks it.

        What it bills is claimed in the same transaction: fees that waited, late usage, credit.
        Raises InvoiceStateForbids, ExchangeRateMissing.
        """
        require_move(InvoiceState.RATED, InvoiceState.LOCKED)
        meters = await metering.lock_metering(tx, [invoice.tenant_id])
        target = Target(
            account=parties.account,
            subscription=parties.subscription,
            period=invoice.period,
            now=now,
            include_usage=parties.include_usage,
        )
        draft = await self._drafting.draft(tx, target)
        await self._claim(tx, invoice, parties, draft)
        _, usage_as_of_at = meters[invoice.tenant_id]
        counted = replace(invoice, usage_as_of_at=usage_as_of_at or now)
        return await self.seal(tx, counted, draft, parties.account, actor=actor, now=now)

    async def lock_draft(
        self,
        tx: Transaction,
        invoice: Invoice,
        parties: Parties,
        draft: Draft,
        *,
        actor: str,
        now: datetime,
    ) -> Invoice:
        """Locks a draft that was computed elsewhere, and claims what it bills; see `lock`."""
        await self._claim(tx, invoice, parties, draft)
        return await self.seal(tx, invoice, draft, parties.account, actor=actor, now=now)

    async def seal(
        self,
        tx: Transaction,
        invoice: Invoice,
        draft: Draft,
        account: BillingAccount,
        *,
        actor: str,
        now: datetime,
    ) -> Invoice:
        """Gives a draft its number and hash, and starts it on its way to whoever pays."""
        is_internal = invoice.kind is InvoiceKind.CHARGEBACK
        if invoice.state is not InvoiceState.RATED:
            require_move(invoice.state, InvoiceState.RATED, blocked_from=invoice.blocked_from)
            await add_events(tx, invoice.tenant_id, invoice.invoice_id, [_rated(invoice, now)])
        series = CHARGEBACK_SERIES if is_internal else SERIES
        taken = await rows.next_number(tx, invoice.tenant_id, series)
        number = number_of(series, invoice.tenant_id, taken)
        filled = replace(draft.filled(invoice), number=number, state=InvoiceState.RATED)
        await rows.replace_content(tx, filled, draft.lines, draft.usage)
        locked = await self._moves.move(
            tx,
            replace(filled, blocked_from=""),
            InvoiceState.LOCKED,
            actor=actor,
            description=f"Locked as {number}.",
            now=now,
            content_hash=content_hash(filled, draft.lines),
            grace_end_at=None,
            due_at=now + timedelta(days=account.payment_terms_days),
        )
        if is_internal:
            return await self._moves.move(
                tx,
                locked,
                InvoiceState.OPEN,
                actor=actor,
                description="Issued inside the tenant.",
                now=now,
                issued_at=now,
                due_at=None,
            )
        if not locked.total:
            return await self._moves.move(
                tx,
                locked,
                InvoiceState.PAID,
                actor=actor,
                description="Nothing is due.",
                now=now,
                issued_at=now,
                paid_at=now,
            )
        await self.push(tx, locked)
        return locked

    async def push(self, tx: Transaction, invoice: Invoice) -> None:
        """Queues a locked invoice for its provider."""
        await queue_push(tx, invoice.invoice_id, tenant_id=invoice.tenant_id)

    async def _claim(
        self, tx: Transaction, invoice: Invoice, parties: Parties, draft: Draft
    ) -> None:
        tenant_id, invoice_id = invoice.tenant_id, invoice.invoice_id
        account, computed = parties.account, draft.computed
        await pending_rows.take_pending(
            tx, tenant_id, account.account_id, list(draft.pending_keys), invoice_id
        )
        await metering.claim_late_usage(tx, {(tenant_id, *late): invoice_id for late in draft.late})
        if draft.metered_until is not None and not account.department_id:
            await metering.set_billed_until(tx, {tenant_id: draft.metered_until})
        await self._credit.use(tx, tenant_id, invoice_id, computed.credit_uses)
        if computed.credit_made:
            await self._credit.grant(tx, account, _excess(invoice, computed.credit_made))
        if computed.carried:
            line = _carried(invoice, computed.carried)
            await pending_rows.add_pending(
                tx,
                tenant_id,
                account.account_id,
                [line],
                currency_code=computed.currency_code,
                at=invoice.created_at,
            )


def _rated(invoice: Invoice, now: datetime) -> InvoiceEvent:
    return InvoiceEvent(
        event_id=new_id(),
        kind="state",
        from_state=invoice.state,
        to_state=InvoiceState.RATED,
        actor="system",
        description="Priced for the last time.",
        occurred_at=now,
    )


def _excess(invoice: Invoice, amount: Decimal) -> CreditGrant:
    return CreditGrant(
        credit_grant_id=new_id(),
        account_id=invoice.account_id,
        currency_code=invoice.currency_code,
        amount=amount,
        remaining=amount,
        display_name="In your favour from an earlier invoice",
        start_at=invoice.period.start,
        created_at=invoice.created_at,
    )


def _carried(invoice: Invoice, amount: Decimal) -> ExactLine:
    return ExactLine(
        key=f"carried:{invoice.invoice_id}",
        kind=LineKind.CARRY_OVER,
        description="Carried from an earlier invoice",
        exact=Fraction(amount),
        is_discountable=False,
        is_taxed=False,
    )
