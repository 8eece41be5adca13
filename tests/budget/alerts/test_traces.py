"""Real traces of AI work against a budget of half their cost."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate, islice
from pathlib import Path

import pytest
from finops.budget.v1.ledger_service_pb2 import ListBudgetPeriodsRequest
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.test_firing import ratios
from tests.budget.conftest import NOW
from tests.budget.making import create, money
from tests.support.shared import shared_path
from tests.support.waiting import eventually

# All requests are some 23,000; enough for every threshold are enough for every day.
EVENTS = None if os.environ.get("FINOPS_FAULTS") == "full" else 1_200
BATCH = 1_000
THRESHOLDS = ("0.5", "0.75", "0.9", "1")


def azure_costs(path: Path) -> list[Decimal]:
    """Returns the cost of each request: 3 USD a million tokens in, 15 out."""
    with gzip.open(path, "rt") as file:
        rows = islice(csv.DictReader(file), EVENTS)
        return [
            (3 * Decimal(row["ContextTokens"]) + 15 * Decimal(row["GeneratedTokens"])) / 1_000_000
            for row in rows
        ]


def alibaba_costs(path: Path) -> list[Decimal]:
    """Returns the cost of each request: 2 USD an hour of its machine."""
    with gzip.open(path, "rt") as file:
        rows = islice(csv.DictReader(file), EVENTS)
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
async def test_each_threshold_fires_once_in_order_and_at_the_event_that_reached_it(
    alerting: Alerting, name: str, costs_of: Callable[[Path], list[Decimal]]
) -> None:
    costs = costs_of(shared_path("llm_usage", name))
    limit = (sum(costs, Decimal(0)) / 2).quantize(Decimal("0.000001"))
    budget = await create(alerting.caller, amount=money(f"{limit:f}"))
    sums = list(accumulate(costs))
    reaching = [
        next(place for place, reached in enumerate(sums) if reached >= limit * Decimal(ratio))
        for ratio in THRESHOLDS
    ]

    fired = []
    start = 0
    for place in reaching:
        await record(alerting, costs, start, place)
        await counted(alerting, budget.budget_id, sums[place - 1])
        fired.append(ratios(await alerting.listed()))
        await record(alerting, costs, place, place + 1)
        await counted(alerting, budget.budget_id, sums[place])
        fired.append(ratios(await alerting.listed()))
        start = place + 1
    await record(alerting, costs, start, len(costs))
    await counted(alerting, budget.budget_id, sums[-1])

    assert fired == [list(THRESHOLDS[:count]) for count in (0, 1, 1, 2, 2, 3, 3, 4)]
    alerts = await alerting.listed()
    assert ratios(alerts) == list(THRESHOLDS)
    assert [Decimal(alert.observed.amount) for alert in alerts] == [sums[k] for k in reaching]
    assert [alert.feed_sequence for alert in alerts] == sorted(a.feed_sequence for a in alerts)
    assert {alert.budget_id for alert in alerts} == {budget.budget_id}


async def counted(alerting: Alerting, budget_id: str, expected: Decimal) -> None:
    """Waits until the budget has spent so much."""
    request = ListBudgetPeriodsRequest(budget_id=budget_id)

    async def is_counted() -> bool:
        (period,) = (await alerting.caller.ledger.ListBudgetPeriods(request)).periods
        return Decimal(period.totals.spent.amount) == expected

    await eventually(is_counted, seconds=60)


async def record(alerting: Alerting, costs: list[Decimal], start: int, end: int) -> None:
    """Records events of the trace, a millisecond apart."""
    for first in range(start, end, BATCH):
        places = range(first, min(first + BATCH, end))
        events = [event_of(place, costs[place]) for place in places]
        request = usage_service_pb2.RecordUsageRequest(events=events)
        answer = await alerting.caller.usage.RecordUsage(request)
        assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}


def event_of(place: int, cost: Decimal) -> usage_model_pb2.UsageEvent:
    stamp = Timestamp()
    stamp.FromDatetime(NOW + timedelta(milliseconds=place))
    return usage_model_pb2.UsageEvent(
        event_id=f"trace-{place}",
        source="trace",
        start_time=stamp,
        resource_type="llm",
        quantity="1",
        unit="request",
        cost=usage_model_pb2.UsageCost(currency_code="USD", billed=f"{cost:f}"),
    )
