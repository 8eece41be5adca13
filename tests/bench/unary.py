"""One event a call at a steady pace: how long the answer takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import grpc
import uvloop
from finops.usage.v1 import usage_service_pb2, usage_service_pb2_grpc

from tests.bench.batches import make_event
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

CALLS_PER_SECOND = 200
SECONDS = 20


def bench_unary(stack: BenchStack) -> Iterator[Figure]:
    """Starts a call every 5 ms, whether or not the one before has ended, and times it from then."""
    uvloop.run(_calls(stack, seconds=3, first=0))  # makes the tenant, its dimensions and plans
    taken = uvloop.run(_calls(stack, seconds=SECONDS, first=10**6))
    yield Figure("record_unary_p99_ms", percentile(taken, 0.99) * 1000, "ms", len(taken))


async def _calls(stack: BenchStack, *, seconds: int, first: int) -> list[float]:
    metadata = [("authorization", f"Bearer {stack.token('bench-unary')}")]
    rng = random.Random(1)
    taken: list[float] = []
    async with grpc.aio.insecure_channel(stack.usage_address) as channel:
        stub = usage_service_pb2_grpc.UsageServiceStub(channel)

        async def call(number: int, due: float) -> None:
            request = usage_service_pb2.RecordUsageRequest()
            make_event(request.events.add(), rng, index=first + number, at=time.time())
            answer = await stub.RecordUsage(request, metadata=metadata, timeout=30)
            if list(answer.statuses) != [1]:
                raise RuntimeError(f"call {number}: {answer.problems}")
            taken.append(time.perf_counter() - due)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for number in range(CALLS_PER_SECOND * seconds):
                due = began + number / CALLS_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                calls.create_task(call(number, due))
    return taken
