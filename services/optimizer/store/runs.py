"""Runs, their targets, and what is due as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import RowMapping, insert, select, update

from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction
from services.optimizer.domain.run import ENDED, Run, RunState, RunTrigger, TargetOutcome
from services.optimizer.tables.runs import run as table


def _choices(kind: type[RunState | RunTrigger], prefix: str) -> dict[str, int]:
    return {name: int(one) for one in kind for name in (one.name, prefix + one.name)}


_LISTING = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, table.c.state, choices=_choices(RunState, "RUN_STATE_")
        ),
        "trigger": FilterField(
            FieldType.CHOICE, table.c.trigger, choices=_choices(RunTrigger, "RUN_TRIGGER_")
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
    },
    orders={"create_time": table.c.created_at, "run_id": table.c.run_id},
    default_order="create_time desc",
    tie_break="run_id",
)


async def add(tx: Transaction, run: Run, targets: Sequence[str]) -> None:
    """Adds a run that waits, over tenants."""
    await tx.execute(
        insert(table).values(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            state=int(run.state),
            trigger=int(run.trigger),
            detector_ids=list(run.detector_ids),
            filter=run.filter,
            start_at=run.period.start,
            end_at=run.period.end,
            tenant_count=run.tenant_count,
            done_count=0,
            failed_count=0,
            event_count=0,
            found_count=0,
            refreshed_count=0,
            expired_count=0,
            error="",
            created_at=run.created_at,
            updated_at=run.updated_at,
        )
    )
    await tx.driver.execute(
        "INSERT INTO run_target (tenant_id, run_id, target_id)"
        " SELECT $1, $2, unnest($3::text[]) ON CONFLICT DO NOTHING",
        run.tenant_id,
        run.run_id,
        list(targets),
    )


async def find(
    tx: Transaction, tenant_id: str, run_id: str, *, is_locked: bool = False
) -> Run | None:
    """Returns a run, None where there is none of that id."""
    statement = select(table).where(table.c.tenant_id == tenant_id, table.c.run_id == run_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _run(row)


async def list_page(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Run]:
    """Returns a page of a tenant's runs."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _LISTING.page(tx, statement, page, tokens)
    return Page([_run(row) for row in found.items], found.next_page_token)


async def pending_targets(tx: Transaction, run: Run, *, limit: int) -> list[str]:
    """Returns tenants that a run has not looked at."""
    rows = await tx.driver.fetch(
        "SELECT target_id FROM run_target WHERE tenant_id = $1 AND run_id = $2 AND NOT is_done"
        " ORDER BY target_id LIMIT $3",
        run.tenant_id,
        run.run_id,
        limit,
    )
    return [row["target_id"] for row in rows]


async def set_state(
    tx: Transaction, run: Run, state: RunState, *, now: datetime, error: str = ""
) -> None:
    """Stores how far a run is, unless it has ended."""
    await tx.execute(
        update(table)
        .where(
            table.c.tenant_id == run.tenant_id,
            table.c.run_id == run.run_id,
            table.c.state.not_in([int(ended) for ended in ENDED]),
        )
        .values(
            state=int(state),
            updated_at=now,
            error=error,
            ended_at=now if state in ENDED else None,
        )
    )


async def finish_target(
    tx: Transaction, run: Run, target_id: str, outcome: TargetOutcome, *, now: datetime
) -> bool:
    """Adds what was done for a tenant to its run, once."""
    status = await tx.driver.execute(
        "UPDATE run_target SET is_done = true"
        " WHERE tenant_id = $1 AND run_id = $2 AND target_id = $3 AND NOT is_done",
        run.tenant_id,
        run.run_id,
        target_id,
    )
    if status != "UPDATE 1":
        return False
    await tx.driver.execute(
        """
        UPDATE run SET done_count = done_count + 1, failed_count = failed_count + $3,
            event_count = event_count + $4, found_count = found_count + $5,
            refreshed_count = refreshed_count + $6, expired_count = expired_count + $7,
            error = CASE WHEN $8 = '' THEN error ELSE $8 END, updated_at = $9
        WHERE tenant_id = $1 AND run_id = $2
        """,
        run.tenant_id,
        run.run_id,
        int(bool(outcome.error)),
        outcome.events,
        outcome.found,
        outcome.refreshed,
        outcome.expired,
        outcome.error,
        now,
    )
    return True


async def mark_due(tx: Transaction, tenants: Sequence[str], trigger: str, at: datetime) -> None:
    """Notes that a run is due for tenants, unless one is already sooner."""
    await tx.driver.execute(
        """
        INSERT INTO due_run (tenant_id, trigger, due_at)
        SELECT unnest($1::text[]), $2, $3 ORDER BY 1 ON CONFLICT DO NOTHING
        """,
        sorted(tenants),
        trigger,
        at,
    )


async def take_due(tx: Transaction, trigger: str, now: datetime, *, limit: int) -> list[str]:
    """Returns tenants whose run is due, and forgets that it is."""
    rows = await tx.driver.fetch(
        """
        DELETE FROM due_run WHERE (tenant_id, trigger) IN (
            SELECT tenant_id, trigger FROM due_run WHERE trigger = $1 AND due_at <= $2
            ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        ) RETURNING tenant_id
        """,
        trigger,
        now,
        limit,
    )
    return sorted(row["tenant_id"] for row in rows)


async def unfinished(tx: Transaction, before: datetime) -> list[Run]:
    """Returns runs that have not ended and did nothing since an instant."""
    statement = select(table).where(
        table.c.state.not_in([int(ended) for ended in ENDED]), table.c.updated_at < before
    )
    return [_run(row) for row in (await tx.execute(statement)).mappings()]


class Scheduled(NamedTuple):
    """A tenant with the schedules that it gave detectors, and since when a tick counts."""

    tenant_id: str
    time_zone: str
    since: datetime
    schedules: Mapping[str, str]


async def scheduled(tx: Transaction) -> list[Scheduled]:
    """Returns every tenant that has run at all; the first run is by its usage.

    since: its newest run by schedule, else its first one.
    """
    rows = await tx.driver.fetch(
        """
        SELECT tenant.tenant_id, tenant.time_zone, known.since, settings.schedules
        FROM tenant JOIN LATERAL (
            SELECT COALESCE(max(created_at) FILTER (WHERE trigger = $1), min(created_at)) AS since
            FROM run WHERE run.tenant_id = tenant.tenant_id
        ) AS known ON known.since IS NOT NULL
        LEFT JOIN LATERAL (
            SELECT array_agg(ARRAY[detector_id, schedule]) AS schedules FROM detector_settings
            WHERE detector_settings.tenant_id = tenant.tenant_id
        ) AS settings ON true ORDER BY tenant.tenant_id
        """,
        int(RunTrigger.SCHEDULE),
    )
    return [
        Scheduled(row["tenant_id"], row["time_zone"], row["since"], dict(row["schedules"] or ()))
        for row in rows
    ]


def _run(row: RowMapping) -> Run:
    counts = {
        name: row[name]
        for name in (
            *("tenant_count", "done_count", "failed_count", "event_count"),
            *("found_count", "refreshed_count", "expired_count"),
        )
    }
    return Run(
        run_id=row["run_id"],
        tenant_id=row["tenant_id"],
        state=RunState(row["state"]),
        trigger=RunTrigger(row["trigger"]),
        detector_ids=tuple(row["detector_ids"]),
        filter=row["filter"],
        period=Period(row["start_at"], row["end_at"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        error=row["error"],
        ended_at=row["ended_at"],
        **counts,
    )
