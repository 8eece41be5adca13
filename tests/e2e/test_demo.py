"""The demo company in a running stack: loading it again changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from finops.optimizer.v1.optimizer_messages_pb2 import ListRecommendationsRequest
from finops.optimizer.v1.optimizer_model_pb2 import RECOMMENDATION_KIND_SHUTDOWN
from finops_sdk import AsyncClient

from cli.demo import company
from cli.demo.loading import load_demo
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

COSTS = "/api/v1/finops/cost-attribution"

pytestmark = pytest.mark.e2e


def totals(stack: RunningStack) -> list[Any]:
    question = {"start": "2020-01-01", "group_by": "department"}
    answer = stack.ask(company.TENANT, COSTS, question)
    assert len(answer["rows"]) > 5
    found: list[Any] = answer["totals"]
    return found


async def recommended(client: AsyncClient) -> set[int]:
    request = ListRecommendationsRequest(tenant_id=company.TENANT, page_size=100)
    listed = await client.optimizer.ListRecommendations(request)
    return {one.kind for one in listed.recommendations}


async def test_the_demo_is_loaded_once_and_shows_what_could_be_saved(stack: RunningStack) -> None:
    today = datetime.now(UTC).astimezone(company.ZONE).date()
    async with stack.client(company.TENANT, roles=["platform_admin"]) as client:
        stored = await load_demo(client, today, lambda _: None)
        before = totals(stack)
        again = await load_demo(client, today + timedelta(days=1), lambda _: None)
        kinds = await eventually(lambda: recommended(client))

    assert stored == again
    assert totals(stack) == before
    assert RECOMMENDATION_KIND_SHUTDOWN in kinds
    (only,) = before
    assert int(only["events"]) == stored
    assert only["unpricedEvents"] == "0"
    forecast = json.loads(asked(stack, "forecast", "--group-by", "department"))
    assert {"research", "platform"} <= {one["group"]["department"] for one in forecast["series"]}
    assert forecast["total"]["error"]["mase"]
    assert asked(stack, "anomalies").startswith("[")


def asked(stack: RunningStack, *command: str) -> str:
    return stack.finops(*command, "--tenant", company.TENANT, "--format", "json")
