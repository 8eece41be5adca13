"""Work that is done later: queued in the transaction that decides it, done by some worker.

A job runs at least once: a worker that dies leaves its job to another, which starts it anew when
the heartbeats have stopped. So a handler either changes the database in one transaction that would
be harmless twice, or asks whether it is done. The queue is PgQueuer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.adapters.tracing.opentelemetry import OpenTelemetryTracing
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import JobId
from pgqueuer.ports.driver import Driver

from services.kernel.database import Database, Transaction

TENANT_HEADER = "tenant"
DEAD_PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its handler gets it.

    attempt: 1 the first time; crashes of a worker count too. tenant_id: None for the system's.
    """

    job_id: int
    entrypoint: str
    payload: bytes
    attempt: int
    tenant_id: str | None


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that failed too often, kept for somebody to look at; error: its last."""

    job_id: int
    entrypoint: str
    payload: bytes
    tenant_id: str | None
    failed_at: datetime
    error: str


@cache
def _in_search_path() -> DBSettings:
    """A service's connections find its schema themselves."""
    return DBSettings(db_schema=None)


def queries(driver: Driver, settings: DBSettings | None = None) -> Queries:
    """Returns PgQueuer's statements over a driver, traced."""
    settings = settings or _in_search_path()
    return Queries(
        driver,
        qbe=QueryBuilderEnvironment(settings),
        qbq=QueryQueueBuilder(settings),
        qbs=QuerySchedulerBuilder(settings),
        tracer=OpenTelemetryTracing(),
    )


async def enqueue(
    tx: Transaction,
    entrypoint: str,
    payload: bytes = b"",
    *,
    tenant_id: str | None = None,
    delay: timedelta = timedelta(0),
    priority: int = 0,
    key: str | None = None,
) -> int | None:
    """Queues a job, which exists when, and only when, the transaction commits; returns its id.

    tenant_id: default the transaction's. priority: higher goes first.
    key: while a job with the same key waits or runs, no other is queued, and None is returned.
    """
    owner = tenant_id or tx.tenant_id
    ids = await queries(AsyncpgDriver(tx.driver)).enqueue(
        entrypoint,
        payload,
        priority=priority,
        execute_after=delay,
        dedupe_key=key,
        headers={} if owner is None else {TENANT_HEADER: owner},
        on_conflict="skip",
    )
    return ids[0]


async def dead_jobs(database: Database, *, limit: int = 100) -> Sequence[DeadJob]:
    """Returns the jobs that failed too often, latest first. limit: at most 1000."""
    async with database.system_transaction() as tx:
        rows = await tx.driver.fetch(
            """
            SELECT job.id, job.entrypoint, job.payload, job.updated, job.headers ->> $2 AS tenant,
                failure.traceback ->> 'exception_type' AS kind,
                failure.traceback ->> 'exception_message' AS message
            FROM pgqueuer AS job LEFT JOIN LATERAL (
                SELECT traceback FROM pgqueuer_log
                WHERE job_id = job.id AND status = 'failed' ORDER BY id DESC LIMIT 1
            ) AS failure ON true
            WHERE job.status = 'failed' ORDER BY job.updated DESC, job.id DESC LIMIT $1
            """,
            min(limit, DEAD_PAGE_MAX),
            TENANT_HEADER,
        )
    return [
        DeadJob(
            row["id"],
            row["entrypoint"],
            row["payload"] or b"",
            row["tenant"],
            row["updated"],
            f"{row['kind']}: {row['message']}",
        )
        for row in rows
    ]


async def revive_jobs(database: Database, job_ids: Sequence[int]) -> None:
    """Queues dead jobs again, with all their attempts; others are left alone."""
    async with database.system_transaction() as tx:
        await queries(AsyncpgDriver(tx.driver)).requeue_jobs([JobId(job) for job in job_ids])


async def trim_job_log(database: Database, *, older_than: timedelta) -> int:
    """Deletes the log of jobs that ended longer ago than that, and returns how many lines."""
    async with database.system_transaction() as tx:
        status = await tx.driver.execute(
            """
            DELETE FROM pgqueuer_log AS line WHERE created < now() - $1::interval
            AND NOT EXISTS (SELECT FROM pgqueuer AS job WHERE job.id = line.job_id)
            """,
            older_than,
        )
    return int(status.removeprefix("DELETE "))
