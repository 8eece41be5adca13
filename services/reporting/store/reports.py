"""Reports, their sections and their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import (
    JobState,
    Report,
    ReportFormat,
    ReportKind,
    ReportWish,
)
from services.reporting.tables.reports import report as table
from services.reporting.tables.reports import report_file, report_section

c = table.c
LISTING = Listing(
    filters={
        "kind": FilterField(
            FieldType.CHOICE, c.kind, choices={each.name: each.value for each in ReportKind}
        ),
        "state": FilterField(
            FieldType.CHOICE, c.state, choices={each.name: each.value for each in JobState}
        ),
        "schedule_id": FilterField(FieldType.STRING, c.schedule_id),
        "author": FilterField(FieldType.STRING, c.author),
        "create_time": FilterField(FieldType.TIMESTAMP, c.created_at),
    },
    orders={"create_time": c.created_at, "report_id": c.report_id},
    default_order="create_time desc",
    tie_break="report_id",
)
UNFINISHED = (JobState.PENDING.value, JobState.RUNNING.value)
_section = TypeAdapter(Section)


@dataclass(frozen=True, slots=True)
class ReportFile:
    """One format of a report, and where its bytes are."""

    format: ReportFormat
    file_id: str
    content_hash: str
    byte_count: int


async def add(tx: Transaction, one: Report) -> None:
    """Stores a report that was asked for."""
    await tx.execute(insert(table).values(_values(one)))


async def find(
    tx: Transaction, tenant_id: str, report_id: str, *, is_locked: bool = False
) -> Report | None:
    """Returns a report, None where there is none. is_locked: against other changes."""
    statement = select(table).where(c.tenant_id == tenant_id, c.report_id == report_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _report(row)


async def page(tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[Report]:
    """Returns a page of a tenant's reports."""
    statement = select(table).where(c.tenant_id == request.tenant_id)
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([_report(row) for row in found.items], found.next_page_token)


async def change(tx: Transaction, tenant_id: str, report_id: str, **values: Any) -> None:
    """Changes columns of a report."""
    where = (c.tenant_id == tenant_id, c.report_id == report_id)
    await tx.execute(update(table).where(*where).values(**values))


async def remove(tx: Transaction, tenant_id: str, report_id: str) -> None:
    """Deletes a report with its sections; its files are deleted beside it."""
    await tx.execute(delete(table).where(c.tenant_id == tenant_id, c.report_id == report_id))


async def add_section(
    tx: Transaction, tenant_id: str, report_id: str, place: int, section: Section
) -> None:
    """Keeps a finished section; one that is there already stays."""
    values = {
        "tenant_id": tenant_id,
        "report_id": report_id,
        "place": place,
        "content": _section.dump_python(section, mode="json"),
    }
    await tx.execute(upsert(report_section).values(values).on_conflict_do_nothing())


async def sections(tx: Transaction, tenant_id: str, report_id: str) -> dict[int, Section]:
    """Returns the finished sections by their places."""
    s = report_section.c
    statement = (
        select(s.place, s.content)
        .where(s.tenant_id == tenant_id, s.report_id == report_id)
        .order_by(s.place)
    )
    rows = (await tx.execute(statement)).all()
    return {place: _section.validate_python(content) for place, content in rows}


def is_section(content: str) -> bool:
    """Tells whether a JSON text is a section that can be read."""
    try:
        _section.validate_json(content)
    except ValidationError:
        return False
    return True


async def add_file(tx: Transaction, tenant_id: str, report_id: str, made: ReportFile) -> None:
    """Keeps where a format's bytes are."""
    values = {
        "tenant_id": tenant_id,
        "report_id": report_id,
        "format": made.format.value,
        "file_id": made.file_id,
        "content_hash": made.content_hash,
        "byte_count": made.byte_count,
    }
    await tx.execute(upsert(report_file).values(values).on_conflict_do_nothing())


async def files(tx: Transaction, tenant_id: str, report_id: str) -> list[ReportFile]:
    """Returns the formats that are made."""
    f = report_file.c
    statement = select(f.format, f.file_id, f.content_hash, f.byte_count).where(
        f.tenant_id == tenant_id, f.report_id == report_id
    )
    rows = (await tx.execute(statement.order_by(f.format))).all()
    return [ReportFile(ReportFormat(row[0]), *row[1:]) for row in rows]


async def remove_files(tx: Transaction, tenant_id: str, report_id: str) -> None:
    """Forgets the formats that are made."""
    f = report_file.c
    await tx.execute(delete(report_file).where(f.tenant_id == tenant_id, f.report_id == report_id))


async def stalled(tx: Transaction, before: datetime, *, limit: int) -> Sequence[Report]:
    """Returns what is unfinished and was last heard of before an instant, of all tenants."""
    statement = (
        select(table)
        .where(c.state.in_(UNFINISHED), c.updated_at < before)
        .order_by(c.updated_at)
        .limit(limit)
    )
    return [_report(row) for row in (await tx.execute(statement)).mappings()]


async def expired(tx: Transaction, now: datetime, *, limit: int) -> Sequence[Report]:
    """Returns what is done and past its time, of all tenants; locked, so that one takes it."""
    statement = (
        select(table)
        .where(c.state == JobState.SUCCEEDED.value, c.expires_at <= now)
        .order_by(c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_report(row) for row in (await tx.execute(statement)).mappings()]


def _values(one: Report) -> dict[str, Any]:
    names = (
        *("tenant_id", "report_id", "title", "time_zone", "done_units", "total_units", "message"),
        *("error", "content_hash", "schedule_id", "author", "created_at", "ended_at", "expires_at"),
    )
    wish = one.wish
    return {
        **{name: getattr(one, name) for name in names},
        "kind": wish.kind.value,
        "wished_title": wish.title,
        "filter": wish.filter,
        "group_by": list(wish.group_by),
        "currency_code": wish.currency_code,
        "formats": [each.value for each in wish.formats],
        "locale": wish.locale,
        "theme": wish.theme,
        "start_at": one.period.start,
        "end_at": one.period.end,
        "state": one.state.value,
        "updated_at": one.updated_at or one.created_at,
    }


def _report(row: Mapping[Any, Any]) -> Report:
    names = (
        *("tenant_id", "report_id", "title", "time_zone", "done_units", "total_units", "message"),
        *("updated_at", "error", "content_hash", "schedule_id", "author", "created_at"),
        *("ended_at", "expires_at"),
    )
    return Report(
        **{name: row[name] for name in names},
        wish=ReportWish(
            kind=ReportKind(row["kind"]),
            title=row["wished_title"],
            filter=row["filter"],
            group_by=tuple(row["group_by"]),
            currency_code=row["currency_code"],
            formats=tuple(ReportFormat(each) for each in row["formats"]),
            locale=row["locale"],
            theme=row["theme"],
        ),
        period=Period(row["start_at"], row["end_at"]),
        state=JobState(row["state"]),
    )
