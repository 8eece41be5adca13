"""Which transactions of the usage service are counted in, and which budgets are how new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.kernel.database import Transaction

KEPT: Final = timedelta(hours=1)  # longer than any transaction and any consumer's pause

_ADD = """
INSERT INTO budget.counted_transaction (tenant_id, recorded_at)
SELECT * FROM unnest($1::text[], $2::timestamptz[]) ON CONFLICT DO NOTHING
"""


async def add(tx: Transaction, transactions: Sequence[tuple[str, datetime]]) -> None:
    """Notes transactions as counted."""
    await tx.driver.execute(
        _ADD,
        [tenant_id for tenant_id, _ in transactions],
        [recorded_at for _, recorded_at in transactions],
    )


async def is_counted(tx: Transaction, tenant_id: str, recorded_at: datetime) -> bool:
    """Tells whether a transaction's changes are counted: noted, or older than is kept."""
    found: bool = await tx.driver.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM budget.counted_transaction
            WHERE tenant_id = $1 AND recorded_at = $2
        ) OR $2 < (SELECT min(recorded_at) FROM budget.counted_transaction)
        """,
        tenant_id,
        recorded_at,
    )
    return bool(found)


async def trim(tx: Transaction, now: datetime) -> None:
    """Forgets transactions that are old enough to be counted for certain.

    The newest ones stay: older than they is counted, also where nothing has come since.
    """
    await tx.driver.execute(
        """
        DELETE FROM budget.counted_transaction WHERE recorded_at < $1
        AND recorded_at < (SELECT max(recorded_at) FROM budget.counted_transaction)
        """,
        now - KEPT,
    )


async def revisions(tx: Transaction, tenant_ids: Sequence[str]) -> dict[str, int]:
    """Returns how often the budgets of each tenant were changed."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id, revision FROM budget.tenant_revision WHERE tenant_id = ANY($1::text[])",
        tenant_ids,
    )
    return {row["tenant_id"]: row["revision"] for row in rows}
