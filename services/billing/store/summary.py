"""How an account stands: sums over its invoices and payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.kernel.database import Transaction

_STANDING = """
WITH owed AS (
    SELECT total - amount_paid - amount_credited AS due, state, due_at FROM billing.invoice
    WHERE tenant_id = $1 AND account_id = $2 AND state IN ('open', 'processing', 'past_due')
)
SELECT
    COALESCE((SELECT sum(due) FROM owed), 0) AS open_total,
    COALESCE((SELECT sum(due) FROM owed WHERE state = 'past_due' OR due_at < $4), 0)
        AS past_due_total,
    (SELECT count(*) FROM owed) AS open_count,
    COALESCE((
        SELECT sum(CASE WHEN refund_of = '' THEN amount ELSE -abs(amount) END) FROM billing.payment
        WHERE tenant_id = $1 AND account_id = $2 AND state = 'succeeded' AND value_at >= $3
    ), 0) AS paid_total,
    COALESCE((
        SELECT invoice_id FROM billing.invoice
        WHERE tenant_id = $1 AND account_id = $2 AND issued_at IS NOT NULL
        ORDER BY issued_at DESC, invoice_id DESC LIMIT 1
    ), '') AS last_invoice_id,
    COALESCE((
        SELECT as_of_sequence FROM billing.metering WHERE tenant_id = $1
    ), '') AS as_of_sequence
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an account owes and paid, in its currency."""

    open_total: Decimal
    past_due_total: Decimal
    open_count: int
    paid_total: Decimal
    last_invoice_id: str
    as_of_sequence: str


async def standing(
    tx: Transaction, tenant_id: str, account_id: str, *, since: datetime, at: datetime
) -> Standing:
    """Returns how an account stands. since: from when payments count. at: what is overdue then."""
    row = await tx.driver.fetchrow(_STANDING, tenant_id, account_id, since, at)
    if row is None:
        raise ValueError("sums always have a row")
    return Standing(**dict(row))
