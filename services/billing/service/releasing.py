"""What a void invoice had billed waits for the next one."""

from __future__ import annotations

from services.billing.service.credits import Credits
from services.billing.store import metering
from services.billing.store import pending_lines as pending_rows
from services.kernel.transaction import Transaction


async def release_billed(tx: Transaction, credit: Credits, tenant_id: str, invoice_id: str) -> None:
    """Lets fees and late usage of an invoice wait again, and gives back the credit it used.

    Whoever voided it, here or at the provider.
    """
    await pending_rows.give_back_pending(tx, tenant_id, invoice_id)
    await metering.release_late_usage(tx, tenant_id, invoice_id)
    await credit.give_back(tx, tenant_id, invoice_id)
