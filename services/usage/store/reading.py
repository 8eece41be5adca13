"""Entries of whole periods, as CSV straight from PostgreSQL: pages of them, each after the last.

COPY, because a row that passes through Python as objects costs thirty times as much. Pages, because
COPY gives no cursor; the primary key finds each page's first row.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, Numeric, Select, Text, cast, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

from services.kernel.database import Transaction
from services.kernel.filter import compile_filter
from services.kernel.period import Period
from services.usage.store.attribution import attributed_dimensions
from services.usage.store.event_rows import event_fields
from services.usage.tables import bill_column, event

PAGE_ROWS: Final = 8_192  # some 2 MB, of which either end holds three
# How long a reader may pause between two pages before its snapshot is given up.
PAUSE_SECONDS: Final = 300
ATTRIBUTES: Final = (
    "resource_type",
    "unit",
    "currency_code",
    "user",
    "department",
    "project",
    "resource_id",
    "service",
    "service_category",
    "provider",
    "region",
    "sub_account",
    "charge_category",
    "tags",
)
_DIALECT: Any = asyncpg_dialect()  # type: ignore[no-untyped-call]


class Position(NamedTuple):
    """Where a page ends: the key of its last entry."""

    start_at: datetime
    sequence: int


def _short(column: Any) -> Any:
    return cast(func.trim_scale(column, type_=Numeric), Text)


_e = event.c
# By the names of the columns of a page; `dimension_id` and `position_*` are not shown to callers.
COLUMNS: Final[dict[str, Any]] = {
    "dimension_id": _e.dimension_id,
    "source": _e.source,
    "event_id": _e.event_id,
    "revision": _e.revision,
    "is_reversal": _e.weight < 0,
    "end_time": func.nullif(_e.end_at, _e.start_at),
    "recorded_time": _e.recorded_at,
    "quantity": _short(_e.quantity),
    "billed_cost": _short(_e.billed_cost),
    "effective_cost": _short(_e.effective_cost),
    "list_cost": _short(_e.list_cost),
    "contracted_cost": _short(_e.contracted_cost),
    "is_rated": _e.rate_plan_id.is_not(None),
    "outcome": _e.outcome,
    "retries": _e.retries,
    "latency_ms": _e.latency_ms,
    "error_code": _e.error_code,
    "utilization": _e.utilization,
    "capacity": _short(_e.capacity),
    "is_unpriced": _e.is_unpriced,
    "components": cast(_e.components, Text),
    "bill_columns": _e.bill_columns,
    # Last, and never quoted, so that the end of the text tells where the page ends.
    "position_time": _e.start_at,
    "position_sequence": _e.sequence,
}


def last_position(text: bytes) -> Position:
    """Returns where a page of CSV ends that has a row."""
    _, start_at, sequence = text.rstrip(b"\n").rsplit(b",", 2)
    return Position(datetime.fromisoformat(start_at.decode()), int(sequence))


async def hold_snapshot(tx: Transaction) -> None:
    """Lets the transaction wait for a slow reader."""
    await tx.driver.execute(
        f"SET LOCAL idle_in_transaction_session_timeout = '{PAUSE_SECONDS}s';"
        " SET LOCAL timezone = 'UTC'"
    )


async def page_csv(
    tx: Transaction,
    tenant_id: str,
    period: Period,
    *,
    filter_text: str,
    after: Position | None,
) -> bytes:
    """Returns the next entries as CSV without a header, at most PAGE_ROWS, in `COLUMNS`' order.

    Nulls are empty, empty texts are quoted. Raises InvalidFilter.
    """
    statement = (
        select(*COLUMNS.values())
        .where(_e.tenant_id == tenant_id, _e.start_at >= period.start, _e.start_at < period.end)
        .order_by(_e.start_at, _e.sequence)
        .limit(PAGE_ROWS)
    )
    if after is not None:
        bound = tuple_(
            literal(after.start_at, _e.start_at.type), literal(after.sequence, _e.sequence.type)
        )
        statement = statement.where(tuple_(_e.start_at, _e.sequence) > bound)
    if filter_text.strip():
        dims = attributed_dimensions(tenant_id)
        statement = statement.select_from(
            event.join(dims, dims.c.dimension_id == _e.dimension_id)
        ).where(compile_filter(filter_text, event_fields(dims, tenant_id)))
    return await _csv(tx, statement)


async def attributes_csv(tx: Transaction, tenant_id: str, dimension_ids: Sequence[int]) -> bytes:
    """Returns the ids of dimensions, then their `ATTRIBUTES`, as CSV without a header."""
    dims = attributed_dimensions(tenant_id)
    columns = [cast(dims.c[name], Text) for name in ATTRIBUTES]
    wanted = literal(dimension_ids, ARRAY(dims.c.dimension_id.type))
    statement = select(dims.c.dimension_id, *columns)
    return await _csv(tx, statement.where(dims.c.dimension_id == func.any(wanted)))


async def _csv(tx: Transaction, statement: Select[Any]) -> bytes:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params()
    output = io.BytesIO()
    await tx.driver.copy_from_query(
        str(compiled),
        *(values[name] for name in compiled.positiontup or ()),
        output=output,
        format="csv",
    )
    return output.getvalue()


async def bill_column_names(tx: Transaction, tenant_id: str) -> list[str]:
    """Returns the names that `bill_columns` may have, sorted."""
    statement = select(bill_column.c.column_name).where(bill_column.c.tenant_id == tenant_id)
    return sorted((await tx.scalars(statement)).all())


async def archived_months(tx: Transaction, period: Period) -> list[date]:
    """Returns the months of a period whose events were archived, oldest first."""
    records = await tx.driver.fetch(
        "SELECT month FROM usage.archived_month WHERE month::timestamp < $2::timestamp"
        " AND month::timestamp + interval '1 month' > $1::timestamp ORDER BY month",
        period.start.replace(tzinfo=None),
        period.end.replace(tzinfo=None),
    )
    return [record["month"] for record in records]
