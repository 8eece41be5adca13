"""Ingest: events a second over gRPC against the same SQL without the service, and freshness."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import psutil
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

INGEST_SECONDS = 60
FLOOR_SECONDS = 12  # before and after, so that a machine that slows down slows both
Record = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
IN_FLIGHT = 6  # batches: enough to keep the service and PostgreSQL busy at once
FLOOR_CONNECTIONS = 2  # one a core


@dataclass(frozen=True, slots=True)
class Measured:
    """events, in seconds; freshness: seconds from the answer of a call to its visibility."""

    events: int
    seconds: float
    freshness: list[float]


def bench_ingest(stack: BenchStack) -> Iterator[Figure]:
    """Runs the floor, the service, and the floor again."""
    prepared = templates(1)
    uvloop.run(_warm(stack, prepared))
    before = uvloop.run(_floor(stack, prepared, offset=10**9))
    memory: list[int] = []
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pending = pool.apply_async(_load, (stack, prepared))
        process = psutil.Process(stack.usage_pid)
        while not pending.ready():
            memory.append(process.memory_info().rss)
            pending.wait(0.25)
        measured = pending.get()
    after = uvloop.run(_floor(stack, prepared, offset=2 * 10**9))
    rate = measured.events / measured.seconds
    yield Figure("ingest_events_per_second", rate, "events/s", measured.events)
    yield Figure("ingest_floor_ratio", rate / ((before + after) / 2), "ratio", measured.events)
    fresh = measured.freshness
    yield Figure("visible_p99_seconds", percentile(fresh, 0.99), "s", len(fresh))
    yield Figure("usage_rss_mb", max(memory) / 2**20, "MiB", len(memory))


def _load(stack: BenchStack, prepared: list[Template]) -> Measured:
    return uvloop.run(_ingest(stack, prepared))


def _channel(stack: BenchStack) -> grpc.aio.Channel:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.aio.insecure_channel(stack.usage_address, options=options)


async def _warm(stack: BenchStack, prepared: list[Template]) -> None:
    """Makes tenants and dimensions, which a running system has made long ago."""
    async with _channel(stack) as channel:
        record: Record = channel.unary_unary("/finops.usage.v1.UsageService/RecordUsage")
        for number, template in enumerate(prepared):
            metadata = [("authorization", f"Bearer {stack.token(template.tenant)}")]
            await record(template.batch(3 * 10**9 + number), metadata=metadata, timeout=60)


async def _ingest(stack: BenchStack, prepared: list[Template]) -> Measured:
    metadata = {
        template.tenant: [("authorization", f"Bearer {stack.token(template.tenant)}")]
        for template in prepared
    }
    done = 0
    number = 0
    deadline = time.perf_counter() + INGEST_SECONDS
    async with _channel(stack) as channel:
        record: Record = channel.unary_unary("/finops.usage.v1.UsageService/RecordUsage")

        async def send() -> None:
            nonlocal done, number
            while time.perf_counter() < deadline:
                number += 1
                template = prepared[number % len(prepared)]
                answer = await record(
                    template.batch(number), metadata=metadata[template.tenant], timeout=60
                )
                receipt = usage_service_pb2.RecordUsageResponse.FromString(answer)
                if set(receipt.statuses) != {1}:
                    raise RuntimeError(f"batch {number}: {receipt.problems[:3]}")
                done += template.events

        started = time.perf_counter()
        probe = asyncio.create_task(_watch_freshness(channel, stack, deadline))
        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        seconds = time.perf_counter() - started
        return Measured(done, seconds, await probe)


async def _watch_freshness(
    channel: grpc.aio.Channel, stack: BenchStack, deadline: float
) -> list[float]:
    """Records one event at a time and asks for its cost until the answer has it."""
    stub = usage_service_pb2_grpc.UsageServiceStub(channel)
    metadata = [("authorization", f"Bearer {stack.token('bench-probe')}")]
    seen: list[float] = []
    request = usage_service_pb2.RecordUsageRequest()
    request.events.add(
        source="probe", resource_type="probe", unit="probe", quantity="1"
    ).start_time.GetCurrentTime()
    while time.perf_counter() < deadline:
        request.events[0].event_id = f"probe-{len(seen)}"
        await stub.RecordUsage(request, metadata=metadata, timeout=60)
        accepted = time.perf_counter()
        while True:
            answer = await stub.QueryCosts(
                cost_model_pb2.QueryCostsRequest(), metadata=metadata, timeout=60
            )
            if answer.totals[0].events == len(seen) + 1:
                break
        seen.append(time.perf_counter() - accepted)
        await asyncio.sleep(0.05)
    return seen


async def _floor(stack: BenchStack, prepared: list[Template], *, offset: int) -> float:
    """Returns events a second of the same statement with its arrays made beforehand."""
    database = Database.connect(stack.usage_database_url, service="usage")
    contexts = TenantContexts(database)
    columns = [await _rows(contexts, template) for template in prepared]
    number = 0
    done = 0
    deadline = time.perf_counter() + FLOOR_SECONDS

    async def send() -> None:
        nonlocal number, done
        while time.perf_counter() < deadline:
            number += 1
            template = prepared[number % len(prepared)]
            fresh = f"{offset + number:016d}"
            rows = [
                row._replace(event_id=fresh + row.event_id[16:])
                for row in columns[number % len(prepared)]
            ]
            started = time.perf_counter()
            async with database.transaction(template.tenant) as tx:
                stored = await insert_events(tx, template.tenant, rows, traceparent=None)
            spent.append(time.perf_counter() - started)
            if stored is not None:
                raise RuntimeError("the floor met its own events")
            done += len(rows)

    spent: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(FLOOR_CONNECTIONS)))
    seconds = time.perf_counter() - started
    await database.close()
    return done / seconds


async def _rows(contexts: TenantContexts, template: Template) -> list[EventRow]:
    request = usage_service_pb2.RecordUsageRequest.FromString(template.blob)
    events = to_inbox(request.events, template.tenant).by_tenant[template.tenant][1]
    context = await contexts.get(template.tenant)
    resolutions = await contexts.resolve(context, events)
    return sorted(Batch(context, events, resolutions).rows)
