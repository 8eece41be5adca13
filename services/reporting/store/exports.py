"""Exports as long-running work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.exports import (
    TIMELESS,
    Dataset,
    Export,
    ExportFormat,
    ExportQuestion,
    ExportWish,
)
from services.reporting.domain.report.report import JobState
from services.reporting.tables.exports import export as table

c = table.c
LISTING = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, c.state, choices={each.name: each.value for each in JobState}
        ),
        "dataset": FilterField(FieldType.STRING, c.dataset),
        "format": FilterField(FieldType.STRING, c.format),
        "create_time": FilterField(FieldType.TIMESTAMP, c.created_at),
    },
    orders={"create_time": c.created_at, "export_id": c.export_id},
    default_order="create_time desc",
    tie_break="export_id",
)
UNFINISHED = (JobState.PENDING.value, JobState.RUNNING.value)
_PLAIN = (
    *("tenant_id", "export_id", "done_rows", "total_rows", "byte_count", "content_hash"),
    *("error", "attempt", "begun_at", "created_at", "updated_at", "ended_at", "expires_at"),
)
_WISHED = ("granularity", "filter", "cost_type", "currency_code", "is_allocated")


async def add(tx: Transaction, one: Export) -> None:
    """Stores an export that was asked for."""
    await tx.execute(insert(table).values(_values(one)))


async def find(
    tx: Transaction, tenant_id: str, export_id: str, *, is_locked: bool = False
) -> Export | None:
    """Returns an export, None where there is none. is_locked: against other changes."""
    statement = select(table).where(c.tenant_id == tenant_id, c.export_id == export_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _export(row)


async def save(tx: Transaction, one: Export) -> None:
    """Changes a stored export."""
    where = (c.tenant_id == one.tenant_id, c.export_id == one.export_id)
    await tx.execute(update(table).where(*where).values(_values(one)))


async def remove(tx: Transaction, tenant_id: str, export_id: str) -> None:
    """Deletes an export; its file is deleted beside it."""
    await tx.execute(delete(table).where(c.tenant_id == tenant_id, c.export_id == export_id))


async def page(tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[Export]:
    """Returns a page of a tenant's exports."""
    statement = select(table).where(c.tenant_id == request.tenant_id)
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([_export(row) for row in found.items], found.next_page_token)


async def count_unfinished(tx: Transaction, tenant_id: str) -> int:
    """Returns how many exports of a tenant wait or run."""
    statement = select(func.count()).where(c.tenant_id == tenant_id, c.state.in_(UNFINISHED))
    return await tx.scalar(statement) or 0


async def over(
    tx: Transaction, now: datetime, *, unheard_since: datetime, limit: int
) -> Sequence[Export]:
    """Returns what is past its time, or unfinished and unheard of for long, of all tenants.

    Locked, so that one worker takes each.
    """
    statement = (
        select(table)
        .where(
            or_(
                (c.state == JobState.SUCCEEDED.value) & (c.expires_at <= now),
                c.state.in_(UNFINISHED) & (c.updated_at < unheard_since),
            )
        )
        .order_by(c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_export(row) for row in (await tx.execute(statement)).mappings()]


async def forget(tx: Transaction, ended_before: datetime) -> None:
    """Deletes exports of all tenants that have no file and ended before an instant."""
    states = (JobState.FAILED.value, JobState.EXPIRED.value)
    await tx.execute(delete(table).where(c.state.in_(states), c.ended_at < ended_before))


def _values(one: Export) -> dict[str, Any]:
    wish, period = one.question.wish, one.question.period
    return {
        **{name: getattr(one, name) for name in _PLAIN},
        **{name: getattr(wish, name) for name in _WISHED},
        "dataset": wish.dataset.value,
        "format": wish.format.value,
        "group_by": list(wish.group_by),
        "start_at": None if period is None else period.start,
        "end_at": None if period is None else period.end,
        "state": one.state.value,
    }


def _export(row: Mapping[Any, Any]) -> Export:
    dataset = Dataset(row["dataset"])
    wish = ExportWish(
        tenant_id=row["tenant_id"],
        dataset=dataset,
        format=ExportFormat(row["format"]),
        group_by=tuple(row["group_by"]),
        **{name: row[name] for name in _WISHED},
    )
    period = None if dataset in TIMELESS else Period(row["start_at"], row["end_at"])
    return Export(
        **{name: row[name] for name in _PLAIN},
        question=ExportQuestion(wish=wish, period=period),
        state=JobState(row["state"]),
    )
