"""Retention policies, legal holds and removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update

from services.kernel.database import Transaction
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.retention import (
    LegalHold,
    RetentionPolicy,
    RetentionRun,
    RetentionStep,
    RunState,
)
from services.reporting.errors import UnknownCollection
from services.reporting.tables.retention import (
    legal_hold,
    retention_policy,
    retention_run,
    retention_step,
)

p = retention_policy.c
h = legal_hold.c
r = retention_run.c
s = retention_step.c


def _covers(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
    if comparator not in (Comparator.EQUAL, Comparator.HAS) or not isinstance(value, str):
        raise UnknownCollection
    return or_(func.cardinality(h.collections) == 0, h.collections.contains([value]))


POLICIES = Listing(
    filters={
        "policy_id": FilterField(FieldType.STRING, p.policy_id),
        "collection": FilterField(FieldType.STRING, p.collection),
    },
    orders={"collection": p.collection, "policy_id": p.policy_id},
    default_order="collection",
    tie_break="policy_id",
)
HOLDS = Listing(
    filters={
        # A hold is about a collection also where it names none, and so is about all.
        "collection": FilterField(FieldType.STRING, meaning=_covers),
        "released": FilterField(FieldType.BOOLEAN, h.released_at.is_not(None)),
    },
    orders={"create_time": h.created_at, "legal_hold_id": h.legal_hold_id},
    default_order="create_time desc",
    tie_break="legal_hold_id",
)
RUNS = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, r.state, choices={each.name: each.value for each in RunState}
        ),
        "dry_run": FilterField(FieldType.BOOLEAN, r.dry_run),
        "create_time": FilterField(FieldType.TIMESTAMP, r.created_at),
    },
    orders={"create_time": r.created_at, "run_id": r.run_id},
    default_order="create_time desc",
    tie_break="run_id",
)


async def add_policy(tx: Transaction, policy: RetentionPolicy) -> None:
    """Stores a new policy."""
    await tx.execute(insert(retention_policy).values(_policy_values(policy)))


async def save_policy(tx: Transaction, policy: RetentionPolicy) -> None:
    """Stores a policy as it is now."""
    where = (p.tenant_id == policy.tenant_id, p.policy_id == policy.policy_id)
    await tx.execute(update(retention_policy).where(*where).values(_policy_values(policy)))


async def remove_policy(tx: Transaction, tenant_id: str, policy_id: str) -> None:
    """Deletes a policy."""
    where = (p.tenant_id == tenant_id, p.policy_id == policy_id)
    await tx.execute(delete(retention_policy).where(*where))


async def find_policy(
    tx: Transaction, tenant_id: str, policy_id: str, *, is_locked: bool = False
) -> RetentionPolicy | None:
    """Returns a policy, None where there is none. is_locked: against other changes."""
    where = (p.tenant_id == tenant_id, p.policy_id == policy_id)
    statement = select(retention_policy).where(*where)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else RetentionPolicy(**row)


async def same_policy(tx: Transaction, policy: RetentionPolicy) -> str | None:
    """Returns the id of another policy for the same collection and filter."""
    statement = select(p.policy_id).where(
        p.tenant_id == policy.tenant_id,
        p.collection == policy.collection,
        p.filter == policy.filter,
        p.policy_id != policy.policy_id,
    )
    return await tx.scalar(statement)


async def policies(tx: Transaction, tenant_id: str) -> Sequence[RetentionPolicy]:
    """Returns all policies of a tenant, by collection."""
    statement = (
        select(retention_policy).where(p.tenant_id == tenant_id).order_by(p.collection, p.policy_id)
    )
    return [RetentionPolicy(**row) for row in (await tx.execute(statement)).mappings()]


async def tenants_with_policies(tx: Transaction) -> Sequence[str]:
    """Returns the tenants that have a policy."""
    statement = select(p.tenant_id).distinct().order_by(p.tenant_id)
    return list(await tx.scalars(statement))


async def page_policies(
    tx: Transaction, request: PageRequest, tokens: PageTokens
) -> Page[RetentionPolicy]:
    """Returns a page of a tenant's policies."""
    statement = select(retention_policy).where(p.tenant_id == request.tenant_id)
    found = await POLICIES.page(tx, statement, request, tokens)
    return Page([RetentionPolicy(**row) for row in found.items], found.next_page_token)


async def add_hold(tx: Transaction, hold: LegalHold) -> None:
    """Stores a new hold."""
    values = {name: getattr(hold, name) for name in LegalHold.__slots__}
    await tx.execute(insert(legal_hold).values(**{**values, "collections": [*hold.collections]}))


async def find_hold(
    tx: Transaction, tenant_id: str, legal_hold_id: str, *, is_locked: bool = False
) -> LegalHold | None:
    """Returns a hold, None where there is none. is_locked: against other changes."""
    where = (h.tenant_id == tenant_id, h.legal_hold_id == legal_hold_id)
    statement = select(legal_hold).where(*where)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _hold(row)


async def release_hold(tx: Transaction, hold: LegalHold) -> None:
    """Stores that a hold has ended."""
    where = (h.tenant_id == hold.tenant_id, h.legal_hold_id == hold.legal_hold_id)
    values = {"released_at": hold.released_at, "release_reason": hold.release_reason}
    await tx.execute(update(legal_hold).where(*where).values(**values))


