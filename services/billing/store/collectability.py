"""Whether an account's invoices can be charged."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select, tuple_

from services.billing.tables.provider import payment_method as table
from services.kernel.database import Transaction


async def has_payment_method(
    tx: Transaction, tenant_id: str, account_id: str, *, at: datetime
) -> bool:
    """Tells whether the account has a payment method that has not expired; some never do."""
    lasts = tuple_(table.c.expire_year, table.c.expire_month) >= tuple_(at.year, at.month)
    usable = select(table.c.payment_method_id).where(
        table.c.tenant_id == tenant_id,
        table.c.account_id == account_id,
        table.c.is_detached.is_(False),
        or_(table.c.expire_year == 0, lasts),
    )
    return bool(await tx.scalar(select(usable.exists())))
