"""Billing runs as rows. A run of the platform is of the tenant `*`; its items are the tenants'."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.billing_run import BillingRun, ItemState, RunItem, RunKind, RunState
from services.billing.tables.invoices import invoice as invoice_table
from services.billing.tables.runs import billing_run as table
from services.billing.tables.runs import billing_run_item as item_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens

_FIELDS = (
    *("tenant_id", "run_id", "month", "actor", "created_at", "finalize", "dry_run"),
    *("plan_id", "error", "started_at", "ended_at", "department_ids", "send_notifications"),
)
_ITEM_COLUMNS = (
    *("tenant_id", "run_id", "item_id", "account_id", "department_id", "state", "updated_at"),
)
_RUNS = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, table.c.state, choices={one.name: one.value for one in RunState}
        ),
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={one.name: one.value for one in RunKind}
        ),
        "month": FilterField(FieldType.STRING, table.c.month),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
    },
    orders={"create_time": table.c.created_at, "run_id": table.c.run_id},
    default_order="create_time desc",
    tie_break="run_id",
)
_ITEM_KEY = (item_table.c.tenant_id + "/" + item_table.c.item_id).label("item_key")
_ITEMS = Listing(
    filters={
        "tenant_id": FilterField(FieldType.STRING, item_table.c.tenant_id),
        "account_id": FilterField(FieldType.STRING, item_table.c.account_id),
        "state": FilterField(
            FieldType.CHOICE,
            item_table.c.state,
            choices={one.name: one.value for one in ItemState},
        ),
    },
    orders={
        "tenant_id": item_table.c.tenant_id,
        "state": item_table.c.state,
        "item_key": _ITEM_KEY,
    },
    default_order="tenant_id",
    tie_break="item_key",
)

# One item for each running or ended subscription of a tenant's own account that the month can hold.
_ADD_ACCOUNTS = """
INSERT INTO billing.billing_run_item
    (tenant_id, run_id, item_id, account_id, state, updated_at)
SELECT subscription.tenant_id, $1, subscription.subscription_id, subscription.account_id,
    'pending', $2
FROM billing.subscription AS subscription
JOIN billing.account AS account USING (tenant_id, account_id)
LEFT JOIN billing.automated_billing AS automated USING (tenant_id, account_id)
WHERE account.state = 'active' AND subscription.started_at < $3
    AND (subscription.ended_at IS NULL OR subscription.ended_at >= $4)
    AND (cardinality($5::text[]) = 0 OR subscription.tenant_id = ANY($5))
    AND (NOT $6 OR automated.enabled)
ON CONFLICT DO NOTHING
"""


async def add_run(tx: Transaction, run: BillingRun) -> None:
    """Adds a run without items."""
    values = {name: getattr(run, name) for name in _FIELDS}
    await tx.execute(insert(table).values(**values, kind=run.kind.value, state=run.state.value))


async def add_accounts(
    tx: Transaction,
    run: BillingRun,
    *,
    start: datetime,
    end: datetime,
    tenant_ids: Sequence[str],
    automated_only: bool,
) -> None:
    """Adds an item for each account that a month can bill, over all tenants or some."""
    await tx.driver.execute(
        _ADD_ACCOUNTS, run.run_id, run.created_at, end, start, list(tenant_ids), automated_only
    )


async def ensure_item(tx: Transaction, item: RunItem) -> ItemState:
    """Adds an item unless it is there, locks it, and returns what became of it so far."""
    values = {name: getattr(item, name) for name in _ITEM_COLUMNS if name != "state"}
    statement = insert(item_table).values(**values, state=item.state.value)
    await tx.execute(statement.on_conflict_do_nothing())
    locked = select(item_table.c.state).where(*_is(item)).with_for_update()
    return ItemState(await tx.scalar(locked))


async def find_run(tx: Transaction, run_id: str, *, is_locked: bool = False) -> BillingRun | None:
    """Returns a run, with what the transaction may see of its items; None where there is none."""
    statement = select(table).where(table.c.run_id == run_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else await _run_of(tx, row)


async def list_runs(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[BillingRun]:
    """Returns a page of the runs that the transaction may see."""
    found = await _RUNS.page(tx, select(table), page, tokens)
    return Page([await _run_of(tx, row) for row in found.items], found.next_page_token)


async def list_items(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, run_id: str
) -> Page[RunItem]:
    """Returns a page of a run's items that the transaction may see."""
    items = select(item_table, _ITEM_KEY).where(item_table.c.run_id == run_id)
    found = await _ITEMS.page(tx, items, page, tokens)
    return Page([_item_of(row) for row in found.items], found.next_page_token)


