"""Sums by hour, unit and currency over roll-ups and the deltas above them, and failed events."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Date, Select, cast, func, select, tuple_, union_all

from services.kernel.database import Transaction
from services.kernel.filter import compile_filter
from services.kernel.period import Period
from services.usage.domain.event import Outcome
from services.usage.store.attribution import attributed_dimensions, dimension_fields
from services.usage.tables import cost_change, event, rollup_hour, rollup_mark

_SUMMED = (
    "events",
    "failed_events",
    "retries",
    "latency_ms_sum",
    "quantity",
    "billed_cost",
    "list_cost",
    "utilization_sum",
    "utilization_samples",
    "capacity_sum",
    "capacity_samples",
)


class HourCell(NamedTuple):
    """Sums over the events of one hour, unit and currency; as `HourlyUsage` explains them."""

    hour_at: datetime
    unit: str
    currency_code: str
    events: int
    failed_events: int
    retries: int
    latency_ms_sum: int
    quantity: Decimal
    billed_cost: Decimal
    list_cost: Decimal
    utilization_sum: float
    utilization_samples: int
    capacity_sum: Decimal
    capacity_samples: int


class FailedCell(NamedTuple):
    """Failed events of one local day, error code ("" for none) and currency."""

    day: date
    error_code: str
    currency_code: str
    events: int
    billed_cost: Decimal
    list_cost: Decimal


async def hour_cells(
    tx: Transaction, tenant_id: str, period: Period, *, text: str, limit: int
) -> list[HourCell]:
    """Returns the sums of whole hours, in no particular order.

    period: of whole local hours. text: a filter. limit: most cells returned.
    """
    parts = union_all(_part(rollup_hour, tenant_id, period), _tail(tenant_id, period)).subquery(
        "part"
    )
    dims = attributed_dimensions(tenant_id)
    keys = (parts.c.hour_at, dims.c.unit, dims.c.currency_code)
    statement = (
        select(*keys, *(cast(func.sum(parts.c[n]), parts.c[n].type) for n in _SUMMED))
        .select_from(parts.join(dims, dims.c.dimension_id == parts.c.dimension_id))
        .where(compile_filter(text, dimension_fields(dims, tenant_id)))
        .group_by(*keys)
        .limit(limit)
    )
    return [HourCell(*row) for row in (await tx.execute(statement)).all()]


def _part(table: Any, tenant_id: str, period: Period) -> Select[*tuple[Any, ...]]:
    columns = table.c
    return select(
        columns.hour_at, columns.dimension_id, *(columns[name] for name in _SUMMED)
    ).where(
        columns.tenant_id == tenant_id,
        columns.hour_at >= period.start,
        columns.hour_at < period.end,
    )


def _tail(tenant_id: str, period: Period) -> Select[*tuple[Any, ...]]:
    """Deltas above the mark: they are in no roll-up yet."""
    mark = (
        select(rollup_mark.c.transaction_id, rollup_mark.c.sequence)
        .where(rollup_mark.c.tenant_id == tenant_id)
        .scalar_subquery()
    )
    above = tuple_(cost_change.c.transaction_id, cost_change.c.sequence) > mark
    return _part(cost_change, tenant_id, period).where(above)


async def failed_cells(
    tx: Transaction, tenant_id: str, period: Period, tz: ZoneInfo, *, text: str, limit: int
) -> list[FailedCell]:
    """Returns the failed events of a period from raw events, so without archived months."""
    dims = attributed_dimensions(tenant_id)
    day = cast(func.timezone(tz.key, event.c.start_at), Date).label("day")
    code = func.coalesce(event.c.error_code, "").label("code")
    statement = (
        select(
            day,
            code,
            dims.c.currency_code,
            func.sum(event.c.weight),
            func.sum(event.c.billed_cost),
            func.sum(func.coalesce(event.c.list_cost, event.c.billed_cost)),
        )
        .select_from(event.join(dims, dims.c.dimension_id == event.c.dimension_id))
        .where(
            event.c.tenant_id == tenant_id,
            event.c.start_at >= period.start,
            event.c.start_at < period.end,
            event.c.outcome == Outcome.FAILED.value,
            compile_filter(text, dimension_fields(dims, tenant_id)),
        )
        .group_by(day, code, dims.c.currency_code)
        .having(func.sum(event.c.weight) != 0)  # others were taken back
        .limit(limit)
    )
    return [FailedCell(*row) for row in (await tx.execute(statement)).all()]
