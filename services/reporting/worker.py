"""The reporting service's background work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from services.kernel.database import Database, Transaction
from services.kernel.feed_consumer import FeedConsumer, Source
from services.kernel.feed_page import START, FeedPage, FeedPosition
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Loop, Worker
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.service.anomaly_notices import JOB as NOTICE_JOB
from services.reporting.service.anomaly_notices import AnomalyNotices
from services.reporting.service.dashboard_following import DashboardChanges
from services.reporting.service.dashboards import Dashboards
from services.reporting.service.detecting import Detection, Pages
from services.reporting.service.exports.jobs import EXPIRY_JOB as EXPORT_EXPIRY_JOB
from services.reporting.service.exports.jobs import JOB as EXPORT_JOB
from services.reporting.service.exports.jobs import ExportJobs
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.reports import JOB as REPORT_JOB
from services.reporting.service.reports import Reports
from services.reporting.service.reports_making import ATTEMPTS as REPORT_ATTEMPTS
from services.reporting.service.reports_making import ReportMaking
from services.reporting.service.retention_holds import DUE_JOB as HOLDS_DUE_JOB
from services.reporting.service.retention_holds import JOB as HOLDS_JOB
from services.reporting.service.retention_holds import HoldSharing
from services.reporting.service.retention_runs import ATTEMPTS as RETENTION_ATTEMPTS
from services.reporting.service.retention_runs import JOB as RETENTION_JOB
from services.reporting.service.retention_runs import RetentionRuns
from services.reporting.service.schedules import Schedules
from services.reporting.service.schedules_mailing import JOB as MAIL_JOB
from services.reporting.service.schedules_mailing import ReportMailing
from services.reporting.service.subjects import JOB as SUBJECT_JOB
from services.reporting.service.subjects import Subjects
from services.reporting.service.subjects_work import ATTEMPTS as SUBJECT_ATTEMPTS
from services.reporting.service.subjects_work import SubjectWork
from services.reporting.store.anomalies import AnomalyFeed

SERVICE = "reporting"
FORECAST_JOB = "forecast"
TRIM_JOB = "trim"
JUDGE_JOB = "judge"
COST_CONSUMER = "costs"
SWEEP_JOB = "report-sweep"
EXPIRE_JOB = "report-expire"
DUE_JOB = "report-due"
COMPLIANCE_SWEEP_JOB = "compliance-sweep"
SUBJECT_EXPIRE_JOB = "subject-expire"
RETENTION_DUE_JOB = "retention-due"

log = structlog.get_logger(__name__)


def dashboard_workers(
    database: Database,
    dashboards: Dashboards,
    anomalies: AnomalyFeed,
    sources: Mapping[str, Source[Any]],
) -> Sequence[Worker]:
    """Returns what keeps dashboards fresh. sources: other services' feeds, by name."""

    def own(after: FeedPosition) -> AsyncGenerator[FeedPage[Anomaly], None]:
        return anomalies.watch(after=after, tenant_id=None)

    changes = DashboardChanges(database)
    following = [
        Loop(f"{name} on dashboards", partial(changes.follow, f"dashboard_{name}", source))
        for name, source in {**sources, "anomalies": own}.items()
    ]
    return [Loop("dashboards", dashboards.refresh), *following]


def report_workers(
    database: Database,
    *,
    reports: Reports,
    making: ReportMaking,
    schedules: Schedules,
    mailing: ReportMailing,
) -> Sequence[Worker]:
    """Returns what makes reports, by the calendar too, sends them and ends them."""

    async def expire(_: Job) -> None:
        await reports.expire()

    # Apart from the other jobs, which a long report would keep waiting.
    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(REPORT_JOB, making.run, attempts=REPORT_ATTEMPTS)
    jobs.handle(MAIL_JOB, mailing.run)
    jobs.handle(SWEEP_JOB, making.sweep, concurrency=1)
    jobs.handle(EXPIRE_JOB, expire, concurrency=1)
    jobs.handle(DUE_JOB, schedules.run_due, concurrency=1)
    jobs.every("* * * * *", DUE_JOB)
    jobs.every("*/5 * * * *", SWEEP_JOB)
    jobs.every("35 * * * *", EXPIRE_JOB)
    return [jobs]