async def tenants_with_holds(tx: Transaction) -> Sequence[str]:
    """Returns the tenants that have a hold, in force or not."""
    return list(await tx.scalars(select(h.tenant_id).distinct().order_by(h.tenant_id)))


async def holds(tx: Transaction, tenant_id: str) -> Sequence[LegalHold]:
    """Returns the holds in force."""
    statement = (
        select(legal_hold)
        .where(h.tenant_id == tenant_id, h.released_at.is_(None))
        .order_by(h.legal_hold_id)
    )
    return [_hold(row) for row in (await tx.execute(statement)).mappings()]


async def forget_in_holds(tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str) -> None:
    """Puts a pseudonym in place of a person in holds that have ended.

    A filter that names the person goes with them: it was the lawyers', and has no effect any more.
    """
    await tx.driver.execute(
        """
        UPDATE reporting.legal_hold SET
            subject_id = CASE WHEN subject_id = $2 THEN $3 ELSE subject_id END,
            filter = replace(filter, $2, $3)
        WHERE tenant_id = $1 AND released_at IS NOT NULL
        AND (subject_id = $2 OR position($2 IN filter) > 0)
        """,
        tenant_id,
        subject_id,
        pseudonym,
    )


async def page_holds(tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[LegalHold]:
    """Returns a page of a tenant's holds."""
    statement = select(legal_hold).where(h.tenant_id == request.tenant_id)
    found = await HOLDS.page(tx, statement, request, tokens)
    return Page([_hold(row) for row in found.items], found.next_page_token)


async def add_run(tx: Transaction, run: RetentionRun, steps: Sequence[RetentionStep]) -> None:
    """Stores a new removal with its steps, in their order."""
    values = {name: getattr(run, name) for name in RetentionRun.__slots__}
    await tx.execute(insert(retention_run).values(**{**values, "state": run.state.value}))
    if steps:
        await tx.execute(insert(retention_step), [_step_values(run, step) for step in steps])


async def find_run(
    tx: Transaction, tenant_id: str, run_id: str, *, is_locked: bool = False
) -> RetentionRun | None:
    """Returns a removal, None where there is none. is_locked: against other changes."""
    statement = select(retention_run).where(r.tenant_id == tenant_id, r.run_id == run_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _run(row)


async def change_run(tx: Transaction, run: RetentionRun, **values: Any) -> None:
    """Stores some of a removal's columns."""
    where = (r.tenant_id == run.tenant_id, r.run_id == run.run_id)
    await tx.execute(update(retention_run).where(*where).values(**values))


async def save_step(tx: Transaction, run: RetentionRun, step: RetentionStep) -> None:
    """Stores a step as it is now."""
    where = (s.tenant_id == run.tenant_id, s.run_id == run.run_id, s.place == step.place)
    await tx.execute(update(retention_step).where(*where).values(_step_values(run, step)))


async def run_steps(
    tx: Transaction, tenant_id: str, run_ids: Sequence[str]
) -> Mapping[str, Sequence[RetentionStep]]:
    """Returns the steps of removals, in their order."""
    statement = (
        select(retention_step)
        .where(s.tenant_id == tenant_id, s.run_id.in_(run_ids))
        .order_by(s.place)
    )
    found: dict[str, list[RetentionStep]] = {run_id: [] for run_id in run_ids}
    for row in (await tx.execute(statement)).mappings():
        found[row["run_id"]].append(_step(row))
    return found


async def removing(tx: Transaction, tenant_id: str, collections: Sequence[str]) -> bool:
    """Tells whether records of any of the collections may be being removed; empty is all."""
    statement = select(func.count()).where(s.tenant_id == tenant_id, s.is_removing)
    if collections:
        statement = statement.where(s.collection.in_(collections))
    return bool(await tx.scalar(statement))


async def page_runs(
    tx: Transaction, request: PageRequest, tokens: PageTokens
) -> Page[RetentionRun]:
    """Returns a page of a tenant's removals."""
    statement = select(retention_run).where(r.tenant_id == request.tenant_id)
    found = await RUNS.page(tx, statement, request, tokens)
    return Page([_run(row) for row in found.items], found.next_page_token)


async def stalled_runs(tx: Transaction, before: datetime, *, limit: int) -> Sequence[RetentionRun]:
    """Returns removals that have not ended and of which nothing was heard since, of all tenants."""
    statement = (
        select(retention_run)
        .where(r.ended_at.is_(None), r.updated_at < before)
        .order_by(r.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_run(row) for row in (await tx.execute(statement)).mappings()]


def _policy_values(policy: RetentionPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in RetentionPolicy.__slots__}


def _hold(row: Mapping[Any, Any]) -> LegalHold:
    return LegalHold(**{**row, "collections": tuple(row["collections"])})


def _run(row: Mapping[Any, Any]) -> RetentionRun:
    return RetentionRun(**{**row, "state": RunState(row["state"])})


def _step_values(run: RetentionRun, step: RetentionStep) -> dict[str, Any]:
    values = {name: getattr(step, name) for name in RetentionStep.__slots__}
    holds_ = list(step.legal_hold_ids)
    return {
        **values,
        "legal_hold_ids": holds_,
        "tenant_id": run.tenant_id,
        "run_id": run.run_id,
    }


def _step(row: Mapping[Any, Any]) -> RetentionStep:
    values = {name: row[name] for name in RetentionStep.__slots__}
    return RetentionStep(**{**values, "legal_hold_ids": tuple(row["legal_hold_ids"])})
