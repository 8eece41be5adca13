"""Which transactions of the usage service are counted in, and which budgets are how new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.kernel.database import Transaction

KEPT: Final = timedelta(hours=1)  # longer than any transaction and any consumer's pause

_ADD = """
WITH whole AS (
    UPDATE budget.counted_transaction SET is_whole = true WHERE NOT is_whole
    AND (tenant_id, recorded_at) NOT IN (
        SELECT tenant_id, recorded_at FROM unnest($1::text[], $2::timestamptz[])
            AS input(tenant_id, recorded_at))
)
INSERT INTO budget.counted_transaction (tenant_id, recorded_at, is_whole)
SELECT tenant_id, recorded_at, bool_and(is_whole)
FROM unnest($1::text[], $2::timestamptz[], $3::boolean[])
    AS input(tenant_id, recorded_at, is_whole)
GROUP BY tenant_id, recorded_at
ON CONFLICT (tenant_id, recorded_at) DO UPDATE SET is_whole = EXCLUDED.is_whole
"""


async def add(
    tx: Transaction, transactions: Sequence[tuple[str, datetime]], *, may_continue: bool
) -> None:
    """Notes the transactions of a page. may_continue: the last one may go on in the next."""
    unique = list(dict.fromkeys(transactions))
    last = transactions[-1]
    await tx.driver.execute(
        _ADD,
        [tenant_id for tenant_id, _ in unique],
        [recorded_at for _, recorded_at in unique],
        [each != last or not may_continue for each in unique],
    )


async def is_counted(tx: Transaction, tenant_id: str, recorded_at: datetime) -> bool:
    """Tells whether a transaction's changes are counted: noted as whole, or older than is kept."""
    found: bool = await tx.driver.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM budget.counted_transaction
            WHERE tenant_id = $1 AND recorded_at = $2 AND is_whole
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
