"""Tells people of invoices, through the budget service's deliveries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import ISSUED, InvoiceKind, require_state
from services.billing.errors import NoRecipient
from services.billing.service.documents import Documents
from services.billing.service.moving import SYSTEM, add_event, locked_invoice
from services.billing.service.typesetting import InvoiceDocument, typeset
from services.billing.store.accounts import find_automated
from services.kernel import audit
from services.kernel.call import current_call
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job
from services.kernel.money import format_decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification, with a PDF. key: the same one is delivered once; "" for no repetition."""

    key: str
    event_type: str
    title: str
    body: str
    payload: str
    addresses: Sequence[str]
    filename: str
    attachment: bytes


class Notifier(Protocol):
    """Queues notifications durably; the budget service, at the process edge."""

    async def publish(self, tenant_id: str, notice: Notice) -> None:
        """Queues a notification. Raises PeerUnavailable, PeerTimeout."""


class Mailing:
    """The use case of sending an invoice."""

    def __init__(
        self, database: Database, documents: Documents, notifier: Notifier, *, clock: Clock
    ) -> None:
        """Takes what makes the PDF and what delivers it."""
        self._database = database
        self._documents = documents
        self._notifier = notifier
        self._clock = clock

    async def send_invoice(
        self, tenant_id: str, invoice_id: str, addresses: Sequence[str]
    ) -> Invoice:
        """Mails an issued invoice with its PDF to addresses, default the account's contacts.

        Raises InvoiceNotFound, InvoiceStateForbids, NoRecipient, PeerUnavailable.
        """
        document = await self._documents.document(tenant_id, invoice_id)
        invoice = document.invoice
        require_state(invoice.state, ISSUED, wanted="send it")
        to = list(addresses) or list(document.account.particulars.contact_emails)
        if not to:
            raise NoRecipient(account_id=invoice.account_id)
        call = current_call.get()
        await self._publish(document, to, key="" if call is None else f"send:{call.request_id}")
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            await self._sent(tx, invoice, to, actor=current_caller().subject)
            await audit.append(
                tx,
                action="invoices.send",
                resource=f"invoices/{invoice_id}",
                after={"addresses": len(to)},
            )
        return invoice

    async def run(self, job: Job) -> None:
        """Tells of a newly issued invoice, once, however often the job is done.

        Contacts of an account that is billed by itself get the invoice by mail. An internal one
        goes to its department's contacts, where it has an account, and the channels that follow it.
        """
        tenant_id, invoice_id = str(job.tenant_id), job.payload.decode()
        document = await self._documents.document(tenant_id, invoice_id)
        account = document.account
        to = list(account.particulars.contact_emails)
        if document.invoice.kind is InvoiceKind.CHARGEBACK:
            to = to if account.department_id else []
        else:
            async with self._database.read(tenant_id) as tx:
                automated = await find_automated(tx, tenant_id, account.account_id)
            if not to or not automated.enabled or not automated.send_notifications:
                return
        await self._publish(document, to, key=f"issued:{invoice_id}")
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            await self._sent(tx, invoice, to, actor=SYSTEM)

    async def _publish(self, document: InvoiceDocument, to: Sequence[str], *, key: str) -> None:
        pdf = await asyncio.to_thread(typeset, document)
        notice = _notice(document.invoice, to, pdf, key)
        await self._notifier.publish(document.invoice.tenant_id, notice)

    async def _sent(
        self, tx: Transaction, invoice: Invoice, to: Sequence[str], *, actor: str
    ) -> None:
        await add_event(
            tx,
            invoice,
            kind="mail",
            description=f"Sent to {len(to)} addresses." if to else "Told the channels.",
            actor=actor,
            now=self._clock.now(),
        )


def _notice(invoice: Invoice, addresses: Sequence[str], pdf: bytes, key: str) -> Notice:
    total = f"{format_decimal(invoice.total)} {invoice.currency_code}"
    is_internal = invoice.kind is InvoiceKind.CHARGEBACK
    name = f"Internal invoice {invoice.number}" if is_internal else f"Invoice {invoice.number}"
    whom = f" of department {invoice.department_id}" if is_internal else ""
    facts = {"invoice_id": invoice.invoice_id, "number": invoice.number, "total": total}
    if is_internal:
        facts["department_id"] = invoice.department_id
    return Notice(
        key=key,
        event_type="chargeback.issued" if is_internal else "invoice.issued",
        title=name,
        body=f"{name}{whom} over {total} is attached.",
        payload=json.dumps(facts),
        addresses=addresses,
        filename=f"{invoice.number}.pdf",
        attachment=pdf,
    )
