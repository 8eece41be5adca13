"""The usage service's background work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.kernel.database import Database
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Worker
from services.usage.service import archiving, importing, reconciling
from services.usage.service.archiving import Archive
from services.usage.service.importing import Imports
from services.usage.service.reconciling import Reconciler
from services.usage.service.rolling_up import RollUp
from services.usage.service.watching import CostFeed

SERVICE = "usage"
TRIM_JOB = "trim"


def workers(
    database: Database,
    *,
    imports: Imports,
    reconciler: Reconciler,
    archive: Archive,
    feed: CostFeed,
    feed_retention: timedelta,
) -> Sequence[Worker]:
    """Returns what runs beside the calls: roll-ups, queued jobs, and those of the calendar."""

    async def trim(_: Job) -> None:
        await feed.trim(older_than=feed_retention)
        await trim_answers(database)

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(importing.JOB, imports.run)
    jobs.handle(reconciling.JOB, reconciler.run_nightly, concurrency=1)
    jobs.handle(archiving.JOB, archive.run_retention, concurrency=1)
    jobs.handle(archiving.PARTITIONS_JOB, archive.make_partitions, concurrency=1)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    jobs.every("15 2 * * *", reconciling.JOB)
    jobs.every("45 3 2 * *", archiving.JOB)
    jobs.every("5 0 * * *", archiving.PARTITIONS_JOB)
    jobs.every("35 * * * *", TRIM_JOB)
    return [RollUp(database), jobs]
