"""A client that sends usage and tries again, and what must be stored in the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from finops.usage.v1.cost_model_pb2 import (
    QueryCostsRequest,
    ReconcileUsageRequest,
    WatchCostsRequest,
)
from finops.usage.v1.usage_model_pb2 import (
    RECORD_STATUS_ACCEPTED,
    RECORD_STATUS_DUPLICATE,
    UsageCost,
    UsageEvent,
)
from finops.usage.v1.usage_service_pb2 import StreamUsageRequest
from finops_sdk import AsyncClient, deliver, resume
from finops_sdk.channel import Retry

from services.kernel.money import add_exactly
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

STREAMS = 4
BATCH_EVENTS = 200
PACE_SECONDS = 0.02  # of each stream between batches; the faults want the machine as well
PATIENCE_SECONDS = 90.0
_RETRY = Retry(attempts=1_000, pause_seconds_max=0.5)
_DAYS = 3


@dataclass(slots=True)
class Load:
    """What several streams have sent. acknowledged: events whose batch was answered."""

    stack: RunningStack
    tenant: str
    client: AsyncClient
    sent: int = 0
    acknowledged: int = 0
    costs: list[Decimal] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _streams: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begins to send."""
        self._streams = [asyncio.create_task(self._send(number)) for number in range(STREAMS)]

    async def progress(self, events: int = 2_000) -> None:
        """Waits until so many more events were acknowledged. Raises what ended a stream."""
        goal = self.acknowledged + events

        async def has_come() -> bool:
            for stream in self._streams:
                if stream.done():
                    await stream
            return self.acknowledged >= goal

        await eventually(has_come, seconds=PATIENCE_SECONDS)

    async def finish(self) -> None:
        """Ends the load once every batch was acknowledged."""
        self._stopped.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._streams)

    async def cancel(self) -> None:
        """Ends the load at once."""
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def _send(self, stream: int) -> None:
        calls = deliver(self.client.usage.StreamUsage, self._batches(stream), retry=_RETRY)
        async for answer in calls:
            self.statuses.update(answer.statuses)
            self.acknowledged += len(answer.statuses)

    async def _batches(self, stream: int) -> AsyncIterator[StreamUsageRequest]:
        draw = random.Random(f"{self.tenant} {stream}")
        sequence = 0
        while not self._stopped.is_set():
            sequence += 1
            yield StreamUsageRequest(
                sequence=sequence,
                events=[
                    self._event(draw, f"{stream}-{sequence}-{position}")
                    for position in range(BATCH_EVENTS)
                ],
            )
            await asyncio.sleep(PACE_SECONDS)

    def _event(self, draw: random.Random, event_id: str) -> UsageEvent:
        amount = Decimal(draw.randrange(10**20)).scaleb(-18)
        self.sent += 1
        self.costs.append(amount)
        event = UsageEvent(
            event_id=event_id,
            source="load",
            resource_type="vm",
            quantity="1",
            unit="hour",
            user_id=f"user-{draw.randrange(20)}",
            project=f"project-{draw.randrange(5)}",
            cost=UsageCost(currency_code="USD", billed=f"{amount:f}"),
        )
        ago = timedelta(seconds=draw.randrange(_DAYS * 86_400))
        event.start_time.FromDatetime(self._began - ago)
        return event


@asynccontextmanager
async def running_load(stack: RunningStack, tenant: str) -> AsyncIterator[Load]:
    """Runs a load until `finish`, and in any case no longer than the block."""
    async with stack.client(tenant) as client:
        load = Load(stack, tenant, client)
        load.start()
        try:
            yield load
        finally:
            await load.cancel()


async def assert_counted_once(load: Load) -> None:
    """Asserts that what was sent is, once and exactly, in raw storage, roll-ups, costs and feed."""
    usage = load.client.usage
    total = add_exactly(load.costs)
    assert set(load.statuses) <= {RECORD_STATUS_ACCEPTED, RECORD_STATUS_DUPLICATE}
    assert load.statuses.total() == load.sent

    compared = await usage.ReconcileUsage(ReconcileUsageRequest())
    assert list(compared.drifts) == []
    assert compared.raw_events == load.sent
    assert compared.rolled_up_events == load.sent
    assert compared.feed_events == load.sent

    answer = await usage.QueryCosts(QueryCostsRequest())
    (only,) = answer.totals
    assert only.events == load.sent
    assert Decimal(only.cost.amount) == total

    events, amounts = 0, [Decimal(0)]
    async for message in resume(usage.WatchCosts, WatchCostsRequest(batch_size=1_000)):
        events += sum(change.events for change in message.changes)
        amounts += [Decimal(change.billed_cost.amount) for change in message.changes]
        if message.sequence >= answer.sequence:
            break
    assert events == load.sent
    assert add_exactly(amounts) == total
