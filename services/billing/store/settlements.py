"""What the provider pays out for payments, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.billing.domain.payment import Settlement
from services.billing.tables.provider import settlement as table
from services.kernel.money import Money
from services.kernel.transaction import Transaction

_ADD = """
INSERT INTO billing.settlement (tenant_id, payment_id, provider_transaction_id, currency_code,
    gross, fee, net, exchange_rate, exchange_difference, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING true
"""


async def add(
    tx: Transaction, tenant_id: str, payment_id: str, found: Settlement, now: datetime
) -> bool:
    """Adds what a payment is settled with; returns False where that is known."""
    difference = found.exchange_difference
    return bool(
        await tx.driver.fetchval(
            _ADD,
            *(tenant_id, payment_id, found.provider_transaction_id, found.gross.currency_code),
            *(found.gross.amount, found.fee.amount, found.net.amount, found.exchange_rate),
            *(None if difference is None else difference.amount, now),
        )
    )


async def of_payments(
    tx: Transaction, tenant_id: str, payment_ids: Sequence[str]
) -> dict[str, Settlement]:
    """Returns what is known of payments, by their ids."""
    statement = select(table).where(
        table.c.tenant_id == tenant_id, table.c.payment_id.in_(payment_ids)
    )
    rows = (await tx.execute(statement)).mappings()
    return {row["payment_id"]: _of(dict(row)) for row in rows}


def _of(row: Mapping[str, Any]) -> Settlement:
    code, difference = row["currency_code"], row["exchange_difference"]
    return Settlement(
        provider_transaction_id=row["provider_transaction_id"],
        gross=Money(code, row["gross"]),
        fee=Money(code, row["fee"]),
        exchange_rate=row["exchange_rate"],
        exchange_difference=None if difference is None else Money(code, difference),
    )
