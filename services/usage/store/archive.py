"""Months of raw events on their way to a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

from services.kernel.database import Transaction

ROWS_A_BATCH = 5_000
COLUMNS = (
    "tenant_id",
    "source",
    "event_id",
    "revision",
    "weight",
    "start_at",
    "end_at",
    "recorded_at",
    "quantity",
    "billed_cost",
    "effective_cost",
    "list_cost",
    "contracted_cost",
    "outcome",
    "retries",
    "latency_ms",
    "error_code",
    "utilization",
    "capacity",
    "components",
    "amend_reason",
    "bill_columns",
    "dimension",
)

_ROWS = f"""
SELECT {", ".join(f"e.{name}::text" for name in COLUMNS[:-1])},
    (to_jsonb(d) - 'tenant_id' - 'digest')::text AS dimension
FROM usage.event e JOIN usage.dimension d USING (tenant_id, dimension_id)
WHERE e.start_at >= $1::date::timestamptz
  AND e.start_at < $1::date::timestamptz + interval '1 month'
ORDER BY e.tenant_id, e.start_at, e.sequence
"""


async def count_events(tx: Transaction, month: date) -> int:
    """Returns how many rows a month of UTC holds."""
    count: int = await tx.driver.fetchval(
        "SELECT count(*) FROM usage.event"
        " WHERE start_at >= $1::date::timestamptz"
        " AND start_at < $1::date::timestamptz + interval '1 month'",
        month,
    )
    return count


async def wait_for_files(tx: Transaction) -> None:
    """Lets the transaction wait for files, however long they are read and written."""
    await tx.driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


async def lock_files(tx: Transaction) -> None:
    """Keeps others from writing archive files until the transaction ends; before any other lock."""
    await tx.driver.execute("SELECT pg_advisory_xact_lock(hashtextextended('usage archive', 0))")


async def lock_month(tx: Transaction, month: date) -> None:
    """Keeps others from storing events of the month until the transaction ends."""
    await tx.driver.execute("SELECT usage.lock_event_partition($1)", month)


async def month_rows(tx: Transaction, month: date) -> AsyncIterator[list[tuple[str, ...]]]:
    """Yields the rows of a month as texts, some thousand at a time."""
    batch: list[tuple[str, ...]] = []
    async for record in tx.driver.cursor(_ROWS, month, prefetch=ROWS_A_BATCH):
        batch.append(tuple(record))
        if len(batch) == ROWS_A_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def drop_month(tx: Transaction, month: date, *, events: int, size: int, path: str) -> None:
    """Drops a month's events with their identities, and notes where they went."""
    await tx.driver.execute("SELECT usage.drop_event_partition($1)", month)
    await tx.driver.execute(
        "INSERT INTO usage.archived_month (month, events, file_bytes, file_path)"
        " VALUES ($1, $2, $3, $4) ON CONFLICT (month) DO UPDATE SET"
        " events = archived_month.events + excluded.events, file_bytes = excluded.file_bytes,"
        " file_path = archived_month.file_path || ' ' || excluded.file_path, archived_at = now()",
        month,
        events,
        size,
        path,
    )
