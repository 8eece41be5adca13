"""What the events of a day say, and what happens when the usage service refuses to tell them."""

from __future__ import annotations

from decimal import Decimal

import grpc
import pytest
from finops.usage.v1.usage_model_pb2 import OUTCOME_FAILED, OUTCOME_SUCCEEDED, UsageCost, UsageEvent

from services.kernel.period import Period
from services.optimizer.convert.usage_reader import StubUsageReader
from services.optimizer.errors import UsageRefused
from services.optimizer.store.statistics import (
    ChangedDay,
    DaySamples,
    load_attempts,
    load_series,
    load_utilization,
    replace_details,
)
from tests.optimizer.conftest import NOW, Desk
from tests.optimizer.making import START, instant
from tests.support.server import token_of


def call(number: int, cost: str, **fields: object) -> UsageEvent:
    values: dict[str, object] = {
        "event_id": f"call-{number}",
        "source": "test",
        "start_time": instant(START),
        "resource_type": "llm",
        "resource_id": "atlas",
        "service": "chat",
        "quantity": "1",
        "unit": "call",
        "cost": UsageCost(currency_code="USD", billed=cost),
        "outcome": OUTCOME_SUCCEEDED,
    }
    return UsageEvent(**(values | fields))  # type: ignore[arg-type]


async def test_failed_and_repeated_work_is_counted_and_priced_exactly(desk: Desk) -> None:
    await desk.record(
        [
            *(call(number, "0.01") for number in range(50)),
            *(
                call(
                    100 + number,
                    "0.033333333333333333",
                    outcome=OUTCOME_FAILED,
                    error_code="TIMEOUT",
                    retries=2,
                )
                for number in range(3)
            ),
            call(200, "0.02", retries=1, error_code="RATE_LIMITED"),
        ]
    )

    period = Period(START, NOW)
    async with desk.stage.database.read(desk.tenant) as tx:
        attempts = await load_attempts(tx, desk.tenant, period)
        series = await load_series(tx, desk.tenant, period)

    found = {(one.error_code, one.is_failed): one for one in attempts}
    assert found["TIMEOUT", True].operations == 3
    assert found["TIMEOUT", True].cost == Decimal("0.099999999999999999")
    assert found["RATE_LIMITED", False].retries == 1
    assert [(one.events, one.failed_events) for one in series] == [(54, 3)]
    assert series[0].cost == Decimal("0.619999999999999999")


async def test_a_day_that_somebody_else_has_read_is_left_as_it_is(desk: Desk) -> None:
    gone = ChangedDay(desk.tenant, START.date(), 1)
    samples = [DaySamples("late", "cpu", None, "core", [0], [0.5])]

    async with desk.stage.database.system_transaction() as tx:
        await replace_details(tx, gone, samples, [])

    async with desk.stage.database.read(desk.tenant) as tx:
        assert not await load_utilization(tx, desk.tenant, Period(START, NOW))


async def test_a_usage_service_that_refuses_is_said_so(desk: Desk) -> None:
    stranger = StubUsageReader(desk.stage.usage.channel_with(token_of("viewer", tenant="another")))
    nobody = StubUsageReader(desk.stage.usage.channel_with("no token"))

    with pytest.raises(UsageRefused) as refused:
        await stranger.profile(desk.tenant)
    with pytest.raises(UsageRefused):
        await nobody.profile(desk.tenant)

    assert refused.value.reason == "OPTIMIZER_USAGE_REFUSED"
    assert refused.value.metadata["code"] == grpc.StatusCode.PERMISSION_DENIED.name
