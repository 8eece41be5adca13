"""The use cases of invoices: previewed, made, finalized, voided, read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.domain.invoice_period import (
    last_over,
    period_at,
    periods_of_month,
    whole_period,
)
from services.billing.domain.invoice_record import ZERO, Invoice, InvoiceEvent, InvoiceLine
from services.billing.domain.invoice_state import (
    UNLOCKED,
    VOIDABLE,
    InvoiceKind,
    InvoiceState,
    require_state,
)
from services.billing.domain.subscription import Subscription
from services.billing.errors import (
    ExchangeRateMissing,
    InvalidInstant,
    InvoiceNotFound,
    InvoiceStateForbids,
    NothingToInvoice,
    PeriodNotOver,
    PlanNotFound,
)
from services.billing.service.accounts import require_etag
from services.billing.service.credits import Credits
from services.billing.service.drafting import Drafting, Target
from services.billing.service.fence import require_no_charge
from services.billing.service.issuing import Issuing, Parties
from services.billing.service.moving import SYSTEM, InvoiceMoves, add_event, locked_invoice
from services.billing.service.provider.queue import queue_close
from services.billing.service.releasing import release_billed
from services.billing.store import invoices as rows
from services.billing.store import plans
from services.billing.store.invoice_events import list_events
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which invoice is asked for. month: `YYYY-MM`, or period; default the last that is over."""

    tenant_id: str
    account_id: str = ""
    subscription_id: str = ""
    month: str = ""
    period: Period | None = None
    finalize: bool = False
    run_id: str = ""


