"""Several answers at once: each that of its own question, to the last digit."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import grpc
import pytest
from finops.usage.v1 import cost_model_pb2 as costs
from finops.usage.v1 import (
    read_service_pb2,
)

from services.usage.service import costs as answering
from tests.support.server import refused
from tests.usage.asking import MONTH, NOON, SECONDS, Stubs, used

GROUPINGS: tuple[list[str], ...] = (
    [],
    ["department"],
    ["project", "region"],
    ["region", "project"],
    ["tag:team"],
    ["user"],
)


async def asked(own: Stubs, questions: list[Any]) -> list[costs.QueryCostsResponse]:
    request = read_service_pb2.BatchQueryCostsRequest(questions=questions)
    return list((await own.read.BatchQueryCosts(request, timeout=SECONDS)).answers)


async def test_answers_of_a_batch_are_those_of_their_questions(own: Stubs) -> None:
    """Random usage in two units and currencies, and questions that share a reading or do not."""
    rng = random.Random(20260615)
    await own.record(
        *(
            used(
                number,
                f"{rng.randrange(10**9)}.{rng.randrange(10**15):015d}",
                minutes=rng.randrange(-60 * 1_440, 20 * 1_440),
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
    await own.record(*(used(number, "0.1", department=f"d{number}") for number in range(5)))
    questions = [
        costs.QueryCostsRequest(**MONTH, group_by=[name], order_by=name, page_size=2)
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
    await own.record(*(used(number, "0.1", department=f"d{number}") for number in range(5)))
    monkeypatch.setattr(answering, "CELLS_MAX", 6)
    questions = [
        costs.QueryCostsRequest(**MONTH, group_by=group_by)
        for group_by in (["department"], ["department", "project"])
    ]

    batch = await asked(own, questions)

    assert [len(answer.rows) for answer in batch] == [5, 5]


async def test_one_wrong_question_refuses_its_batch(own: Stubs) -> None:
    questions = [
        costs.QueryCostsRequest(**MONTH, group_by=["project"], filter=text)
        for text in ("", "nothing = 1")
    ]

    refusal = await refused(asked(own, questions))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNKNOWN_FILTER_FIELD",
    )