def export_workers(database: Database, exports: ExportJobs) -> Sequence[Worker]:
    """Returns what makes the files of exports, and deletes them when their time is over."""
    # Apart from the other jobs, which a large export would keep waiting.
    jobs = JobWorker(database, service=SERVICE)
    # Two at a time: each holds a snapshot of usage and some hundred megabytes.
    jobs.handle(EXPORT_JOB, exports.run, concurrency=2)
    jobs.handle(EXPORT_EXPIRY_JOB, exports.expire, concurrency=1)
    jobs.every("*/10 * * * *", EXPORT_EXPIRY_JOB)
    return [jobs]


def compliance_workers(
    database: Database,
    *,
    subjects: Subjects,
    work: SubjectWork,
    runs: RetentionRuns,
    sharing: HoldSharing,
) -> Sequence[Worker]:
    """Returns what does cases about persons and removals, nightly ones too, and forgets files."""

    async def expire(_: Job) -> None:
        await subjects.expire()

    async def sweep(job: Job) -> None:
        await work.sweep(job)
        await runs.sweep(job)

    # Apart from the other jobs: a person waits for it, and a service that is down delays it.
    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(SUBJECT_JOB, work.run, attempts=SUBJECT_ATTEMPTS, backoff_seconds=0.5)
    jobs.handle(RETENTION_JOB, runs.run, attempts=RETENTION_ATTEMPTS)
    jobs.handle(COMPLIANCE_SWEEP_JOB, sweep, concurrency=1)
    jobs.handle(SUBJECT_EXPIRE_JOB, expire, concurrency=1)
    jobs.handle(RETENTION_DUE_JOB, runs.run_due, concurrency=1)
    jobs.handle(HOLDS_JOB, sharing.run, concurrency=1)
    jobs.handle(HOLDS_DUE_JOB, sharing.run_due, concurrency=1)
    jobs.every("* * * * *", COMPLIANCE_SWEEP_JOB)
    jobs.every("5 * * * *", SUBJECT_EXPIRE_JOB)
    # Before every service removes by itself, at 03:25.
    jobs.every("0 3 * * *", HOLDS_DUE_JOB)
    # A quiet hour, after the one in which partitions are made and archived.
    jobs.every("40 3 * * *", RETENTION_DUE_JOB)
    return [jobs]


def workers(
    database: Database,
    *,
    forecasts: Forecasts,
    forecast_retention: timedelta,
    detection: Detection,
    notices: AnomalyNotices,
    pages: Pages,
    feed: AnomalyFeed,
    feed_retention: timedelta,
) -> Sequence[Worker]:
    """Returns what runs beside the calls: the cost feed, verdicts, daily forecasts, forgetting."""

    async def repeat(_: Job) -> None:
        await forecasts.repeat_all()

    async def trim(_: Job) -> None:
        await forecasts.trim(kept=forecast_retention)
        await detection.trim()
        await feed.trim(older_than=feed_retention)
        await trim_answers(database)

    async def judge(_: Job) -> None:
        await detection.judge_all()

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(FORECAST_JOB, repeat, concurrency=1)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    # A quiet hour; the forecast of a day is kept once, however often it is made.
    jobs.every("20 1 * * *", FORECAST_JOB)
    jobs.every("50 * * * *", TRIM_JOB)
    jobs.handle(JUDGE_JOB, judge, concurrency=1)
    jobs.handle(NOTICE_JOB, notices.run)
    jobs.every("* * * * *", JUDGE_JOB)
    return [cost_worker(database, detection, pages), jobs]


def cost_worker(database: Database, detection: Detection, pages: Pages) -> Worker:
    """Returns what keeps the hours of watched series.

    Where changes after its position are no longer kept, it goes on with the oldest that is: all of
    them come after the position, so nothing counts twice.
    """
    consumer = FeedConsumer(database, name=COST_CONSUMER, apply=detection.apply)

    async def resume(lost: FeedPosition) -> None:
        async def note(_: Transaction) -> None:
            log.error("cost is missing from watched hours", lost_after=str(lost))

        await consumer.skip(lost, START, instead=note)

    return Loop("cost feed", lambda: consumer.run(pages, recover=resume))
