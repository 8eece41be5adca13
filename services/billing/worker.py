"""The billing service's background work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.billing.service import advancing as advances
from services.billing.service import chargeback, running
from services.billing.service import credits as grants
from services.billing.service import maturing as maturing_invoices
from services.billing.service import prorating as changes
from services.billing.service.advancing import Advancing
from services.billing.service.chargeback import Chargebacks
from services.billing.service.credits import Credits
from services.billing.service.journal import BillingFeed
from services.billing.service.mailing import Mailing
from services.billing.service.maturing import Maturing
from services.billing.service.metering import Metering
from services.billing.service.moving import MAIL_JOB
from services.billing.service.prorating import Prorating
from services.billing.service.provider.work import ProviderWork
from services.billing.service.running import BillingRuns
from services.kernel.database import Database
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Loop, Worker

SERVICE = "billing"
TRIM_JOB = "trim"


def workers(
    database: Database,
    *,
    advancing: Advancing,
    credit: Credits,
    prorating: Prorating,
    feed: BillingFeed,
    feed_retention: timedelta,
    metering: Metering,
    runs: BillingRuns,
    chargebacks: Chargebacks,
    mailing: Mailing,
    maturing: Maturing,
    provider: ProviderWork,
) -> Sequence[Worker]:
    """Returns what runs beside the calls: queued jobs and those of the calendar."""

    async def trim(_: Job) -> None:
        await feed.trim(older_than=feed_retention)
        await trim_answers(database)

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(advances.JOB, advancing.run, concurrency=1)
    jobs.handle(advances.ARREARS_JOB, advancing.follow_invoices, concurrency=1)
    jobs.handle(grants.JOB, credit.expire, concurrency=1)
    jobs.handle(changes.JOB, prorating.run)
    jobs.every("*/5 * * * *", advances.JOB)
    jobs.every("*/5 * * * *", advances.ARREARS_JOB)
    jobs.every("20 * * * *", grants.JOB)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    jobs.every("50 * * * *", TRIM_JOB)
    provider.register(jobs)
    # A run is one job: what it does at once is its own to bound.
    jobs.handle(running.RUN_JOB, runs.work, concurrency=1)
    jobs.handle(running.DAILY_JOB, runs.start_daily, concurrency=1)
    jobs.handle(chargeback.CHARGEBACK_JOB, chargebacks.work, concurrency=1)
    jobs.handle(maturing_invoices.JOB, maturing.run, concurrency=1)
    jobs.handle(MAIL_JOB, mailing.run)
    jobs.every("10 4 * * *", running.DAILY_JOB)
    jobs.every("*/10 * * * *", maturing_invoices.JOB)
    return [Loop("metering", metering.follow), jobs]
