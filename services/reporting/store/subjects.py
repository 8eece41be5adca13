"""Cases about persons and their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.subjects import (
    CaseKind,
    CaseState,
    RecordCount,
    Stage,
    SubjectCase,
    SubjectStep,
)
from services.reporting.tables.subjects import subject_case as table
from services.reporting.tables.subjects import subject_step

c = table.c
_LOCK: Final = "finops.reporting.legal_hold"
LISTING = Listing(
    filters={
        "kind": FilterField(
            FieldType.CHOICE, c.kind, choices={each.name: each.value for each in CaseKind}
        ),
        "state": FilterField(
            FieldType.CHOICE, c.state, choices={each.name: each.value for each in CaseState}
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, c.created_at),
    },
    orders={"create_time": c.created_at, "subject_case_id": c.subject_case_id},
    default_order="create_time desc",
    tie_break="subject_case_id",
)
_PLAIN = (
    *("tenant_id", "subject_case_id", "pseudonym", "dry_run", "reason", "author", "is_erasing"),
    *("message", "error", "content_hash", "file_id", "created_at", "updated_at", "ended_at"),
    "expires_at",
)


async def lock_holds(tx: Transaction, tenant_id: str) -> None:
    """Lets holds begin and removals start one after another, until the transaction ends."""
    await tx.driver.execute(
        "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))", _LOCK, tenant_id
    )


async def find_key(tx: Transaction, tenant_id: str) -> bytes | None:
    """Returns the tenant's sealed key of pseudonyms, None where there is none yet."""
    key: bytes | None = await tx.driver.fetchval(
        "SELECT sealed FROM reporting.subject_key WHERE tenant_id = $1 FOR UPDATE", tenant_id
    )
    return key


async def add_key(tx: Transaction, tenant_id: str, sealed: bytes) -> bool:
    """Stores the tenant's key of pseudonyms; False where another was first."""
    added: bool | None = await tx.driver.fetchval(
        "INSERT INTO reporting.subject_key (tenant_id, sealed) VALUES ($1, $2)"
        " ON CONFLICT DO NOTHING RETURNING true",
        tenant_id,
        sealed,
    )
    return bool(added)


async def add(
    tx: Transaction, case: SubjectCase, sealed: bytes, steps: Sequence[SubjectStep]
) -> None:
    """Stores a new case with its steps. sealed: the person's id."""
    values = {name: getattr(case, name) for name in _PLAIN}
    kinds = {"kind": case.kind.value, "state": case.state.value}
    await tx.execute(insert(table).values(**values, **kinds, sealed_subject=sealed))
    await tx.execute(insert(subject_step), [_step_values(case, step) for step in steps])


async def find(
    tx: Transaction, tenant_id: str, subject_case_id: str, *, is_locked: bool = False
) -> SubjectCase | None:
    """Returns a case, None where there is none. is_locked: against other changes."""
    statement = select(table).where(c.tenant_id == tenant_id, c.subject_case_id == subject_case_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _case(row)


async def sealed_subject(tx: Transaction, case: SubjectCase) -> bytes | None:
    """Returns the person's sealed id; None once the case has ended."""
    statement = select(c.sealed_subject).where(
        c.tenant_id == case.tenant_id, c.subject_case_id == case.subject_case_id
    )
    return await tx.scalar(statement)


async def change(tx: Transaction, case: SubjectCase, **values: Any) -> None:
    """Stores some of a case's columns."""
    where = (c.tenant_id == case.tenant_id, c.subject_case_id == case.subject_case_id)
    await tx.execute(update(table).where(*where).values(**values))


async def save_step(tx: Transaction, case: SubjectCase, step: SubjectStep) -> None:
    """Stores a step as it is now."""
    s = subject_step.c
    where = (
        s.tenant_id == case.tenant_id,
        s.subject_case_id == case.subject_case_id,
        s.service == step.service,
    )
    await tx.execute(update(subject_step).where(*where).values(**_step_values(case, step)))


async def steps(
    tx: Transaction, tenant_id: str, case_ids: Sequence[str]
) -> Mapping[str, Sequence[SubjectStep]]:
    """Returns the steps of cases, in their order."""
    s = subject_step.c
    statement = (
        select(subject_step)
        .where(s.tenant_id == tenant_id, s.subject_case_id.in_(case_ids))
        .order_by(s.place)
    )
    found: dict[str, list[SubjectStep]] = {case_id: [] for case_id in case_ids}
    for row in (await tx.execute(statement)).mappings():
        found[row["subject_case_id"]].append(_step(row))
    return found


async def page(tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[SubjectCase]:
    """Returns a page of a tenant's cases."""
    statement = select(table).where(c.tenant_id == request.tenant_id)
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([_case(row) for row in found.items], found.next_page_token)


async def count_unfinished(tx: Transaction, tenant_id: str) -> int:
    """Returns how many cases of a tenant have not ended."""
    statement = select(func.count()).where(c.tenant_id == tenant_id, c.sealed_subject.is_not(None))
    return await tx.scalar(statement) or 0


async def erasing(tx: Transaction, tenant_id: str) -> Sequence[SubjectCase]:
    """Returns the erasures that have begun and not ended."""
    statement = select(table).where(
        c.tenant_id == tenant_id, c.is_erasing, c.sealed_subject.is_not(None)
    )
    return [_case(row) for row in (await tx.execute(statement)).mappings()]


async def stalled(tx: Transaction, before: datetime, *, limit: int) -> Sequence[SubjectCase]:
    """Returns cases that have not ended and of which nothing was heard since, of all tenants."""
    statement = (
        select(table)
        .where(c.sealed_subject.is_not(None), c.updated_at < before)
        .order_by(c.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_case(row) for row in (await tx.execute(statement)).mappings()]


async def others_of(tx: Transaction, case: SubjectCase) -> Sequence[SubjectCase]:
    """Returns the other cases about the same person, locked."""
    statement = (
        select(table)
        .where(
            c.tenant_id == case.tenant_id,
            c.pseudonym == case.pseudonym,
            c.subject_case_id != case.subject_case_id,
        )
        .with_for_update()
    )
    return [_case(row) for row in (await tx.execute(statement)).mappings()]


async def expired(tx: Transaction, now: datetime, *, limit: int) -> Sequence[SubjectCase]:
    """Returns collections whose file is past its time, of all tenants."""
    statement = (
        select(table)
        .where(c.file_id != "", c.expires_at <= now)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_case(row) for row in (await tx.execute(statement)).mappings()]


def _case(row: Mapping[Any, Any]) -> SubjectCase:
    plain = {name: row[name] for name in _PLAIN}
    return SubjectCase(**plain, kind=CaseKind(row["kind"]), state=CaseState(row["state"]))


def _step_values(case: SubjectCase, step: SubjectStep) -> dict[str, Any]:
    return {
        "tenant_id": case.tenant_id,
        "subject_case_id": case.subject_case_id,
        "service": step.service,
        "place": step.place,
        "stage": step.stage.value,
        "passes": step.passes,
        "found": [[each.collection, each.records, each.held] for each in step.found],
        "changed": [[each.collection, each.records, each.held] for each in step.changed],
    }


def _step(row: Mapping[Any, Any]) -> SubjectStep:
    return SubjectStep(
        service=row["service"],
        place=row["place"],
        stage=Stage(row["stage"]),
        passes=row["passes"],
        found=tuple(RecordCount(*each) for each in row["found"]),
        changed=tuple(RecordCount(*each) for each in row["changed"]),
    )
