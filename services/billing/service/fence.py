"""The fence between a charge at the provider and what would change the amount it takes.

A charge is written down in a transaction that has locked the invoice, with the amount that is due
then. From there to its outcome nothing here may change that amount: whoever would, comes again.
"""

from __future__ import annotations

from services.billing.domain.invoice_record import Invoice
from services.billing.errors import ChargeUnderWay
from services.billing.store.payments import is_charging
from services.kernel.transaction import Transaction


async def require_no_charge(tx: Transaction, invoice: Invoice) -> None:
    """Raises ChargeUnderWay while the provider may take the amount due. invoice: locked."""
    if await is_charging(tx, invoice.tenant_id, invoice.invoice_id):
        raise ChargeUnderWay(invoice_id=invoice.invoice_id)
