"""Does queued jobs, and queues those that are due by the calendar."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

import structlog
from croniter import croniter
from opentelemetry import metrics
from pgqueuer.adapters.tracing.opentelemetry import OpenTelemetryTracing
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models
from pgqueuer.domain.errors import RetryRequested

from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Unavailable
from services.kernel.job_driver import JobDriver
from services.kernel.jobs import TENANT_HEADER, Job, enqueue, queries
from services.kernel.schema import job_settings

Handler: TypeAlias = Callable[[Job], Awaitable[None]]

BATCH = 5  # jobs taken at once; the rest is left for other workers
CONCURRENCY = 10  # jobs of one worker at once
ATTEMPTS = 8  # with the backoff below, over about half an hour
BACKOFF_SECONDS = 2.0
BACKOFF_SECONDS_MAX = 900.0
POLL = timedelta(seconds=5)  # how late a job starts at worst when its notification was lost
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
DRAIN_SECONDS = 8.0  # less than a server gives its workers, or jobs are cut instead of given back
RECONNECT_SECONDS = 1.0
DEPTH_SECONDS = 15.0  # between two measurements of the queue
CLOCK_CHECK_SECONDS = 30.0  # a sleep is cut in pieces, because clocks are set
TICKS_KEPT = timedelta(days=8)  # longer than the week between two ticks of a weekly schedule

log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.jobs")
_duration = _meter.create_histogram(
    "finops_job_seconds", unit="s", description="How long attempts took, by outcome."
)
_depth = _meter.create_gauge("finops_jobs_waiting", description="Jobs in the queue, by status.")


class JobCrashed(Exception):
    """Every attempt ended with the death of its worker."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    name: str
    cron: str
    entrypoint: str
    payload: bytes