async def pending_items(tx: Transaction, run_id: str, limit: int) -> list[RunItem]:
    """Returns items that nothing became of yet, in order."""
    found = await tx.execute(
        select(item_table)
        .where(item_table.c.run_id == run_id, item_table.c.state == ItemState.PENDING.value)
        .order_by(item_table.c.tenant_id, item_table.c.item_id)
        .limit(limit)
    )
    return [_item_of(row) for row in found.mappings()]


async def claim_item(tx: Transaction, item: RunItem) -> bool:
    """Locks an item to the end of the transaction; False where something became of it."""
    statement = select(item_table.c.state).where(*_is(item)).with_for_update()
    return await tx.scalar(statement) == ItemState.PENDING.value


async def save_item(tx: Transaction, item: RunItem) -> None:
    """Stores what became of an item."""
    total = item.total
    await tx.execute(
        update(item_table)
        .where(*_is(item))
        .values(
            state=item.state.value,
            invoice_id=item.invoice_id,
            currency_code=None if total is None else total.currency_code,
            total=None if total is None else total.amount,
            error=item.error,
            updated_at=item.updated_at,
        )
    )


async def retry_failed(tx: Transaction, run_id: str, now: datetime) -> None:
    """Makes failed items pending again."""
    await tx.execute(
        update(item_table)
        .where(item_table.c.run_id == run_id, item_table.c.state == ItemState.FAILED.value)
        .values(state=ItemState.PENDING.value, error="", updated_at=now)
    )


async def set_state(
    tx: Transaction, run_id: str, state: RunState, *, error: str = "", **changes: datetime | None
) -> None:
    """Stores how far a run is."""
    await tx.execute(
        update(table)
        .where(table.c.run_id == run_id)
        .values(state=state.value, error=error, **changes)
    )


async def unsent_invoices(tx: Transaction, run_id: str) -> int:
    """Returns how many of a run's invoices have not reached their provider."""
    statement = (
        select(func.count())
        .select_from(invoice_table)
        .where(invoice_table.c.run_id == run_id, invoice_table.c.state.in_(["locked", "pushing"]))
    )
    return await tx.scalar(statement) or 0


def _is(item: RunItem) -> tuple[Any, ...]:
    return (
        item_table.c.tenant_id == item.tenant_id,
        item_table.c.run_id == item.run_id,
        item_table.c.item_id == item.item_id,
    )


async def _run_of(tx: Transaction, row: RowMapping) -> BillingRun:
    own = item_table.c.run_id == row["run_id"]
    counted = await tx.execute(
        select(
            item_table.c.state,
            func.count(),
            func.count().filter(item_table.c.invoice_id != ""),
            func.max(item_table.c.updated_at),
        )
        .where(own)
        .group_by(item_table.c.state)
    )
    states = counted.all()
    summed = await tx.execute(
        select(item_table.c.currency_code, func.sum(item_table.c.total))
        .where(own, item_table.c.total.is_not(None))
        .group_by(item_table.c.currency_code)
        .order_by(item_table.c.currency_code)
    )
    return BillingRun(
        **{name: row[name] for name in _FIELDS},
        kind=RunKind(row["kind"]),
        state=RunState(row["state"]),
        counts={ItemState(state): count for state, count, _, _ in states},
        invoices=sum(made for _, _, made, _ in states),
        totals=tuple(Money(code, total) for code, total in summed.all()),
        updated_at=max((at for _, _, _, at in states), default=row["created_at"]),
    )


def _item_of(row: RowMapping) -> RunItem:
    total = row["total"]
    return RunItem(
        tenant_id=row["tenant_id"],
        run_id=row["run_id"],
        item_id=row["item_id"],
        account_id=row["account_id"],
        department_id=row["department_id"],
        state=ItemState(row["state"]),
        invoice_id=row["invoice_id"],
        total=None if total is None else Money(row["currency_code"], total),
        error=row["error"],
        updated_at=row["updated_at"],
    )
