"""The row of a budget's period: what a decision compares, locked while it is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.budget import Budget, BudgetPeriod, LimitParts, PeriodTotals
from services.kernel.database import Transaction
from services.kernel.feed_page import START
from services.kernel.period import Period

COLUMNS = """budget_id, period_start, period_end, version, currency_code, amount, rolled_over,
    increased, limit_until, spent, held, excess, unpriced_events, denied_count, filled_sequence,
    closed_at, revision"""

_FIND = f"""
SELECT {COLUMNS} FROM budget.budget_period
WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3
"""

_LATEST = f"""
SELECT {COLUMNS} FROM budget.budget_period
WHERE tenant_id = $1 AND budget_id = $2 ORDER BY period_start DESC LIMIT 1
"""

_OLDEST_OPEN = f"""
SELECT {COLUMNS} FROM budget.budget_period
WHERE tenant_id = $1 AND budget_id = $2 AND closed_at IS NULL
ORDER BY period_start LIMIT 1 FOR UPDATE
"""

_ADD = """
INSERT INTO budget.budget_period (tenant_id, budget_id, period_start, period_end, version,
    currency_code, amount, rolled_over, increased, limit_until, filled_sequence)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""

_SET_LIMIT = f"""
UPDATE budget.budget_period
SET version = $4, amount = $5, increased = $6, rolled_over = $7, limit_until = $8,
    period_end = $9, revision = revision + 1
WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3
RETURNING {COLUMNS}
"""

_CLOSE = f"""
UPDATE budget.budget_period SET closed_at = $4, revision = revision + 1
WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3 AND closed_at IS NULL
RETURNING {COLUMNS}
"""

_FILL = f"""
UPDATE budget.budget_period
SET spent = $4, unpriced_events = $5, filled_sequence = $6, revision = revision + 1
WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3
RETURNING {COLUMNS}
"""

# Across tenants, for the worker: what has to be opened or closed, the most overdue first.
_DUE = """
SELECT tenant_id, budget_id, limit_until FROM budget.budget_period
WHERE closed_at IS NULL AND limit_until <= $1 ORDER BY limit_until LIMIT $2
"""

_NEXT_DUE = "SELECT min(limit_until) FROM budget.budget_period WHERE closed_at IS NULL"


async def find_period(
    tx: Transaction,
    tenant_id: str,
    budget_id: str,
    period_start: datetime,
    *,
    for_update: bool = False,
) -> BudgetPeriod | None:
    """Returns the row of a period. for_update: locks it until the end of the transaction."""
    query = f"{_FIND} FOR UPDATE" if for_update else _FIND
    row = await tx.driver.fetchrow(query, tenant_id, budget_id, period_start)
    return None if row is None else period_of(row)


async def latest_period(tx: Transaction, tenant_id: str, budget_id: str) -> BudgetPeriod | None:
    """Returns the newest period that has a row."""
    row = await tx.driver.fetchrow(_LATEST, tenant_id, budget_id)
    return None if row is None else period_of(row)


async def oldest_open(tx: Transaction, tenant_id: str, budget_id: str) -> BudgetPeriod | None:
    """Returns and locks the oldest period that is not closed."""
    row = await tx.driver.fetchrow(_OLDEST_OPEN, tenant_id, budget_id)
    return None if row is None else period_of(row)


async def add_period(
    tx: Transaction,
    budget: Budget,
    period: Period,
    *,
    parts: LimitParts,
    rolled_over: Decimal,
    filled_sequence: str = "",
) -> bool:
    """Adds the row of a period; False where there is one."""
    status = await tx.driver.execute(
        _ADD,
        budget.tenant_id,
        budget.budget_id,
        period.start,
        period.end,
        parts.version,
        budget.currency_code,
        parts.amount,
        rolled_over,
        parts.increased,
        parts.until,
        filled_sequence,
    )
    return status.endswith(" 1")


async def set_limit(
    tx: Transaction, tenant_id: str, row: BudgetPeriod, *, parts: LimitParts, end: datetime
) -> BudgetPeriod:
    """Stores what makes up the limit of a locked row. row: with its rolled_over as it shall be."""
    record = await tx.driver.fetchrow(
        _SET_LIMIT,
        tenant_id,
        row.budget_id,
        row.period.start,
        parts.version,
        parts.amount,
        parts.increased,
        row.totals.rolled_over,
        parts.until,
        end,
    )
    return _found(record)