class Invoices:
    """Makes invoices, and what happens to them before somebody pays."""

    def __init__(
        self,
        database: Database,
        drafting: Drafting,
        issuing: Issuing,
        moves: InvoiceMoves,
        credit: Credits,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what computes, locks and moves invoices."""
        self._database = database
        self._drafting = drafting
        self._issuing = issuing
        self._moves = moves
        self._credit = credit
        self._tokens = tokens
        self._clock = clock

    async def generate_invoice(self, wanted: Wanted) -> Invoice:
        """Makes the invoice of a period that is over, or returns the one it has.

        Raises AccountNotFound, NothingToInvoice, PeriodNotOver, PeriodNotWhole,
        ExchangeRateMissing.
        """
        actor = current_caller().subject
        async with self._database.transaction(wanted.tenant_id) as tx:
            invoice = await self.generate(tx, wanted, actor=actor)
            await _audited(tx, "invoices.generate", invoice)
        return invoice

    async def generate(
        self, tx: Transaction, wanted: Wanted, *, actor: str, parties: Parties | None = None
    ) -> Invoice:
        """Makes an invoice inside a tenant's transaction; see `generate_invoice`.

        parties: whom the transaction has locked already, default those that are wanted.
        """
        now = self._clock.now()
        parties = parties or await self._parties(tx, wanted)
        period = _period(parties.subscription, wanted, now)
        if period.end > now:
            raise PeriodNotOver(end=period.end.isoformat())
        invoice = await rows.find_invoice_of_period(
            tx, wanted.tenant_id, parties.subscription.subscription_id, period.start
        )
        is_new = invoice is None
        if invoice is None:
            invoice = await self._begin(tx, wanted, parties, period, actor=actor)
        if wanted.finalize and invoice.state in UNLOCKED:
            if not is_new:
                invoice = await locked_invoice(tx, wanted.tenant_id, invoice.invoice_id)
            return await self._issuing.lock(tx, invoice, parties, actor=actor, now=now)
        return invoice

    async def compute(self, tx: Transaction, wanted: Wanted, parties: Parties) -> Invoice:
        """Returns what the invoice of a period would be, inside a tenant's transaction."""
        now = self._clock.now()
        period = _period(parties.subscription, wanted, now)
        draft = await self._drafting.draft(tx, _target(parties, period, now))
        return draft.filled(self._empty(wanted, parties, period, now))

    async def preview_invoice(self, wanted: Wanted, *, plan_id: str = "") -> Invoice:
        """Computes what the invoice would be now; stores nothing.

        plan_id: to price by another plan. Raises as `generate_invoice`, PlanNotFound.
        """
        now = self._clock.now()
        async with self._database.read(wanted.tenant_id) as tx:
            parties = await self._issuing.parties(
                tx, wanted.tenant_id, account_id=wanted.account_id, is_locked=False
            )
            period = (
                _period(parties.subscription, wanted, now)
                if wanted.month or wanted.period is not None
                else period_at(parties.subscription, now)
            )
            if period is None:
                raise NothingToInvoice(account_id=parties.account.account_id)
            if period.start > now:
                raise InvalidInstant(
                    f"the period begins at {period.start.isoformat()}; preview it from then on",
                    field="month",
                )
            plan = await plans.find_plan(tx, plan_id) if plan_id else None
            if plan_id and plan is None:
                raise PlanNotFound(plan_id=plan_id)
            target = replace(_target(parties, period, now), plan=plan)
            draft = await self._drafting.draft(tx, target)
        empty = self._empty(wanted, parties, period, now)
        return replace(draft.filled(empty), invoice_id="", grace_end_at=None, is_preview=True)

    async def finalize_invoice(self, tenant_id: str, invoice_id: str, *, etag: str = "") -> Invoice:
        """Locks a draft now, without waiting for its grace.

        Raises InvoiceNotFound, InvoiceStateForbids, ResourceChanged, ExchangeRateMissing.
        """
        async with self._database.transaction(tenant_id) as tx:
            found = await self._load(tx, tenant_id, invoice_id)
            parties = await self._issuing.parties(
                tx,
                tenant_id,
                account_id=found.account_id,
                subscription_id=found.subscription_id,
            )
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            require_etag(etag, invoice.revision)
            require_state(invoice.state, UNLOCKED, wanted="finalize it")
            invoice = await self._issuing.lock(
                tx, invoice, parties, actor=current_caller().subject, now=self._clock.now()
            )
            await _audited(tx, "invoices.finalize", invoice)
        return invoice

    async def finalize_due(self, tenant_id: str, invoice_id: str) -> None:
        """Locks a draft whose grace has ended; one that cannot be computed is blocked."""
        now = self._clock.now()
        try:
            async with self._database.transaction(tenant_id) as tx:
                found = await self._load(tx, tenant_id, invoice_id)
                parties = await self._issuing.parties(
                    tx,
                    tenant_id,
                    account_id=found.account_id,
                    subscription_id=found.subscription_id,
                )
                invoice = await locked_invoice(tx, tenant_id, invoice_id)
                if invoice.state in UNLOCKED:
                    await self._issuing.lock(tx, invoice, parties, actor=SYSTEM, now=now)
        except ExchangeRateMissing as error:
            async with self._database.transaction(tenant_id) as tx:
                invoice = await locked_invoice(tx, tenant_id, invoice_id)
                await self._moves.move(
                    tx,
                    invoice,
                    InvoiceState.BLOCKED,
                    actor=SYSTEM,
                    description=error.message,
                    now=now,
                    block_reason=error.message,
                )

    async def void_invoice(
        self, tenant_id: str, invoice_id: str, reason: str, *, etag: str = ""
    ) -> Invoice:
        """Voids what nobody has paid; what it billed waits for the next invoice.

        Raises InvoiceNotFound, InvoiceStateForbids, ResourceChanged, ChargeUnderWay.
        """
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            require_etag(etag, invoice.revision)
            require_state(invoice.state, VOIDABLE | {InvoiceState.BLOCKED}, wanted="void it")
            if invoice.amount_paid or invoice.amount_credited:
                raise InvoiceStateForbids(
                    "money came for this invoice, or a part of it is credited; make a credit note"
                    " of what is left instead",
                    state=invoice.state.value,
                    wanted="void it",
                )
            await require_no_charge(tx, invoice)
            await release_billed(tx, self._credit, tenant_id, invoice_id)
            voided = await self._moves.move(
                tx,
                invoice,
                InvoiceState.VOID,
                actor=current_caller().subject,
                description=reason,
                now=now,
                void_reason=reason,
                next_attempt_at=None,
                grace_end_at=None,
            )
            if invoice.provider_invoice_id:
                await queue_close(tx, invoice_id)
            await _audited(tx, "invoices.void", voided)
        return voided

    async def unblock_invoice(self, tenant_id: str, invoice_id: str, reason: str) -> Invoice:
        """Lets a blocked invoice go on where it stopped. Raises as `void_invoice`."""
        now, actor = self._clock.now(), current_caller().subject
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            require_state(invoice.state, frozenset({InvoiceState.BLOCKED}), wanted="unblock it")
            to = InvoiceState(invoice.blocked_from)
            moved = await self._moves.move(
                tx, invoice, to, actor=actor, description=reason, now=now
            )
            if to in (InvoiceState.LOCKED, InvoiceState.PUSHING):
                await self._issuing.push(tx, moved)
            await _audited(tx, "invoices.unblock", moved)
        return moved

    async def write_off_invoice(self, tenant_id: str, invoice_id: str, reason: str) -> Invoice:
        """Gives up an overdue invoice, which can still be paid. Raises as `void_invoice`."""
        now, actor = self._clock.now(), current_caller().subject
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            require_state(invoice.state, frozenset({InvoiceState.PAST_DUE}), wanted="write it off")
            moved = await self._moves.move(
                tx,
                invoice,
                InvoiceState.UNCOLLECTIBLE,
                actor=actor,
                description=reason,
                now=now,
                void_reason=reason,
                next_attempt_at=None,
            )
            await _audited(tx, "invoices.write_off", moved)
        return moved

    async def get_invoice(self, tenant_id: str, invoice_id: str) -> Invoice:
        """Returns an invoice. Raises InvoiceNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self._load(tx, tenant_id, invoice_id)

    async def list_invoices(self, page: PageRequest, *, account_id: str = "") -> Page[Invoice]:
        """Returns a page of invoices."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_invoices(tx, page, self._tokens, account_id=account_id)

    async def list_invoice_lines(self, page: PageRequest, invoice_id: str) -> Page[InvoiceLine]:
        """Returns a page of an invoice's lines. Raises InvoiceNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            await self._load(tx, page.tenant_id, invoice_id)
            return await rows.list_lines(tx, page, self._tokens, invoice_id=invoice_id)

    async def list_invoice_events(self, page: PageRequest, invoice_id: str) -> Page[InvoiceEvent]:
        """Returns a page of what happened to an invoice. Raises InvoiceNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            await self._load(tx, page.tenant_id, invoice_id)
            return await list_events(tx, page, self._tokens, invoice_id=invoice_id)

    async def stream_lines(
        self, tenant_id: str, invoice_id: str
    ) -> AsyncIterator[tuple[Invoice, InvoiceLine]]:
        """Yields an invoice's lines in printed order, each with it. Raises InvoiceNotFound."""
        async with self._database.read(tenant_id) as tx:
            invoice = await self._load(tx, tenant_id, invoice_id)
            async for line in rows.stream_lines(tx, tenant_id, invoice_id):
                yield invoice, line

    async def _parties(self, tx: Transaction, wanted: Wanted) -> Parties:
        return await self._issuing.parties(
            tx,
            wanted.tenant_id,
            account_id=wanted.account_id,
            subscription_id=wanted.subscription_id,
        )

    async def _load(self, tx: Transaction, tenant_id: str, invoice_id: str) -> Invoice:
        invoice = await rows.find_invoice(tx, tenant_id, invoice_id)
        if invoice is None:
            raise InvoiceNotFound(invoice_id=invoice_id)
        return invoice

    async def _begin(
        self, tx: Transaction, wanted: Wanted, parties: Parties, period: Period, *, actor: str
    ) -> Invoice:
        """Stores a draft with what it comes to now."""
        now = self._clock.now()
        empty = self._empty(wanted, parties, period, now)
        if wanted.finalize:
            await rows.add_invoice(tx, empty)
            await add_event(tx, empty, kind="state", description="Made.", actor=actor, now=now)
            return empty
        draft = await self._drafting.draft(tx, _target(parties, period, now))
        invoice = draft.filled(empty)
        await rows.add_invoice(tx, invoice)
        await rows.replace_content(tx, invoice, draft.lines, draft.usage)
        await add_event(tx, invoice, kind="state", description="Made.", actor=actor, now=now)
        return invoice

    def _empty(self, wanted: Wanted, parties: Parties, period: Period, now: datetime) -> Invoice:
        return Invoice(
            tenant_id=wanted.tenant_id,
            invoice_id=new_id(),
            account_id=parties.account.account_id,
            subscription_id=parties.subscription.subscription_id,
            run_id=wanted.run_id,
            kind=InvoiceKind.PERIOD,
            state=InvoiceState.DRAFT,
            period=period,
            currency_code=parties.subscription.currency_code,
            subtotal=ZERO,
            discount_total=ZERO,
            credit_total=ZERO,
            tax_total=ZERO,
            total=ZERO,
            line_count=0,
            created_at=now,
            grace_end_at=period.end + parties.grace,
        )


def _target(parties: Parties, period: Period, now: datetime) -> Target:
    return Target(
        account=parties.account,
        subscription=parties.subscription,
        period=period,
        now=now,
        include_usage=parties.include_usage,
    )


def _period(subscription: Subscription, wanted: Wanted, now: datetime) -> Period:
    if wanted.period is not None:
        return whole_period(subscription, wanted.period)
    if not wanted.month:
        return last_over(subscription, now)
    periods = periods_of_month(subscription, wanted.month)
    if not periods:
        raise NothingToInvoice(subscription_id=subscription.subscription_id, month=wanted.month)
    return periods[-1]


async def _audited(tx: Transaction, action: str, invoice: Invoice) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"invoices/{invoice.invoice_id}",
        after={
            "state": invoice.state.value,
            "number": invoice.number,
            "total": str(invoice.money(invoice.total)),
            "reason": invoice.void_reason,
        },
    )
