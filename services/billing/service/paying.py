"""Collects an invoice because somebody asks for it."""

from __future__ import annotations

from services.billing.domain.invoice_record import Invoice
from services.billing.service.moving import locked_invoice
from services.billing.service.provider.collecting import Collecting
from services.kernel import audit
from services.kernel.database import Database


class Paying:
    """The use case of paying now."""

    def __init__(self, database: Database, collecting: Collecting) -> None:
        """Takes what charges."""
        self._database = database
        self._collecting = collecting

    async def pay_invoice(
        self, tenant_id: str, invoice_id: str, *, payment_method_id: str = ""
    ) -> Invoice:
        """Begins a charge, which a worker makes; it does not advance the dunning schedule.

        Its outcome is the invoice's state and the attempt's. A charge under way is not doubled.
        Raises InvoiceNotFound, InvoiceStateForbids.
        """
        async with self._database.transaction(tenant_id) as tx:
            invoice = await locked_invoice(tx, tenant_id, invoice_id)
            attempt = await self._collecting.begin_manual(
                tx, invoice, payment_method_id=payment_method_id
            )
            await audit.append(
                tx,
                action="invoices.pay",
                resource=f"invoices/{invoice_id}",
                after={"attempt_id": attempt.attempt_id, "amount": str(attempt.amount)},
            )
        return invoice
