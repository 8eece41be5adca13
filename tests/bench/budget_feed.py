"""How fast recorded usage reaches ten thousand budgets."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import grpc
import uvloop
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc

from services.budget.domain.budget import Budget, BudgetVersion
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.scope import Scope
from services.budget.domain.terms import BudgetTerms
from services.budget.store import budgets
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.money import Money
from tests.bench.batches import PROJECTS, TENANTS, Template, templates
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack

FEED_SECONDS = 20
EVENTS_PER_SECOND = 30_000
BUDGETS = 10_000
CATCH_UP_SECONDS_MAX = 300
PREFIX = "bench-feed"
Record = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Fed:
    """events in seconds from the first call on; lag_seconds: how far the budgets were behind."""

    events: int
    seconds: float
    lag_seconds: float


def bench_feed(stack: BenchStack) -> Iterator[Figure]:
    """Records usage at a fixed pace and waits until every budget has counted it."""
    uvloop.run(_make_budgets(stack))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        fed = pool.apply(_load, (stack,))
    rate = fed.events / fed.seconds
    yield Figure("budget_feed_events_per_second", rate, "events/s", fed.events)
    yield Figure("budget_feed_lag_seconds", fed.lag_seconds, "s", fed.events)


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
        running: set[asyncio.Task[bytes]] = set()
        started = time.perf_counter()
        events = 0
        while events < EVENTS_PER_SECOND * FEED_SECONDS:
            wait = started + events / EVENTS_PER_SECOND - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            chosen: Template = prepared[(events // prepared[0].events) % len(prepared)]
            metadata = [("authorization", f"Bearer {stack.token(chosen.tenant)}")]
            task = asyncio.ensure_future(
                record(chosen.batch(10**10 + events), metadata=metadata, timeout=60)
            )
            running.add(task)
            task.add_done_callback(running.discard)
            events += chosen.events
        await asyncio.gather(*running)
        recorded = time.perf_counter()
        await _counted(stack, await _newest(channel, stack))
        ended = time.perf_counter()
    return Fed(events, ended - started, ended - recorded)


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