async def close_period(
    tx: Transaction, tenant_id: str, row: BudgetPeriod, at: datetime
) -> BudgetPeriod | None:
    """Closes a period; None where it is closed already."""
    record = await tx.driver.fetchrow(_CLOSE, tenant_id, row.budget_id, row.period.start, at)
    return None if record is None else period_of(record)


async def fill_period(
    tx: Transaction,
    tenant_id: str,
    row: BudgetPeriod,
    *,
    spent: Decimal,
    unpriced_events: int,
    sequence: str,
) -> BudgetPeriod:
    """Stores what usage cost up to a position of the cost feed."""
    record = await tx.driver.fetchrow(
        _FILL, tenant_id, row.budget_id, row.period.start, spent, unpriced_events, sequence
    )
    return _found(record)


async def mark_filled(tx: Transaction, tenant_id: str, row: BudgetPeriod, sequence: str) -> None:
    """Stores up to which change of the cost feed a locked period counts everything."""
    await tx.driver.execute(
        """
        UPDATE budget.budget_period SET filled_sequence = GREATEST(filled_sequence, $4)
        WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3
        """,
        tenant_id,
        row.budget_id,
        row.period.start,
        sequence,
    )


async def due_budgets(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Returns (tenant_id, budget_id) of open periods that are over or whose limit changes."""
    rows = await tx.driver.fetch(_DUE, now, limit)
    return [(row["tenant_id"], row["budget_id"]) for row in rows]


async def next_due(tx: Transaction) -> datetime | None:
    """Returns when the next open period ends or changes its limit, of all tenants."""
    instant: datetime | None = await tx.driver.fetchval(_NEXT_DUE)
    return instant


async def periods_of(
    tx: Transaction, tenant_id: str, budget_ids: Sequence[str], at: datetime
) -> dict[str, BudgetPeriod]:
    """Returns the rows whose periods hold an instant, by budget, without locks."""
    rows = await tx.driver.fetch(
        f"""
        SELECT {COLUMNS} FROM budget.budget_period
        WHERE tenant_id = $1 AND budget_id = ANY($2::text[])
        AND period_start <= $3 AND period_end > $3
        """,
        tenant_id,
        list(budget_ids),
        at,
    )
    return {row["budget_id"]: period_of(row) for row in rows}


def _found(record: Any) -> BudgetPeriod:
    if record is None:
        raise LookupError("a locked period has no row")
    return period_of(record)


def period_of(row: Any) -> BudgetPeriod:
    """Returns the period of a row with COLUMNS."""
    return BudgetPeriod(
        budget_id=row["budget_id"],
        period=Period(row["period_start"], row["period_end"]),
        version=row["version"],
        currency_code=row["currency_code"],
        totals=PeriodTotals(
            amount=row["amount"],
            rolled_over=row["rolled_over"],
            increased=row["increased"],
            spent=row["spent"],
            held=row["held"],
            excess=row["excess"],
            unpriced_events=row["unpriced_events"],
        ),
        limit_until=row["limit_until"],
        filled_sequence=row["filled_sequence"],
        closed_at=row["closed_at"],
        denied_count=row["denied_count"],
        revision=row["revision"],
    )


async def lock_counted(tx: Transaction, tenant_id: str, consumer: str) -> str:
    """Makes the cost feed's consumer wait for this transaction.

    Returns the newest change of the tenant that it has counted, "" for none.
    """
    await tx.driver.execute(
        """
        INSERT INTO feed_cursor (name, position) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name
        """,  # an update without a change, to lock the row
        consumer,
        str(START),
    )
    counted: str | None = await tx.driver.fetchval(
        "SELECT counted_sequence FROM budget.tenant_revision WHERE tenant_id = $1", tenant_id
    )
    return counted or ""


async def cursor_position(tx: Transaction, consumer: str) -> str:
    """Returns how far a consumer has come, "" before its first page; for the worker's role."""
    query = "SELECT position FROM feed_cursor WHERE name = $1"
    position: str | None = await tx.driver.fetchval(query, consumer)
    return position or ""


async def mark_counted(tx: Transaction, newest: Mapping[str, str]) -> None:
    """Stores, for the consumer of the cost feed, the newest change it counts of each tenant."""
    await tx.driver.execute(
        """
        INSERT INTO budget.tenant_revision AS known (tenant_id, counted_sequence)
        SELECT * FROM unnest($1::text[], $2::text[]) ORDER BY 1
        ON CONFLICT (tenant_id) DO UPDATE
        SET counted_sequence = GREATEST(known.counted_sequence, EXCLUDED.counted_sequence)
        """,
        list(newest),
        list(newest.values()),
    )
