"""Several answers at once: each that of its own question, to the last digit."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from finops.usage.v1 import cost_model_pb2 as costs
from finops.usage.v1 import (
    read_service_pb2,
    read_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from services.kernel.cache import Cache
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.usage import bootstrap
from services.usage.service import costs as answering
from services.usage.settings import UsageSettings
from tests.support.server import JWT_SECRET, SERVICE_SECRET, LocalServer, refused, serving

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PERIOD: dict[str, Any] = {"start": "2026-03-01", "end": "2026-04-01"}
SECONDS = 60.0  # for a call, beside other tests
GROUPINGS: tuple[list[str], ...] = (
    [],
    ["department"],
    ["project", "region"],
    ["region", "project"],
    ["tag:team"],
    ["user"],
)


@dataclass(frozen=True, slots=True)
class Stubs:
    """One caller's."""

    usage: Any
    read: Any


@pytest.fixture(scope="module")
async def server(usage_database: Database) -> AsyncIterator[LocalServer]:
    """The usage service behind a real port."""
    settings = UsageSettings(
        jwt_secret=SecretStr(JWT_SECRET), service_token_secret=SecretStr(SERVICE_SECRET)
    )
    cache = Cache.connect(None, service="usage")
    built = bootstrap.build(usage_database, cache, settings, clock=ManualClock(NOON))
    async with serving(*built.servicers, database=usage_database) as running:
        yield running


@pytest.fixture
async def own(server: LocalServer, tenant: str) -> Stubs:
    """The administrator of a tenant that no other test uses."""
    channel = server.channel("org_admin", tenant=tenant)
    return Stubs(
        usage_service_pb2_grpc.UsageServiceStub(channel),
        read_service_pb2_grpc.UsageReadServiceStub(channel),
    )


def used(number: int, minutes: int, amount: str, **fields: Any) -> usage_model_pb2.UsageEvent:
    at = Timestamp()
    at.FromDatetime(NOON + timedelta(minutes=minutes))
    code = fields.pop("currency", "USD")
    return usage_model_pb2.UsageEvent(
        **{
            "event_id": f"e{number}",
            "source": "test",
            "start_time": at,
            "resource_type": "llm",
            "quantity": "2",
            "unit": "call",
            "cost": usage_model_pb2.UsageCost(currency_code=code, billed=amount),
            **fields,
        }
    )


async def record(own: Stubs, *events: usage_model_pb2.UsageEvent) -> None:
    request = usage_service_pb2.RecordUsageRequest(events=events)
    answer = await own.usage.RecordUsage(request, timeout=SECONDS)
    assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}, answer


async def asked(own: Stubs, questions: list[Any]) -> list[costs.QueryCostsResponse]:
    request = read_service_pb2.BatchQueryCostsRequest(questions=questions)
    return list((await own.read.BatchQueryCosts(request, timeout=SECONDS)).answers)


async def test_answers_of_a_batch_are_those_of_their_questions(own: Stubs) -> None:
    """Random usage in two units and currencies, and questions that share a reading or do not."""
    rng = random.Random(20260615)
    await record(
        own,
        *(
            used(
                number,
                rng.randrange(-60 * 1_440, 20 * 1_440),
                f"{rng.randrange(10**9)}.{rng.randrange(10**15):015d}",
                unit=rng.choice(["call", "call", "token"]),
                department=rng.choice(["", "research", "sales"]),
                project=rng.choice(["", "one", "two"]),
                region=rng.choice(["", "eu", "us"]),
                user_id=rng.choice(["", "ada", "bob"]),
                tags=rng.choice([{}, {"team": "blue"}, {"team": "red"}]),
                currency=rng.choice(["USD", "USD", "EUR"]),
            )
            for number in range(120)
        ),
    )
    for _ in range(3):
        end = NOON + timedelta(minutes=rng.randrange(-1_440, 20 * 1_440))
        alike: dict[str, Any] = {
            "start": (end - timedelta(minutes=rng.randrange(1, 30 * 1_440))).isoformat(),
            "end": end.isoformat(),
            "filter": rng.choice(["", 'department != "sales"', 'tags.team = "red"']),
            "cost_type": rng.choice(["", "list"]),
        }
        questions = [
            costs.QueryCostsRequest(
                **alike, group_by=group_by, compare_previous=rng.random() < 0.7, page_size=4
            )
            for group_by in GROUPINGS
        ]
        questions += [
            costs.QueryCostsRequest(**alike, granularity="day"),
            costs.QueryCostsRequest(**alike, group_by=["project"], currency="GBP"),
            costs.QueryCostsRequest(**alike, group_by=["tenant"], allocated=True),
            costs.QueryCostsRequest(**alike, group_by=["manager"], order_by="manager"),
        ]

        batch = await asked(own, questions)

        alone = [await own.usage.QueryCosts(question, timeout=SECONDS) for question in questions]
        for question, answer, expected in zip(questions, batch, alone, strict=True):
            assert answer == expected, question


async def test_an_answer_of_a_batch_goes_on_as_its_question(own: Stubs) -> None:
    await record(
        own, *(used(number, number, "0.1", department=f"d{number}") for number in range(5))
    )
    questions = [
        costs.QueryCostsRequest(**PERIOD, group_by=[name], order_by=name, page_size=2)
        for name in ("department", "project")
    ]
    batch = await asked(own, questions)
    questions[0].page_token = batch[0].next_page_token

    rest = await own.usage.QueryCosts(questions[0])

    assert [row.group["department"] for row in rest.rows] == ["d2", "d3"]
    assert not batch[1].next_page_token


async def test_questions_with_too_many_groups_together_are_answered_one_by_one(
    own: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(
        own, *(used(number, number, "0.1", department=f"d{number}") for number in range(5))
    )
    monkeypatch.setattr(answering, "CELLS_MAX", 6)
    questions = [
        costs.QueryCostsRequest(**PERIOD, group_by=group_by)
        for group_by in (["department"], ["department", "project"])
    ]

    batch = await asked(own, questions)

    assert [len(answer.rows) for answer in batch] == [5, 5]


async def test_one_wrong_question_refuses_its_batch(own: Stubs) -> None:
    questions = [
        costs.QueryCostsRequest(**PERIOD, group_by=["project"], filter=text)
        for text in ("", "nothing = 1")
    ]

    refusal = await refused(asked(own, questions))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNKNOWN_FILTER_FIELD",
    )
