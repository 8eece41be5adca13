"""The billing service's background work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.billing.service import advancing as advances
from services.billing.service import credits as grants
from services.billing.service.advancing import Advancing
from services.billing.service.credits import Credits
from services.billing.service.journal import BillingFeed
from services.kernel.database import Database
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Worker

SERVICE = "billing"
TRIM_JOB = "trim"


def workers(
    database: Database,
    *,
    advancing: Advancing,
    credit: Credits,
    feed: BillingFeed,
    feed_retention: timedelta,
) -> Sequence[Worker]:
    """Returns what runs beside the calls: queued jobs and those of the calendar."""

    async def trim(_: Job) -> None:
        await feed.trim(older_than=feed_retention)
        await trim_answers(database)

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(advances.JOB, advancing.run, concurrency=1)
    jobs.handle(grants.JOB, credit.expire, concurrency=1)
    jobs.every("*/5 * * * *", advances.JOB)
    jobs.every("20 * * * *", grants.JOB)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    jobs.every("50 * * * *", TRIM_JOB)
    return [jobs]
