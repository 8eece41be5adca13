"""The demo company in a running stack: soon there, and loading it again changes nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.demo import company
from cli.demo.loading import load_demo
from tests.support.stack import RunningStack

COSTS = "/api/v1/finops/cost-attribution"
SECONDS_MAX = 30

pytestmark = pytest.mark.e2e


def totals(stack: RunningStack) -> list[Any]:
    question = {"start": "2020-01-01", "group_by": "department"}
    answer = stack.ask(company.TENANT, COSTS, question)
    assert len(answer["rows"]) > 5
    found: list[Any] = answer["totals"]
    return found


async def test_the_demo_is_loaded_once_and_soon(stack: RunningStack) -> None:
    today = datetime.now(UTC).astimezone(company.ZONE).date()
    async with stack.client(company.TENANT, roles=["platform_admin"]) as client:
        began = time.monotonic()
        stored = await load_demo(client, today, lambda _: None)
        seconds = time.monotonic() - began
        before = totals(stack)
        again = await load_demo(client, today + timedelta(days=1), lambda _: None)

    assert seconds < SECONDS_MAX
    assert stored == again
    assert totals(stack) == before
    (only,) = before
    assert int(only["events"]) == stored
    assert only["unpricedEvents"] == "0"
