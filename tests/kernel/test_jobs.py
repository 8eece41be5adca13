"""Jobs: queued with their cause, done by one worker at a time, never lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from services.kernel.database import Database
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job, dead_jobs, enqueue, revive_jobs, trim_job_log
from tests.support.database import (
    KERNEL_MIGRATIONS,
    KERNEL_SERVICE,
    ServiceDatabase,
    connection,
    embedded_postgres,
    migrated,
)
from tests.support.notes import beside
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def working(worker: JobWorker, *, drain_seconds: float = 5) -> AsyncIterator[None]:
    """Runs a worker for the time of a block, and stops it in order."""
    task = beside(worker.run())
    try:
        yield
    finally:
        await worker.stop(drain_seconds=drain_seconds)
        async with asyncio.timeout(10):
            await task


class Recorder:
    """A handler that remembers its jobs and does with them what it is told."""

    def __init__(self, *failures: int) -> None:
        """failures: the attempts that fail."""
        self.jobs: list[Job] = []
        self.ended = asyncio.Event()
        self.failures = failures

    async def __call__(self, job: Job) -> None:
        self.jobs.append(job)
        if job.attempt in self.failures:
            raise ValueError(f"attempt {job.attempt}")
        self.ended.set()

    async def wait(self) -> None:
        async with asyncio.timeout(20):
            await self.ended.wait()


@pytest.fixture
def entrypoint(tenant: str) -> str:
    """A kind of job that no other test queues."""
    return f"job-of-{tenant}"


async def queued(database: Database, entrypoint: str) -> dict[str, int]:
    """Returns how many jobs of a kind there are, by status."""
    async with database.system_transaction() as tx:
        rows = await tx.driver.fetch(
            "SELECT status, count(*) FROM pgqueuer WHERE entrypoint = $1 GROUP BY status",
            entrypoint,
        )
    return {row["status"]: row["count"] for row in rows}


async def test_a_job_exists_only_with_its_cause(
    database: Database, tenant: str, entrypoint: str
) -> None:
    with pytest.raises(ValueError, match="no"):
        async with database.transaction(tenant) as tx:
            await enqueue(tx, entrypoint)
            raise ValueError("no")
    assert await queued(database, entrypoint) == {}

    recorder = Recorder()
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder)
    async with working(worker):
        async with database.transaction(tenant) as tx:
            job_id = await enqueue(tx, entrypoint, b"payload")
        await recorder.wait()

    assert recorder.jobs == [Job(job_id or 0, entrypoint, b"payload", 1, tenant)]
    assert await queued(database, entrypoint) == {}


async def test_the_services_role_reads_no_payload(
    database: Database, tenant: str, entrypoint: str
) -> None:
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint, b"secret")
        for statement in (
            "SELECT payload FROM pgqueuer",
            "SELECT headers FROM pgqueuer",
            "DELETE FROM pgqueuer",
            "SELECT * FROM pgqueuer_log",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with tx.savepoint():
                    await tx.driver.execute(statement)


async def test_of_a_key_one_job_waits_or_runs(
    database: Database, tenant: str, entrypoint: str
) -> None:
    async with database.transaction(tenant) as tx:
        first = await enqueue(tx, entrypoint, key=entrypoint)
        second = await enqueue(tx, entrypoint, key=entrypoint)

    assert first is not None
    assert second is None
    assert await queued(database, entrypoint) == {"queued": 1}


async def test_a_delayed_job_waits(database: Database, tenant: str, entrypoint: str) -> None:
    recorder = Recorder()
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder)
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint, b"later", delay=timedelta(hours=1))
        await enqueue(tx, entrypoint, b"now")

    async with working(worker):
        await recorder.wait()

    assert [job.payload for job in recorder.jobs] == [b"now"]
    assert await queued(database, entrypoint) == {"queued": 1}


async def test_a_failing_job_is_tried_again(
    database: Database, tenant: str, entrypoint: str
) -> None:
    recorder = Recorder(1, 2)
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder, backoff_seconds=0.05)
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint)

    async with working(worker):
        await recorder.wait()

    assert [job.attempt for job in recorder.jobs] == [1, 2, 3]


async def test_a_job_that_fails_too_often_is_dead_and_can_be_revived(
    database: Database, tenant: str, entrypoint: str
) -> None:
    async def own_dead() -> list[str]:
        jobs = await dead_jobs(database, limit=1000)
        return [job.error for job in jobs if job.entrypoint == entrypoint]

    recorder = Recorder(1, 2)
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder, attempts=2, backoff_seconds=0.01)
    async with database.transaction(tenant) as tx:
        job_id = await enqueue(tx, entrypoint, b"poison")
    async with working(worker):
        assert await eventually(own_dead) == ["ValueError: attempt 2"]
        dead = next(job for job in await dead_jobs(database) if job.job_id == job_id)
        assert (dead.payload, dead.tenant_id) == (b"poison", tenant)

        recorder.failures = ()
        await revive_jobs(database, [dead.job_id])
        await recorder.wait()

    assert [job.attempt for job in recorder.jobs] == [1, 2, 1]
    assert await own_dead() == []


async def test_a_stopped_worker_finishes_its_job(
    database: Database, tenant: str, entrypoint: str
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def slow(job: Job) -> None:
        begun.set()
        await go_on.wait()
        done.append(job.job_id)

    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, slow)
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint)
    task = beside(worker.run())
    async with asyncio.timeout(20):
        await begun.wait()
        stopping = beside(worker.stop(drain_seconds=20))
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        await task

    assert len(done) == 1
    assert await queued(database, entrypoint) == {}


async def test_a_stopped_worker_gives_back_what_does_not_finish(
    database: Database, tenant: str, entrypoint: str
) -> None:
    begun = asyncio.Event()

    async def stuck(_: Job) -> None:
        begun.set()
        await asyncio.Event().wait()

    first = JobWorker(database, service=KERNEL_SERVICE)
    first.handle(entrypoint, stuck)
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint)
    async with working(first, drain_seconds=0.01), asyncio.timeout(20):
        await begun.wait()
    assert await queued(database, entrypoint) == {"queued": 1}

    recorder = Recorder()
    second = JobWorker(database, service=KERNEL_SERVICE)
    second.handle(entrypoint, recorder)
    async with working(second):
        await recorder.wait()
    assert [job.attempt for job in recorder.jobs] == [1]


@pytest.mark.fault
async def test_the_job_of_a_killed_worker_is_done_by_another(
    database: Database, kernel_service: ServiceDatabase, tenant: str, entrypoint: str
) -> None:
    async with database.transaction(tenant) as tx:
        job_id = await enqueue(tx, entrypoint)
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.job_worker"),
        *(kernel_service.url, kernel_service.worker_url, KERNEL_SERVICE, entrypoint),
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert victim.stdout is not None
    async with asyncio.timeout(30):
        line = await victim.stdout.readline()
    victim.kill()
    await victim.communicate()
    assert line == f"begun {job_id}\n".encode()
    assert await queued(database, entrypoint) == {"picked": 1}

    recorder = Recorder()
    worker = JobWorker(database, service=KERNEL_SERVICE, heartbeat_timeout=timedelta(seconds=1))
    worker.handle(entrypoint, recorder)
    async with working(worker):
        await recorder.wait()

    assert [(job.job_id, job.attempt) for job in recorder.jobs] == [(job_id, 2)]
    assert await queued(database, entrypoint) == {}


async def test_a_job_that_kills_its_workers_is_dead_in_the_end(
    database: Database, kernel_service: ServiceDatabase, tenant: str, entrypoint: str
) -> None:
    async with database.transaction(tenant) as tx:
        job_id = await enqueue(tx, entrypoint)
    async with connection(kernel_service.worker_url) as driver:
        # As three workers would leave it that took it and died.
        await driver.execute(
            f"""UPDATE {KERNEL_SERVICE}.pgqueuer SET status = 'picked',
            queue_manager_id = gen_random_uuid(), heartbeat = now() - interval '1 hour'
            WHERE id = $1""",
            job_id,
        )
        for _ in range(3):
            await driver.execute(
                f"""INSERT INTO {KERNEL_SERVICE}.pgqueuer_log
                (job_id, status, entrypoint, priority) VALUES ($1, 'picked', $2, 0)""",
                job_id,
                entrypoint,
            )

    async def own_dead() -> list[str]:
        return [job.error for job in await dead_jobs(database) if job.job_id == job_id]

    recorder = Recorder()
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder, attempts=3)
    async with working(worker):
        assert await eventually(own_dead) == ["JobCrashed: 3 workers died with it"]

    assert recorder.jobs == []


async def test_of_three_workers_one_queues_each_tick(
    database: Database, kernel_service: ServiceDatabase, entrypoint: str
) -> None:
    recorder = Recorder()

    async def three_ticks() -> bool:
        return len(recorder.jobs) >= 3

    async with AsyncExitStack() as stack:
        for _ in range(3):
            own = kernel_service.connect()
            stack.push_async_callback(own.close)
            worker = JobWorker(own, service=KERNEL_SERVICE)
            worker.handle(entrypoint, recorder)
            worker.every("* * * * * *", entrypoint, b"tick")  # every second
            await stack.enter_async_context(working(worker))
        await eventually(three_ticks)

    async with database.system_transaction() as tx:
        ticks = await tx.driver.fetch(
            "SELECT tick_at FROM job_tick WHERE starts_with(schedule, $1)", entrypoint
        )
        enqueued = await tx.driver.fetchval(
            "SELECT count(DISTINCT job_id) FROM pgqueuer_log WHERE entrypoint = $1", entrypoint
        )
    # The tick before a schedule's first start is noted and not made up for.
    assert enqueued == len(ticks) - 1
    assert Counter(job.payload for job in recorder.jobs).keys() == {b"tick"}


def test_a_schedule_that_is_no_cron_expression_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="not a cron expression"):
        JobWorker(database, service=KERNEL_SERVICE).every("never", "job")


async def test_the_log_of_ended_jobs_is_trimmed(
    database: Database, tenant: str, entrypoint: str
) -> None:
    recorder = Recorder()
    worker = JobWorker(database, service=KERNEL_SERVICE)
    worker.handle(entrypoint, recorder)
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint)
    async with working(worker):
        await recorder.wait()
    async with database.transaction(tenant) as tx:
        await enqueue(tx, entrypoint, delay=timedelta(hours=1))

    assert await trim_job_log(database, older_than=timedelta(0)) >= 3

    async with database.system_transaction() as tx:
        lines = await tx.driver.fetch(
            "SELECT status FROM pgqueuer_log WHERE entrypoint = $1", entrypoint
        )
    assert [line["status"] for line in lines] == ["queued"]


@pytest.mark.fault
async def test_a_worker_outlives_a_restart_of_the_database(tenant: str, entrypoint: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    attempts: list[tuple[bytes, int]] = []

    async def handler(job: Job) -> None:
        attempts.append((job.payload, job.attempt))
        if job.payload == b"during":
            begun.set()
            await go_on.wait()

    async with embedded_postgres() as server:
        service = await migrated(server.url, KERNEL_SERVICE, KERNEL_MIGRATIONS)
        database = service.connect()
        worker = JobWorker(database, service=KERNEL_SERVICE)
        worker.handle(entrypoint, handler)

        async def queue(payload: bytes) -> None:
            async with database.transaction(tenant) as tx:
                await enqueue(tx, entrypoint, payload)

        async def is_empty() -> bool:
            return await queued(database, entrypoint) == {}

        async with working(worker), asyncio.timeout(60):
            await queue(b"during")
            await begun.wait()
            await server.stop()
            go_on.set()
            await server.start()
            await queue(b"after")
            await eventually(is_empty)
        await database.close()

    assert attempts == [(b"during", 1), (b"after", 1)]
