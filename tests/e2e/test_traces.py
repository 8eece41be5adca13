"""One trace goes from a REST call through every hop, and a feed's hop links back to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from cli.connection import local_token
from tests.support.collector import Collector, running_collector
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import eventually

TENANT = "traced"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def stack(collector: Collector) -> Iterator[RunningStack]:
    environment = {"FINOPS_OTLP_ENDPOINT": collector.address, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with running_stack(services=("usage", "budget"), environment=environment) as running:
        yield running


def call(
    stack: RunningStack, method: str, path: str, trace_id: str, body: object = None
) -> httpx.Response:
    headers = {
        "authorization": f"Bearer {local_token(stack.data_dir, TENANT)()}",
        "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
    }
    answer = stack.rest.request(method, path, json=body, headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer


def record(stack: RunningStack, trace_id: str) -> None:
    event = {
        "eventId": trace_id,
        "source": "traces",
        "resourceType": "llm",
        "resourceId": "gpt-4o",
        "unit": "token",
        "quantity": "10",
        "userId": "grace",
        "startTime": datetime.now(UTC).isoformat(),
        "components": [{"meter": "input_token", "quantity": "10"}],
    }
    call(stack, "POST", "/api/v1/finops/usage", trace_id, {"events": [event]})


async def test_a_rest_call_is_one_trace_through_gateway_service_and_sql(
    stack: RunningStack, collector: Collector
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4731"

    record(stack, trace_id)

    async def is_whole() -> bool:
        spans = collector.of_trace(trace_id)
        served = {(span.service, span.name) for span in spans}
        has_sql = any(
            span.service == "finops-usage" and "db.statement" in span.attributes for span in spans
        )
        return (
            has_sql
            and {
                ("finops-gateway", "POST /api/v1/finops/usage"),
                ("finops-usage", "finops.usage.v1.UsageService/RecordUsage"),
            }
            <= served
        )

    await eventually(is_whole)


async def test_a_cost_question_shows_its_cache(stack: RunningStack, collector: Collector) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4732"

    call(stack, "GET", "/api/v1/finops/cost-attribution?group_by=user", trace_id)

    async def has_asked_redis() -> bool:
        return any(
            span.service == "finops-usage" and "db.redis.args_length" in span.attributes
            for span in collector.of_trace(trace_id)
        )

    await eventually(has_asked_redis)


async def test_what_follows_a_feed_links_to_the_call_that_made_the_fact(
    stack: RunningStack, collector: Collector
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4733"

    record(stack, trace_id)

    async def is_linked() -> bool:
        return any(
            span.service == "finops-budget" and trace_id in span.links for span in collector.spans
        )

    await eventually(is_linked)
