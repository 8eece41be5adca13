"""How fast recorded usage reaches ten thousand budgets."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from statistics import linear_regression

import grpc
import psutil
import uvloop
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc

from services.budget.domain.budget import Budget, BudgetVersion
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.scope import Scope
from services.budget.domain.terms import BudgetTerms
from services.budget.store import budgets
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.feed_page import FeedPosition
from services.kernel.ids import new_id
from services.kernel.money import Money
from tests.bench.batches import PROJECTS, TENANTS, Template, templates
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

FEED_SECONDS = 30
EVENTS_PER_SECOND = 30_000
BUDGETS = 10_000
CALLS_MAX = 100  # under way at once: more would only wait in the usage service
SAMPLE_SECONDS = 0.5
CATCH_UP_SECONDS_MAX = 300
PREFIX = "bench-feed"
Record = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Fed:
    """events in seconds from the first call on, until every budget had counted them.

    lags: (seconds since the first call, age of the oldest change that was not counted then).
    cpu_seconds: of the budget service.
    """

    events: int
    seconds: float
    lags: list[tuple[float, float]]
    cpu_seconds: float

    @property
    def lag_growth(self) -> float:
        """Seconds by which the lag grows in a second, by least squares."""
        return linear_regression(*zip(*self.lags, strict=True)).slope


def bench_feed(stack: BenchStack) -> Iterator[Figure]:
    """Records usage at a fixed pace, and looks how far behind the budgets are all the while."""
    uvloop.run(_make_budgets(stack))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        fed = pool.apply(_load, (stack,))
    rate, cpu = fed.events / fed.seconds, fed.cpu_seconds * 1e6 / fed.events
    lags = [lag for _, lag in fed.lags]
    yield Figure("budget_feed_events_per_second", rate, "events/s", fed.events)
    yield Figure("budget_feed_lag_seconds", percentile(lags, 0.99), "s", len(lags))
    yield Figure("budget_feed_lag_growth", fed.lag_growth, "s/s", len(lags))
    yield Figure("budget_feed_cpu_us_per_event", cpu, "us", fed.events)


async def _make_budgets(stack: BenchStack) -> None:
    """Stores the budgets as the service would, without asking usage for a past there is none of."""
    database = Database.connect(
        stack.budget_database_url, service="budget", worker_url=stack.budget_worker_url
    )
    each = BUDGETS // TENANTS
    now = SystemClock().now()
    for tenant in range(TENANTS):
        tenant_id = f"{PREFIX}-{tenant}"
        async with database.system_transaction() as tx:
            for number in range(each):
                user, project = divmod(number, PROJECTS)
                terms = BudgetTerms(
                    f"Budget {number}",
                    Scope(user_id=f"user-{user}", project=f"project-{project}"),
                    PeriodRule(Cadence.MONTHLY),
                    Money("USD", Decimal(1000)),
                )
                started_at = terms.rule.period_at(now - timedelta(hours=2))
                if started_at is None:
                    raise RuntimeError("a month has a period")
                version = BudgetVersion(1, terms, started_at.start, "bench", now)
                budget = Budget(
                    tenant_id, new_id(), (version,), "bench", now, started_at=started_at.start
                )
                await budgets.add_budget(tx, budget)
            await budgets.bump_revision(tx, tenant_id)
    await database.close()


def _load(stack: BenchStack) -> Fed:
    return uvloop.run(_feed(stack))


async def _feed(stack: BenchStack) -> Fed:
    prepared = templates(7, prefix=PREFIX)
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(stack.usage_address, options=options) as channel:
        record: Record = channel.unary_unary("/finops.usage.v1.UsageService/RecordUsage")
        for number, template in enumerate(prepared):
            # Opens every budget's period, and makes the dimensions that a running system has.
            metadata = [("authorization", f"Bearer {stack.token(template.tenant)}")]
            await record(template.batch(10**9 + number), metadata=metadata, timeout=60)
        await _counted(stack, await _newest(channel, stack))
        process = psutil.Process(stack.budget_pid)
        used = sum(process.cpu_times()[:2])
        lags: list[tuple[float, float]] = []
        started = time.perf_counter()
        sampling = asyncio.create_task(_sample(stack, started, lags))
        events = await _record(stack, record, prepared)
        sampling.cancel()
        await _counted(stack, await _newest(channel, stack))
        seconds = time.perf_counter() - started
        used = sum(process.cpu_times()[:2]) - used
    return Fed(events, seconds, lags, used)


async def _record(stack: BenchStack, record: Record, prepared: list[Template]) -> int:
    """Records events at the pace, or as fast as they are taken where that is slower."""
    room = asyncio.Semaphore(CALLS_MAX)
    running: set[asyncio.Task[bytes]] = set()

    def done(task: asyncio.Task[bytes]) -> None:
        running.discard(task)
        room.release()

    started = time.perf_counter()
    events = 0
    while events < EVENTS_PER_SECOND * FEED_SECONDS:
        await room.acquire()
        wait = started + events / EVENTS_PER_SECOND - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        chosen = prepared[(events // prepared[0].events) % len(prepared)]
        metadata = [("authorization", f"Bearer {stack.token(chosen.tenant)}")]
        task = asyncio.ensure_future(
            record(chosen.batch(10**10 + events), metadata=metadata, timeout=60)
        )
        running.add(task)
        task.add_done_callback(done)
        events += chosen.events
    await asyncio.gather(*running)
    return events


async def _sample(stack: BenchStack, started: float, lags: list[tuple[float, float]]) -> None:
    """Adds the lag every now and then: the age of the oldest change that is not counted."""
    budget, usage = (
        Database.connect(url, service=name, worker_url=worker_url)
        for name, url, worker_url in (
            ("budget", stack.budget_database_url, stack.budget_worker_url),
            ("usage", stack.usage_database_url, stack.usage_worker_url),
        )
    )
    try:
        while True:
            async with budget.system_transaction() as tx:
                text = await tx.driver.fetchval(
                    "SELECT position FROM feed_cursor WHERE name = 'costs'"
                )
            position = FeedPosition.parse(text)
            async with usage.system_transaction() as tx:
                age = await tx.driver.fetchval(
                    """
                    SELECT clock_timestamp() - recorded_at FROM usage.cost_change
                    WHERE (transaction_id, sequence) > ($1::xid8, $2::bigint)
                    ORDER BY transaction_id LIMIT 1
                    """,
                    position.transaction_id,
                    position.sequence,
                )
            lag = 0.0 if age is None else age.total_seconds()
            lags.append((time.perf_counter() - started, lag))
            await asyncio.sleep(SAMPLE_SECONDS)
    finally:
        await budget.close()
        await usage.close()


async def _newest(channel: grpc.aio.Channel, stack: BenchStack) -> str:
    """Returns a position behind everything that was recorded."""
    stub = usage_service_pb2_grpc.UsageServiceStub(channel)
    newest = ""
    for tenant in range(TENANTS):
        metadata = [("authorization", f"Bearer {stack.token(f'{PREFIX}-{tenant}')}")]
        answer = await stub.QueryCosts(
            cost_model_pb2.QueryCostsRequest(), metadata=metadata, timeout=60
        )
        newest = max(newest, answer.newest_sequence)
    return newest


async def _counted(stack: BenchStack, position: str) -> None:
    database = Database.connect(
        stack.budget_database_url, service="budget", worker_url=stack.budget_worker_url
    )
    async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
        while True:
            async with database.system_transaction() as tx:
                reached = await tx.driver.fetchval(
                    "SELECT position FROM feed_cursor WHERE name = 'costs'"
                )
            if reached is not None and reached >= position:
                break
            await asyncio.sleep(0.05)
    await database.close()
