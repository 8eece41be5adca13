"""Reconciliations and what they found, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.billing.domain.reconciliation import (
    Cause,
    Diff,
    DiffKind,
    DiffState,
    Reconciliation,
    ReconciliationState,
    Resolution,
    Scope,
)
from services.billing.tables.provider import reconciliation as table
from services.billing.tables.provider import reconciliation_diff as diff_table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction


def _choice(column: Any, kinds: Any) -> FilterField:
    return FilterField(FieldType.CHOICE, column, choices={each.name: each.value for each in kinds})


_RECONCILIATIONS = Listing(
    filters={
        "state": _choice(table.c.state, ReconciliationState),
        "scope": _choice(table.c.scope, Scope),
        "trigger": _choice(table.c.cause, Cause),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
        "diff_count": FilterField(FieldType.INTEGER, table.c.diff_count),
    },
    orders={
        "create_time": table.c.created_at,
        "reconciliation_id": table.c.reconciliation_id,
    },
    default_order="create_time desc",
    tie_break="reconciliation_id",
)
_DIFFS = Listing(
    filters={
        "kind": _choice(diff_table.c.kind, DiffKind),
        "state": _choice(diff_table.c.state, DiffState),
        "invoice_id": FilterField(FieldType.STRING, diff_table.c.invoice_id),
        "action": FilterField(FieldType.STRING, diff_table.c.action),
    },
    orders={
        "create_time": diff_table.c.created_at,
        "kind": diff_table.c.kind,
        "diff_id": diff_table.c.diff_id,
    },
    default_order="create_time desc",
    tie_break="diff_id",
)


def _of(row: Mapping[str, Any]) -> Reconciliation:
    names = ("repair", "created_at", "compared_count", "total_count", "diff_count")
    return Reconciliation(
        **{name: row[name] for name in (*names, "repaired_count", "error", "ended_at")},
        reconciliation_id=row["reconciliation_id"],
        scope=Scope(row["scope"]),
        cause=Cause(row["cause"]),
        state=ReconciliationState(row["state"]),
        window=Period(row["start_at"], row["end_at"]),
    )


def _diff_of(row: Mapping[str, Any]) -> Diff:
    difference = row["difference"]
    names = ("ours", "theirs", "action", "invoice_id", "provider_object_id", "diff_id")
    return Diff(
        **{name: row[name] for name in (*names, "resolved_by", "note", "created_at")},
        reconciliation_id=row["reconciliation_id"],
        kind=DiffKind(row["kind"]),
        state=DiffState(row["state"]),
        amount=None if difference is None else Money(row["currency_code"], difference),
    )


async def add(tx: Transaction, tenant_id: str, found: Reconciliation) -> None:
    """Adds a reconciliation that waits."""
    await tx.driver.execute(
        "INSERT INTO billing.reconciliation (tenant_id, reconciliation_id, scope, cause, state,"
        " start_at, end_at, repair, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        *(tenant_id, found.reconciliation_id, found.scope.value, found.cause.value),
        *(found.state.value, found.window.start, found.window.end, found.repair),
        found.created_at,
    )


async def save(tx: Transaction, tenant_id: str, found: Reconciliation) -> None:
    """Stores how far a reconciliation is."""
    await tx.driver.execute(
        "UPDATE billing.reconciliation SET state = $3, compared_count = $4, total_count = $5,"
        " diff_count = $6, repaired_count = $7, error = $8, ended_at = $9"
        " WHERE tenant_id = $1 AND reconciliation_id = $2",
        *(tenant_id, found.reconciliation_id, found.state.value, found.compared_count),
        *(found.total_count, found.diff_count, found.repaired_count, found.error),
        found.ended_at,
    )


async def find(tx: Transaction, tenant_id: str, reconciliation_id: str) -> Reconciliation | None:
    """Returns a reconciliation."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.reconciliation WHERE tenant_id = $1 AND reconciliation_id = $2",
        *(tenant_id, reconciliation_id),
    )
    return None if row is None else _of(dict(row))


