"""Spend decisions a second over gRPC, how long one takes, and how fast usage reaches budgets."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import grpc
import uvloop
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, spend_messages_pb2
from finops.common.v1.money_pb2 import Money

from services.kernel.ids import new_id
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

RATE_SECONDS = 20
PACED_SECONDS = 20
PACE_PER_SECOND = 1_000
IN_FLIGHT = 64  # callers that wait for each answer
CHANNELS = 4
BUDGETS = 1_000
SERVICE = "/finops.budget.v1.BudgetService"
Ask = Callable[[int], Awaitable[None]]
Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Measured:
    """calls, in seconds; latencies: seconds of each paced call."""

    calls: int
    seconds: float
    latencies: list[float]


def bench_authorize(stack: BenchStack) -> Iterator[Figure]:
    """Measures one hot budget, then a thousand budgets, then latency at a fixed pace."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for name, budgets in (("hot", 1), ("many", BUDGETS)):
            measured = pool.apply(_load, (stack, f"bench-{name}", budgets, True))
            rate = measured.calls / measured.seconds
            suffix = "" if name == "hot" else "_1000_budgets"
            yield Figure(f"authorize_per_second{suffix}", rate, "calls/s", measured.calls)
        paced = pool.apply(_load, (stack, "bench-paced", 1, False)).latencies
    yield Figure("authorize_p99_ms", percentile(paced, 0.99) * 1000, "ms", len(paced))


def _load(stack: BenchStack, tenant: str, budgets: int, is_rate: bool) -> Measured:  # noqa: FBT001 - passed by a pool
    return uvloop.run(_measure(stack, tenant, budgets, is_rate=is_rate))


async def _measure(stack: BenchStack, tenant: str, budgets: int, *, is_rate: bool) -> Measured:
    metadata = [("authorization", f"Bearer {stack.token(tenant)}")]
    channels = [grpc.aio.insecure_channel(stack.budget_address) for _ in range(CHANNELS)]
    try:
        await _make_budgets(channels[0], metadata, budgets)
        calls: list[Call] = [
            channel.unary_unary(f"{SERVICE}/AuthorizeSpend") for channel in channels
        ]
        ask = partial(_ask, calls, metadata, budgets)
        for number in range(200):
            await ask(number)
        if is_rate:
            return await _closed(ask)
        return Measured(0, PACED_SECONDS, await _paced(ask))
    finally:
        for channel in channels:
            await channel.close()


async def _make_budgets(
    channel: grpc.aio.Channel, metadata: list[tuple[str, str]], budgets: int
) -> None:
    create: Call = channel.unary_unary(f"{SERVICE}/CreateBudget")
    turns = asyncio.Semaphore(8)

    async def make(number: int) -> None:
        scope = budget_model_pb2.BudgetScope(project=f"project-{number}" if budgets > 1 else "")
        budget = budget_model_pb2.Budget(
            display_name=f"Bench {number}",
            scope=scope,
            cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
            amount=Money(currency_code="USD", amount="1000000"),
            enforcement=budget_model_pb2.BUDGET_ENFORCEMENT_HARD,
        )
        request = budget_service_pb2.CreateBudgetRequest(budget=budget)
        async with turns:
            await create(request.SerializeToString(), metadata=metadata, timeout=60)

    await asyncio.gather(*(make(number) for number in range(budgets)))


async def _ask(
    calls: list[Call], metadata: list[tuple[str, str]], budgets: int, number: int
) -> None:
    request = spend_messages_pb2.AuthorizeSpendRequest(
        amount=Money(currency_code="USD", amount="0.0125"), request_id=new_id()
    )
    request.subject.resource_type = "llm"
    request.subject.user_id = "ada"
    request.subject.project = f"project-{number % budgets}"
    call = calls[number % CHANNELS]
    await call(request.SerializeToString(), metadata=metadata, timeout=30)


async def _closed(ask: Ask) -> Measured:
    done = 0
    started = time.perf_counter()
    deadline = started + RATE_SECONDS

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            done += 1
            await ask(done)

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return Measured(done, time.perf_counter() - started, [])


async def _paced(ask: Ask) -> list[float]:
    """Starts a call each millisecond, whether the ones before are answered or not."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def one(number: int) -> None:
        begun = started + number / PACE_PER_SECOND
        await ask(number)
        latencies.append(time.perf_counter() - begun)

    running: set[asyncio.Task[None]] = set()
    for number in range(PACE_PER_SECOND * PACED_SECONDS):
        wait = started + number / PACE_PER_SECOND - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return latencies
