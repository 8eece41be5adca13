"""Real traces of AI work against a budget of half their cost."""

from __future__ import annotations

import csv
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.budget.bootstrap import BudgetService
from services.kernel.workers import Workers
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.test_firing import ratios
from tests.budget.conftest import NOW
from tests.budget.making import create, money
from tests.support.shared import shared_path
from tests.support.waiting import eventually

EVENTS = 1_200  # of the trace; enough for every threshold to lie between two batches
BATCH = 100


@pytest.fixture
async def working(built: BudgetService) -> AsyncIterator[None]:
    """Lets the service's workers run."""
    workers = Workers(built.workers)
    workers.start()
    yield
    await workers.stop(5)


def azure_costs(path: Path) -> list[Decimal]:
    """Returns the cost of each request: 3 USD a million tokens in, 15 out."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))[:EVENTS]
    return [
        (3 * Decimal(row["ContextTokens"]) + 15 * Decimal(row["GeneratedTokens"])) / 1_000_000
        for row in rows
    ]


def alibaba_costs(path: Path) -> list[Decimal]:
    """Returns the cost of each request: 2 USD an hour of its machine."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))[:EVENTS]
    return [
        (Decimal(row["exec_time_seconds"] or "0") / 1800).quantize(Decimal("0.000001"))
        for row in rows
    ]


@pytest.mark.usefixtures("working")
@pytest.mark.parametrize(
    ("name", "costs_of"),
    [
        ("azure_llm_2023_code.csv.gz", azure_costs),
        ("alibaba_genai_requests_to_2024-11-30.csv.gz", alibaba_costs),
    ],
)
async def test_each_threshold_fires_once_in_order_and_in_the_batch_that_reached_it(
    alerting: Alerting, name: str, costs_of: object
) -> None:
    costs = costs_of(shared_path("llm_usage", name))  # type: ignore[operator] # one of two
    half = (sum(costs) / 2).quantize(Decimal("0.000001"))
    budget = await create(alerting.caller, amount=money(f"{half:f}"))

    for start in range(0, len(costs), BATCH):
        await record(alerting, costs[start : start + BATCH], start)
        reached = sum(costs[: start + BATCH])

        async def fired(reached: Decimal = reached) -> bool:
            found = await alerting.listed("kind = ACTUAL_THRESHOLD")
            wanted = [
                each for each in ("0.5", "0.75", "0.9", "1") if reached >= half * Decimal(each)
            ]
            return ratios(found) == wanted

        await eventually(fired, seconds=20)

    alerts = await alerting.listed()
    assert ratios(alerts) == ["0.5", "0.75", "0.9", "1"]
    assert [alert.feed_sequence for alert in alerts] == sorted(a.feed_sequence for a in alerts)
    assert {alert.budget_id for alert in alerts} == {budget.budget_id}
    for alert in alerts:
        share = Decimal(alert.threshold.threshold_ratio)
        assert Decimal(alert.observed.amount) >= share * half


async def record(alerting: Alerting, costs: list[Decimal], start: int) -> None:
    """Records a batch of the trace, its events a millisecond apart."""
    events = []
    for place, cost in enumerate(costs, start=start):
        stamp = Timestamp()
        stamp.FromDatetime(NOW + timedelta(milliseconds=place))
        events.append(
            usage_model_pb2.UsageEvent(
                event_id=f"trace-{place}",
                source="trace",
                start_time=stamp,
                resource_type="llm",
                quantity="1",
                unit="request",
                cost=usage_model_pb2.UsageCost(currency_code="USD", billed=f"{cost:f}"),
            )
        )
    request = usage_service_pb2.RecordUsageRequest(events=events)
    answer = await alerting.caller.usage.RecordUsage(request)
    assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}
