"""The budget service's background work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from services.budget.convert.cost_feed import StubCostFeed
from services.budget.service import event_telling, forecast_alerts, reconciling
from services.budget.service import rebuilding as rebuilding_jobs
from services.budget.service.allocated import AllocatedCosts
from services.budget.service.claiming import Claims
from services.budget.service.cost_ledger import CostLedger, Pages
from services.budget.service.event_telling import EventTelling
from services.budget.service.expiring import ExpiringHolds, trim_ledger
from services.budget.service.filling import COST_CONSUMER
from services.budget.service.forecast_alerts import ForecastAlerts
from services.budget.service.rebuilding import Rebuilding
from services.budget.service.reconciling import Reconciler
from services.budget.service.spending import Spending
from services.budget.service.turning import PeriodTurns
from services.budget.store.alerts import AlertFeed
from services.budget.store.changes import BudgetFeed
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.feed_consumer import FeedConsumer
from services.kernel.idempotency import trim_answers
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.workers import Loop, Worker

SERVICE = "budget"
TRIM_JOB = "trim"


def ledger_workers(
    database: Database,
    *,
    costs: CostLedger,
    pages: Pages,
    rebuilding: Rebuilding,
    allocated: AllocatedCosts,
    spending: Spending,
    claims: Claims,
) -> Sequence[Worker]:
    """Returns what moves totals beside the calls: the cost feed, expiry, and named events."""
    consumer = FeedConsumer(database, name=COST_CONSUMER, apply=costs.apply)
    source = costs.source(pages)
    return [
        Loop(
            "cost feed", lambda: consumer.run(source, recover=partial(rebuilding.resume, consumer))
        ),
        Loop("allocated costs", allocated.run),
        Loop("expiring holds", ExpiringHolds(spending).run),
        Loop("claims", claims.run),
    ]


def event_workers(
    database: Database, *, telling: EventTelling, costs: StubCostFeed, rebuilding: Rebuilding
) -> Sequence[Worker]:
    """Returns what sends budget and cost events to those who subscribed."""
    budgets = FeedConsumer(database, name=event_telling.BUDGET_CONSUMER, apply=telling.tell_budgets)
    recorded = FeedConsumer(database, name=event_telling.COST_CONSUMER, apply=telling.tell_costs)
    return [
        Loop("budget events", lambda: budgets.run(telling.budget_pages)),
        Loop(
            "cost events",
            lambda: recorded.run(costs.pages, recover=partial(rebuilding.pass_over, recorded)),
        ),
    ]


def workers(
    database: Database,
    *,
    turns: PeriodTurns,
    reconciler: Reconciler,
    rebuilding: Rebuilding,
    feed: BudgetFeed,
    feed_retention: timedelta,
    forecasts: ForecastAlerts,
    alert_feed: AlertFeed,
    clock: Clock,
) -> Sequence[Worker]:
    """Returns what runs beside the calls: turns of periods, queued jobs, those of the calendar."""

    async def trim(_: Job) -> None:
        await feed.trim(older_than=feed_retention)
        await alert_feed.trim(older_than=feed_retention)
        await trim_answers(database)
        await trim_ledger(database, clock.now())

    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(TRIM_JOB, trim, concurrency=1)
    jobs.handle(reconciling.JOB, reconciler.run, concurrency=2)
    jobs.handle(reconciling.NIGHTLY_JOB, reconciler.run_nightly, concurrency=1)
    jobs.handle(rebuilding_jobs.JOB, rebuilding.run, concurrency=2)
    jobs.handle(forecast_alerts.JOB, forecasts.run, concurrency=1)
    jobs.every("*/5 * * * *", forecast_alerts.JOB)
    jobs.every("45 2 * * *", reconciling.NIGHTLY_JOB)
    jobs.every("40 * * * *", TRIM_JOB)
    return [Loop("period turns", turns.run), jobs]
