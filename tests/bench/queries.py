"""Cost questions about 90 days of 10 million events, new ones and repeated ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import uvloop
from finops.usage.v1 import cost_model_pb2, usage_service_pb2, usage_service_pb2_grpc

from services.kernel.database import Database
from services.usage.convert.usage import to_inbox
from services.usage.service.batch import Batch
from services.usage.service.tenant_context import TenantContexts
from services.usage.store.events import EventRow, insert_events
from tests.bench.batches import Template, templates
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

EVENTS = 10_000_000
DAYS = 90
QUESTIONS = 150
TENANT = "queries-0"
CONNECTIONS = 2
SETTLE_SECONDS = 300
# Deltas that no roll-up holds yet, or tables that autovacuum has not come to since.
_BEHIND = """
SELECT EXISTS (
    SELECT FROM usage.cost_change c JOIN usage.rollup_mark m USING (tenant_id)
    WHERE (c.transaction_id, c.sequence) > (m.transaction_id, m.sequence)
) OR EXISTS (
    SELECT FROM pg_stat_user_tables
    WHERE relname IN ('rollup_day', 'cost_change') AND n_mod_since_analyze > n_live_tup / 5 + 1000
)
"""
GROUPS = (["department"], ["project"], ["user"], ["provider", "region"], ["tag:team"])


def bench_queries(stack: BenchStack) -> Iterator[Figure]:
    """Stores the events by the service's own statement, then asks."""
    now = datetime.now(UTC)
    end = datetime(now.year, now.month, now.day, tzinfo=UTC)
    uvloop.run(fill(stack, end))
    new, repeated = uvloop.run(_ask(stack, end))
    yield Figure("query_costs_p95_ms", percentile(new, 0.95) * 1000, "ms", len(new))
    yield Figure(
        "query_costs_cached_p95_ms", percentile(repeated, 0.95) * 1000, "ms", len(repeated)
    )


async def fill(stack: BenchStack, end: datetime, count: int = EVENTS) -> None:
    """Spreads about so many events over the days before `end`."""
    database = Database.connect(
        stack.usage_database_url, service="usage", worker_url=stack.usage_worker_url
    )
    contexts = TenantContexts(database)
    own = [template for template in templates(1, prefix="queries") if template.tenant == TENANT]
    rows = [
        row._replace(event_id=f"{row.event_id}-{number}")
        for number, template in enumerate(own)
        for row in await _rows(contexts, template, end)
    ]
    batches = iter(range(count // len(rows)))

    async def store() -> None:
        for number in batches:
            shift = timedelta(days=number % DAYS, minutes=number * 7 % 1440)
            hours = int(shift.total_seconds()) // 3600 * 3600
            shift = timedelta(seconds=hours)
            fresh = f"{number:016d}"
            moved = [
                row._replace(
                    event_id=fresh + row.event_id[16:],
                    start_at=row.start_at - shift,
                    hour=row.hour - hours,
                )
                for row in rows
            ]
            async with database.transaction(TENANT) as tx:
                await insert_events(tx, TENANT, moved, traceparent=None)

    await asyncio.gather(*(store() for _ in range(CONNECTIONS)))
    await database.close()


async def _rows(contexts: TenantContexts, template: Template, end: datetime) -> list[EventRow]:
    request = usage_service_pb2.RecordUsageRequest.FromString(template.blob)
    events = [
        event._replace(
            start_at=end - timedelta(minutes=1 + index % 1430),
            end_at=end - timedelta(minutes=1 + index % 1430),
        )
        for index, event in enumerate(
            to_inbox(request.events, template.tenant).by_tenant[TENANT][1]
        )
    ]
    months = [
        event._replace(start_at=end - timedelta(days=days))
        for event in events[:1]
        for days in range(DAYS + 2)
    ]
    await contexts.require_partitions(months)
    context = await contexts.get(TENANT)
    resolutions = await contexts.resolve(context, events)
    return sorted(Batch(context, events, resolutions).rows)


async def _ask(stack: BenchStack, end: datetime) -> tuple[list[float], list[float]]:
    metadata = [("authorization", f"Bearer {stack.token(TENANT)}")]
    async with grpc.aio.insecure_channel(stack.usage_address) as channel:
        stub = usage_service_pb2_grpc.UsageServiceStub(channel)

        async def timed(request: cost_model_pb2.QueryCostsRequest) -> float:
            started = time.perf_counter()
            await stub.QueryCosts(request, metadata=metadata, timeout=60)
            return time.perf_counter() - started

        await settle(stack)
        answer = await stub.QueryCosts(_question(end, 0, []), metadata=metadata, timeout=60)
        stored = sum(total.events for total in answer.totals)
        if stored < EVENTS * 0.99:
            raise RuntimeError(f"only {stored} events are in the period")
        asked = [
            _question(end, number, GROUPS[number % len(GROUPS)]) for number in range(QUESTIONS)
        ]
        new = [await timed(question) for question in asked]
        again = asked[-len(GROUPS) :] * (QUESTIONS // len(GROUPS) * 4)
        repeated = [await timed(question) for question in again]
    return new, repeated


async def settle(stack: BenchStack) -> None:
    """Waits until all is rolled up and tidied, as it is where 10 million events took 90 days."""
    database = Database.connect(
        stack.usage_database_url, service="usage", worker_url=stack.usage_worker_url
    )
    deadline = time.monotonic() + SETTLE_SECONDS
    is_behind = True
    while is_behind:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the roll-ups are still behind after {SETTLE_SECONDS} s")
        await asyncio.sleep(1)
        async with database.system_transaction() as tx:
            is_behind = await tx.driver.fetchval(_BEHIND)
    await database.close()


def _question(end: datetime, number: int, group_by: list[str]) -> cost_model_pb2.QueryCostsRequest:
    """Returns a question that differs from those of other numbers, but not in how much it reads."""
    return cost_model_pb2.QueryCostsRequest(
        group_by=group_by,
        filter=f'project != "none-{number}"',
        start=(end - timedelta(days=DAYS)).isoformat(),
        end=end.isoformat(),
    )
