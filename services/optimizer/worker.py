"""The optimizer's background work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.feed import EncodedFeed
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Loop, Worker
from services.optimizer.service import recommending, runs
from services.optimizer.service.detailing import Details
from services.optimizer.service.measuring import Measuring
from services.optimizer.service.runs import Runs
from services.optimizer.service.trimming import trim_statistics

SERVICE = "optimizer"
DUE_JOB = "queue_due"
TRIM_JOB = "trim"


def workers(
    database: Database,
    *,
    follow: Callable[[], Awaitable[None]],
    details: Details,
    optimization: Runs,
    measuring: Measuring,
    feed: EncodedFeed,
    feed_retention: timedelta,
    statistics_days: int,
    clock: Clock,
) -> Sequence[Worker]:
    """Returns what runs beside the calls. follow: reads the usage service's feed for ever."""

    async def trim(_: Job) -> None:
        await feed.trim(older_than=feed_retention)
        await trim_answers(database)
        await trim_statistics(database, clock.now(), days=statistics_days)

    jobs = JobWorker(database, service=SERVICE, clock=clock)
    jobs.handle(runs.JOB, optimization.do)
    jobs.handle(recommending.MEASURE_JOB, measuring.do)
    jobs.handle(DUE_JOB, optimization.queue_due, concurrency=1)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    jobs.every("* * * * *", DUE_JOB)
    jobs.every("25 * * * *", TRIM_JOB)
    return [jobs, Loop("usage feed", partial(follow)), Loop("details", details.run)]