class JobWorker:
    """Runs handlers for jobs until stopped."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        heartbeat_timeout: timedelta = HEARTBEAT_TIMEOUT,
        clock: Clock | None = None,
    ) -> None:
        """heartbeat_timeout: after so long without a sign of life a job is another's to start."""
        self._database = database
        self._heartbeat_timeout = heartbeat_timeout
        self._clock = clock or SystemClock()
        self._schedules: list[_Schedule] = []
        self._running: set[asyncio.Task[None]] = set()
        self._is_returning = False
        settings = job_settings(service)
        self._queries = queries(JobDriver(database), settings)
        self._manager = QueueManager(
            self._queries, channel=settings.channel, tracer=OpenTelemetryTracing()
        )

    def handle(
        self,
        entrypoint: str,
        handler: Handler,
        *,
        concurrency: int = 0,
        attempts: int = ATTEMPTS,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        """Registers who does a kind of job.

        concurrency: at most so many at once over all workers; 0 for as many as there are.
        attempts: the job is dead after so many; the waits between them double, with jitter.
        """

        async def execute(job: models.Job) -> None:
            await self._execute(job, handler, attempts, backoff_seconds)

        register = self._manager.entrypoint(
            entrypoint, concurrency_limit=concurrency, accepts_context=False, on_failure="hold"
        )
        register(execute)

    def every(self, cron: str, entrypoint: str, payload: bytes = b"") -> None:
        """Queues a job at each tick of a cron expression in UTC, once over all workers.

        After an outage of all workers the latest missed tick is made up for, not each.
        """
        if not croniter.is_valid(cron):
            raise ValueError(f"{cron!r} is not a cron expression")
        self._schedules.append(_Schedule(f"{entrypoint} {cron}", cron, entrypoint, payload))

    async def run(self) -> None:
        """Works until `stop`, through outages of the database."""
        beside = [asyncio.create_task(self._tick(schedule)) for schedule in self._schedules]
        beside.append(asyncio.create_task(self._measure()))
        try:
            while not self._manager.shutdown.is_set():
                try:
                    await self._manager.run(
                        dequeue_timeout=POLL,
                        batch_size=BATCH,
                        max_concurrent_tasks=CONCURRENCY,
                        heartbeat_timeout=self._heartbeat_timeout,
                    )
                except Unavailable as error:
                    log.warning("jobs wait for the database", error=error.reason)
        finally:
            for task in beside:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def stop(self, *, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Takes no more jobs, lets those in hand finish, and gives back what does not."""
        self._manager.shutdown.set()
        if self._running:
            await asyncio.wait(self._running, timeout=drain_seconds)
        self._is_returning = True
        for task in self._running:
            task.cancel()

    async def _execute(
        self, job: models.Job, handler: Handler, attempts: int, backoff_seconds: float
    ) -> None:
        """Does one attempt; what it raises is what PgQueuer makes of it: a retry or a dead job."""
        attempt = job.attempts + await self._crashes(job) + 1
        if attempt > attempts:
            raise JobCrashed(f"{attempts} workers died with it")
        started = time.perf_counter()
        outcome = "failed"
        try:
            await self._attempt(handler, _job(job, attempt))
            outcome = "done"
        except asyncio.CancelledError:
            if not self._is_returning:
                raise
            outcome = "returned"
            await self._uncount(job)
            raise RetryRequested(timedelta(0), "the worker was stopped") from None
        except Exception as error:
            if attempt == attempts:
                outcome = "dead"
                log.exception("job is dead", entrypoint=job.entrypoint, job_id=job.id)
                raise
            bound = min(backoff_seconds * 2 ** (attempt - 1), BACKOFF_SECONDS_MAX)
            wait = random.uniform(bound / 2, bound)  # noqa: S311 - spreads retries
            raise RetryRequested(timedelta(seconds=wait), repr(error)) from error
        finally:
            elapsed = time.perf_counter() - started
            _duration.record(elapsed, {"entrypoint": job.entrypoint, "outcome": outcome})

    async def _attempt(self, handler: Handler, job: Job) -> None:
        """Runs the handler in a task of its own, which `stop` can cancel alone."""

        async def run() -> None:
            await handler(job)

        task = asyncio.create_task(run())
        self._running.add(task)
        try:
            await task
        finally:
            self._running.discard(task)

    async def _crashes(self, job: models.Job) -> int:
        """Returns how often the job was taken, since it was queued last, without an outcome."""
        async with self._database.system_transaction() as tx:
            picks: int = await tx.driver.fetchval(
                """
                SELECT count(*) FROM pgqueuer_log WHERE job_id = $1 AND status = 'picked'
                AND id > (SELECT max(id) FROM pgqueuer_log WHERE job_id = $1 AND status = 'queued')
                """,
                job.id,
            )
        return max(picks - 1, 0)

    async def _uncount(self, job: models.Job) -> None:
        """Takes an attempt off that PgQueuer will add: being stopped is not the job's fault."""
        async with self._database.system_transaction() as tx:
            await tx.driver.execute(
                "UPDATE pgqueuer SET attempts = attempts - 1 WHERE id = $1", job.id
            )

    async def _tick(self, schedule: _Schedule) -> None:
        queued: datetime | None = None
        while True:
            now = self._clock.now()
            tick = _instant(croniter(schedule.cron, now + timedelta(microseconds=1)).get_prev())
            if tick != queued:
                try:
                    await self._database.run(None, partial(_queue, schedule=schedule, tick=tick))
                except Unavailable as error:
                    log.warning("schedule waits for the database", error=error.reason)
                    await asyncio.sleep(RECONNECT_SECONDS)
                    continue
                queued = tick
            following = _instant(croniter(schedule.cron, now).get_next())
            left = (following - self._clock.now()).total_seconds()
            await asyncio.sleep(min(max(left, 0), CLOCK_CHECK_SECONDS))

    async def _measure(self) -> None:
        while True:
            with suppress(Unavailable):
                for line in await self._queries.queue_size():
                    _depth.set(line.count, {"entrypoint": line.entrypoint, "status": line.status})
            await asyncio.sleep(DEPTH_SECONDS)


def _job(job: models.Job, attempt: int) -> Job:
    tenant = (job.headers or {}).get(TENANT_HEADER)
    return Job(
        job_id=job.id,
        entrypoint=job.entrypoint,
        payload=job.payload or b"",
        attempt=attempt,
        tenant_id=None if tenant is None else str(tenant),
    )


def _instant(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


async def _queue(tx: Transaction, *, schedule: _Schedule, tick: datetime) -> None:
    """Queues the tick's job unless another worker has, or the schedule is new."""
    is_new = not await tx.driver.fetchval(
        "SELECT EXISTS (SELECT FROM job_tick WHERE schedule = $1)", schedule.name
    )
    status = await tx.driver.execute(
        "INSERT INTO job_tick (schedule, tick_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        schedule.name,
        tick,
    )
    if status == "INSERT 0 0" or is_new:
        return
    await enqueue(tx, schedule.entrypoint, schedule.payload)
    await tx.driver.execute(
        "DELETE FROM job_tick WHERE schedule = $1 AND tick_at < $2",
        schedule.name,
        tick - TICKS_KEPT,
    )
