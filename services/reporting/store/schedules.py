"""Schedules of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.report.report import ReportFormat, ReportKind, ReportWish
from services.reporting.domain.report.schedule import ReportSchedule
from services.reporting.tables.reports import report_schedule as table

c = table.c
# Never null, as orders must be: what does not run comes last.
NEVER = datetime.fromisoformat("9999-01-01T00:00:00+00:00")
_next_run = func.coalesce(c.next_run_at, NEVER).label("next_run_order")
LISTING = Listing(
    filters={
        "schedule_id": FilterField(FieldType.STRING, c.schedule_id),
        "display_name": FilterField(FieldType.STRING, c.display_name),
        "kind": FilterField(
            FieldType.CHOICE, c.kind, choices={each.name: each.value for each in ReportKind}
        ),
        "disabled": FilterField(FieldType.BOOLEAN, c.disabled),
        "next_run_time": FilterField(FieldType.TIMESTAMP, c.next_run_at),
    },
    orders={
        "display_name": c.display_name,
        "next_run_time": _next_run,
        "schedule_id": c.schedule_id,
    },
    default_order="display_name",
    tie_break="schedule_id",
)


async def add(tx: Transaction, schedule: ReportSchedule) -> None:
    """Stores a new schedule."""
    await tx.execute(insert(table).values(_values(schedule)))


async def save(tx: Transaction, schedule: ReportSchedule) -> None:
    """Stores a schedule as it is now."""
    where = (c.tenant_id == schedule.tenant_id, c.schedule_id == schedule.schedule_id)
    await tx.execute(update(table).where(*where).values(_values(schedule)))


async def remove(tx: Transaction, tenant_id: str, schedule_id: str) -> None:
    """Deletes a schedule."""
    await tx.execute(delete(table).where(c.tenant_id == tenant_id, c.schedule_id == schedule_id))


async def find(
    tx: Transaction, tenant_id: str, schedule_id: str, *, is_locked: bool = False
) -> ReportSchedule | None:
    """Returns a schedule, None where there is none. is_locked: against other changes."""
    statement = select(table).where(c.tenant_id == tenant_id, c.schedule_id == schedule_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _schedule(row)


async def page(tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[ReportSchedule]:
    """Returns a page of a tenant's schedules."""
    statement = select(table, _next_run).where(c.tenant_id == request.tenant_id)
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([_schedule(row) for row in found.items], found.next_page_token)


async def due(tx: Transaction, now: datetime, *, limit: int) -> Sequence[tuple[str, str]]:
    """Returns tenant and id of schedules that are due, of all tenants, longest due first."""
    statement = (
        select(c.tenant_id, c.schedule_id)
        .where(c.next_run_at <= now, c.disabled.is_(False))
        .order_by(c.next_run_at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in (await tx.execute(statement)).all()]


async def take_due(
    tx: Transaction, tenant_id: str, schedule_id: str, now: datetime
) -> ReportSchedule | None:
    """Returns a schedule that is still due, locked; None where another took it."""
    statement = (
        select(table)
        .where(
            c.tenant_id == tenant_id,
            c.schedule_id == schedule_id,
            c.next_run_at <= now,
            c.disabled.is_(False),
        )
        .with_for_update(skip_locked=True)
    )
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _schedule(row)


_PLAIN = (
    *("tenant_id", "schedule_id", "display_name", "cron", "time_zone", "period_kind", "disabled"),
    *("next_run_at", "last_run_at", "last_report_id", "version", "created_at"),
)


def _values(schedule: ReportSchedule) -> dict[str, Any]:
    wish = schedule.wish
    return {
        **{name: getattr(schedule, name) for name in _PLAIN},
        "kind": wish.kind.value,
        "filter": wish.filter,
        "group_by": list(wish.group_by),
        "currency_code": wish.currency_code,
        "formats": [each.value for each in wish.formats],
        "locale": wish.locale,
        "recipients": list(schedule.recipients),
        "channel_ids": list(schedule.channel_ids),
    }


def _schedule(row: Mapping[Any, Any]) -> ReportSchedule:
    return ReportSchedule(
        **{name: row[name] for name in _PLAIN},
        wish=ReportWish(
            kind=ReportKind(row["kind"]),
            filter=row["filter"],
            group_by=tuple(row["group_by"]),
            currency_code=row["currency_code"],
            formats=tuple(ReportFormat(each) for each in row["formats"]),
            locale=row["locale"],
        ),
        recipients=tuple(row["recipients"]),
        channel_ids=tuple(row["channel_ids"]),
    )