async def last_end(tx: Transaction, tenant_id: str, scope: Scope) -> datetime | None:
    """Returns up to when was compared last in a scope, None when never."""
    found: datetime | None = await tx.driver.fetchval(
        "SELECT max(end_at) FROM billing.reconciliation WHERE tenant_id = $1"
        " AND state = 'succeeded' AND scope = $2",
        *(tenant_id, scope.value),
    )
    return found


async def list_reconciliations(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[Reconciliation]:
    """Returns a page of reconciliations."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _RECONCILIATIONS.page(tx, statement, page, tokens)
    return Page([_of(dict(row)) for row in found.items], found.next_page_token)


async def add_diff(tx: Transaction, tenant_id: str, diff: Diff) -> bool:
    """Adds a difference; returns False for one that is known and open."""
    amount = diff.amount
    return bool(
        await tx.driver.fetchval(
            "INSERT INTO billing.reconciliation_diff (tenant_id, diff_id, reconciliation_id, kind,"
            " state, invoice_id, provider_object_id, ours, theirs, currency_code, difference,"
            " action, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
            " ON CONFLICT DO NOTHING RETURNING true",
            *(tenant_id, diff.diff_id, diff.reconciliation_id, diff.kind.value),
            *(diff.state.value, diff.invoice_id, diff.provider_object_id, diff.ours),
            *(diff.theirs, "" if amount is None else amount.currency_code),
            *(None if amount is None else amount.amount, diff.action, diff.created_at),
        )
    )


async def find_diff(tx: Transaction, tenant_id: str, diff_id: str) -> Diff | None:
    """Returns a difference, locked."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.reconciliation_diff WHERE tenant_id = $1 AND diff_id = $2"
        " FOR UPDATE",
        *(tenant_id, diff_id),
    )
    return None if row is None else _diff_of(dict(row))


async def close_diff(
    tx: Transaction, tenant_id: str, diff: Diff, resolution: Resolution | None
) -> None:
    """Stores how a difference was closed; resolution: a person's, None for a repair."""
    await tx.driver.execute(
        "UPDATE billing.reconciliation_diff SET state = $3, resolution = $4, resolved_by = $5,"
        " note = $6 WHERE tenant_id = $1 AND diff_id = $2",
        *(tenant_id, diff.diff_id, diff.state.value),
        *("" if resolution is None else resolution.value, diff.resolved_by, diff.note),
    )


async def list_diffs(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, reconciliation_id: str
) -> Page[Diff]:
    """Returns a page of differences. reconciliation_id: `-` for those of all."""
    statement = select(diff_table).where(diff_table.c.tenant_id == page.tenant_id)
    if reconciliation_id != "-":
        statement = statement.where(diff_table.c.reconciliation_id == reconciliation_id)
    found = await _DIFFS.page(tx, statement, page, tokens)
    return Page([_diff_of(dict(row)) for row in found.items], found.next_page_token)


async def invoices_there(tx: Transaction, tenant_id: str, window: Period | None) -> list[str]:
    """Returns invoices that a provider has: the unfinished ones, or all issued in a window."""
    rows = await tx.driver.fetch(
        "SELECT invoice_id FROM billing.invoice WHERE tenant_id = $1"
        " AND provider_invoice_id <> '' AND provider_invoice_id NOT LIKE 'off\\_%'"
        " AND (state IN ('open', 'processing', 'past_due', 'uncollectible')"
        " OR ($2::timestamptz IS NOT NULL AND issued_at >= $2 AND issued_at < $3))"
        " ORDER BY invoice_id",
        tenant_id,
        None if window is None else window.start,
        None if window is None else window.end,
    )
    return [row["invoice_id"] for row in rows]


async def tenants_there(tx: Transaction) -> list[str]:
    """Returns the tenants with invoices, or metered usage, at a provider, for the worker's role."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id FROM billing.invoice WHERE provider_invoice_id <> ''"
        " AND provider_invoice_id NOT LIKE 'off\\_%'"
        " UNION SELECT tenant_id FROM billing.meter_route WHERE provider_subscription_id <> ''"
        " ORDER BY tenant_id"
    )
    return [row["tenant_id"] for row in rows]
