"""The reporting service's background work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.kernel.database import Database
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Worker
from services.reporting.service.forecasting import Forecasts

SERVICE = "reporting"
FORECAST_JOB = "forecast"
TRIM_JOB = "trim"


def workers(
    database: Database, *, forecasts: Forecasts, forecast_retention: timedelta
) -> Sequence[Worker]:
    """Returns what runs beside the calls: the daily forecasts, and forgetting."""

    async def repeat(_: Job) -> None:
        await forecasts.repeat_all()

    async def trim(_: Job) -> None:
        await forecasts.trim(kept=forecast_retention)
        await trim_answers(database)

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(FORECAST_JOB, repeat, concurrency=1)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    # A quiet hour; the forecast of a day is kept once, however often it is made.
    jobs.every("20 1 * * *", FORECAST_JOB)
    jobs.every("50 * * * *", TRIM_JOB)
    return [jobs]
