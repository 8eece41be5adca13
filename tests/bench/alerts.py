"""From recorded usage to the alert in its receiver's hands."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import uvloop
from finops.budget.v1 import (
    budget_model_pb2,
    budget_service_pb2,
    budget_service_pb2_grpc,
    channel_service_pb2,
    channel_service_pb2_grpc,
    notification_model_pb2,
)
from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import usage_model_pb2, usage_service_pb2, usage_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.ids import new_id
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

ALERTS = 300
PACE_PER_SECOND = 10
WAIT_SECONDS = 60.0  # for what is still on its way when the last event was recorded
TENANT = "bench-alerts"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(slots=True)
class Arrivals:
    """When the alert of each budget arrived."""

    port: int = 0
    at: dict[str, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.at.setdefault(body["data"]["budgetId"], time.perf_counter())
        if len(self.at) == ALERTS:
            self.complete.set()
        writer.write(OK)
        await writer.drain()
        writer.close()


def bench_alerts(stack: BenchStack) -> Iterator[Figure]:
    """Records one event a budget, each of which reaches its threshold."""
    latencies = uvloop.run(_measure(stack))
    yield Figure("alert_latency_p50_seconds", percentile(latencies, 0.5), "s", len(latencies))
    yield Figure("alert_latency_p99_seconds", percentile(latencies, 0.99), "s", len(latencies))


async def _measure(stack: BenchStack) -> list[float]:
    metadata = [("authorization", f"Bearer {stack.token(TENANT)}")]
    async with (
        _receiver() as arrivals,
        grpc.aio.insecure_channel(stack.budget_address) as budget,
        grpc.aio.insecure_channel(stack.usage_address) as usage,
    ):
        channel_id = await _make_channel(budget, metadata, arrivals.port)
        made = [
            await _make_budget(budget, metadata, channel_id, number) for number in range(ALERTS)
        ]
        stub = usage_service_pb2_grpc.UsageServiceStub(usage)
        began: dict[str, float] = {}
        for number, budget_id in enumerate(made):
            request = usage_service_pb2.RecordUsageRequest(events=[_event(number)])
            began[budget_id] = time.perf_counter()
            await stub.RecordUsage(request, metadata=metadata)
            await asyncio.sleep(1 / PACE_PER_SECOND)
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await arrivals.complete.wait()
        lost = ALERTS - len(arrivals.at)
        if lost:
            raise RuntimeError(f"{lost} of {ALERTS} alerts did not arrive")
        return [arrivals.at[budget_id] - began[budget_id] for budget_id in made]


@asynccontextmanager
async def _receiver() -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    server = await asyncio.start_server(arrivals.serve, "127.0.0.1", 0)
    arrivals.port = server.sockets[0].getsockname()[1]
    async with server:
        yield arrivals


async def _make_channel(
    channel: grpc.aio.Channel, metadata: list[tuple[str, str]], port: int
) -> str:
    request = channel_service_pb2.CreateNotificationChannelRequest(
        channel=notification_model_pb2.NotificationChannel(
            display_name="Bench",
            kind=notification_model_pb2.CHANNEL_KIND_WEBHOOK,
            address=f"http://127.0.0.1:{port}/",
        )
    )
    stub = channel_service_pb2_grpc.ChannelServiceStub(channel)
    made = await stub.CreateNotificationChannel(request, metadata=metadata)
    return made.notification_channel.channel_id


async def _make_budget(
    channel: grpc.aio.Channel, metadata: list[tuple[str, str]], channel_id: str, number: int
) -> str:
    budget = budget_model_pb2.Budget(
        display_name=f"Bench {number}",
        scope=budget_model_pb2.BudgetScope(user_id=f"user-{number}"),
        cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
        amount=Money(currency_code="USD", amount="100"),
        channel_ids=[channel_id],
        thresholds=[budget_model_pb2.AlertThreshold(threshold_ratio="0.5")],
    )
    request = budget_service_pb2.CreateBudgetRequest(budget=budget)
    stub = budget_service_pb2_grpc.BudgetServiceStub(channel)
    return (await stub.CreateBudget(request, metadata=metadata)).budget.budget_id


def _event(number: int) -> usage_model_pb2.UsageEvent:
    now = Timestamp()
    now.GetCurrentTime()
    return usage_model_pb2.UsageEvent(
        event_id=new_id(),
        source="bench",
        start_time=now,
        resource_type="llm",
        quantity="1",
        unit="call",
        user_id=f"user-{number}",
        cost=usage_model_pb2.UsageCost(currency_code="USD", billed="60"),
    )
