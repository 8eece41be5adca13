"""Moves invoices through their life: row, history, time line and feed in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.billing.domain.invoice_record import ZERO, Invoice, InvoiceEvent
from services.billing.domain.invoice_state import (
    ISSUED,
    InvoiceKind,
    InvoiceState,
    require_move,
)
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.errors import InvoiceNotFound
from services.billing.service.journal import Journal
from services.billing.store import invoices as rows
from services.billing.store.invoice_events import add_events
from services.kernel.database import Transaction
from services.kernel.ids import new_id
from services.kernel.jobs import enqueue
from services.kernel.money import EXACT

SYSTEM = "system"
MAIL_JOB = "mail_invoice"


async def locked_invoice(tx: Transaction, tenant_id: str, invoice_id: str) -> Invoice:
    """Returns an invoice that nobody else changes until the end. Raises InvoiceNotFound."""
    invoice = await rows.lock_invoice(tx, tenant_id, invoice_id)
    if invoice is None:
        raise InvoiceNotFound(invoice_id=invoice_id)
    return invoice


async def add_event(
    tx: Transaction,
    invoice: Invoice,
    *,
    kind: str,
    description: str,
    actor: str,
    now: datetime,
    operation_key: str = "",
) -> None:
    """Adds to an invoice's history what did not change its state."""
    event = InvoiceEvent(
        event_id=new_id(),
        kind=kind,
        from_state=invoice.state,
        to_state=invoice.state,
        actor=actor,
        description=description,
        occurred_at=now,
        operation_key=operation_key,
    )
    await add_events(tx, invoice.tenant_id, invoice.invoice_id, [event])


async def queue_mail(tx: Transaction, invoice: Invoice) -> None:
    """Queues the mail, so that whoever is to be told is told once the invoice is certain."""
    key = f"{MAIL_JOB}:{invoice.tenant_id}:{invoice.invoice_id}"
    payload = invoice.invoice_id.encode()
    await enqueue(tx, MAIL_JOB, payload, tenant_id=invoice.tenant_id, key=key)


class InvoiceMoves:
    """Changes invoices whose rows the transaction has locked."""

    def __init__(self, journal: Journal) -> None:
        """Takes the journal."""
        self._journal = journal

    async def move(
        self,
        tx: Transaction,
        invoice: Invoice,
        to: InvoiceState,
        *,
        actor: str,
        description: str,
        now: datetime,
        kind: str = "state",
        operation_key: str = "",
        title: str = "",
        balance_change: Decimal | None = None,
        **changes: Any,
    ) -> Invoice:
        """Stores an invoice in another state and returns it.

        title, balance_change: of the time line; default: an issued invoice is an entry that adds
        its total, a void one takes what was due off. changes: of other fields.
        Raises InvoiceStateForbids.
        """
        require_move(invoice.state, to, blocked_from=invoice.blocked_from)
        is_blocked = to is InvoiceState.BLOCKED
        changes.setdefault("blocked_from", invoice.state.value if is_blocked else "")
        if not is_blocked:
            changes.setdefault("block_reason", "")
        moved = replace(invoice, state=to, revision=invoice.revision + 1, **changes)
        await rows.save_invoice(tx, moved)
        event = InvoiceEvent(
            event_id=new_id(),
            kind=kind,
            from_state=invoice.state,
            to_state=to,
            actor=actor,
            description=description,
            occurred_at=now,
            operation_key=operation_key,
        )
        await add_events(tx, invoice.tenant_id, invoice.invoice_id, [event])
        default_title, default_change = _entry(invoice, moved)
        fact = BillingFact(
            kind=FactKind.INVOICE,
            resource_id=moved.invoice_id,
            from_state=invoice.state.value,
            to_state=to.value,
            occurred_at=now,
            account_id=moved.account_id,
            amount=moved.money(moved.total),
            title=title or default_title,
            invoice_id=moved.invoice_id,
            subscription_id=moved.subscription_id,
            balance_change=default_change if balance_change is None else balance_change,
        )
        await self._journal.record(tx, fact, tenant_id=moved.tenant_id)
        if to is InvoiceState.OPEN and invoice.issued_at is None and default_title:
            await queue_mail(tx, moved)
        return moved

    async def settle(
        self,
        tx: Transaction,
        invoice: Invoice,
        amount: Decimal,
        *,
        actor: str,
        description: str,
        now: datetime,
        operation_key: str = "",
    ) -> Invoice:
        """Adds money that came in; the invoice is paid once nothing is due.

        The payment itself is the caller's to record, with its entry in the time line.
        """
        paid = EXACT.add(invoice.amount_paid, amount)
        due = EXACT.subtract(EXACT.subtract(invoice.total, paid), invoice.amount_credited)
        if due > 0:
            part = replace(invoice, amount_paid=paid, revision=invoice.revision + 1)
            await rows.save_invoice(tx, part)
            await add_event(
                tx,
                part,
                kind="payment",
                description=description,
                actor=actor,
                now=now,
                operation_key=operation_key,
            )
            return part
        return await self.move(
            tx,
            invoice,
            InvoiceState.PAID,
            actor=actor,
            description=description,
            now=now,
            kind="payment",
            operation_key=operation_key,
            amount_paid=paid,
            paid_at=now,
            next_attempt_at=None,
        )


def _entry(before: Invoice, after: Invoice) -> tuple[str, Decimal]:
    """Returns title and change of balance that a move makes in the account's time line."""
    if after.kind is InvoiceKind.CHARGEBACK:
        return "", ZERO
    is_first = before.state not in ISSUED and before.blocked_from == ""
    if after.state in ISSUED and is_first and before.issued_at is None:
        return f"Invoice {after.number}", after.total
    if after.state is InvoiceState.VOID and before.issued_at is not None:
        due = replace(before, state=InvoiceState.OPEN).amount_due
        return f"Invoice {after.number} voided", -due
    return "", ZERO
