"""Real traces against a hard budget of half their cost: 16 senders never pass it."""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from tests.budget.conftest import Caller
from tests.budget.test_spend import admitted_or_none, authorize, make_budget, settle
from tests.support.shared import shared_path

SENDERS = 16
# All requests are some 23,000; a few hundred are enough for every day.
REQUESTS = None if os.environ.get("FINOPS_FAULTS") == "full" else 300
INPUT_PRICE, OUTPUT_PRICE = Decimal("0.000003"), Decimal("0.000015")  # a token, as of many models
SECOND_PRICE = Decimal("0.0006")  # of a GPU


def azure_costs(path: Path) -> Iterator[Decimal]:
    """Yields what each request of the Azure LLM trace costs."""
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            tokens = Decimal(row["ContextTokens"]), Decimal(row["GeneratedTokens"])
            yield tokens[0] * INPUT_PRICE + tokens[1] * OUTPUT_PRICE


def alibaba_costs(path: Path) -> Iterator[Decimal]:
    """Yields what each request of the Alibaba image trace costs that took any time."""
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            if row["exec_time_seconds"] and Decimal(row["exec_time_seconds"]) > 0:
                yield Decimal(row["exec_time_seconds"]) * SECOND_PRICE


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("azure_llm_2023_code.csv.gz", azure_costs),
        ("alibaba_genai_requests_to_2024-11-30.csv.gz", alibaba_costs),
    ],
)
async def test_a_trace_is_admitted_up_to_half_its_cost_and_never_above(
    caller: Caller, name: str, read: object
) -> None:
    assert callable(read)
    costs = list(islice(read(shared_path("llm_usage", name)), REQUESTS))
    limit = sum(costs, Decimal(0)) / 2
    await make_budget(caller, f"{limit:f}")
    waiting = iter(costs)
    admitted: list[Decimal] = []

    async def send() -> None:
        for cost in waiting:
            held = await admitted_or_none(caller, cost)
            if held is not None:
                await settle(caller, held.authorization_id, f"{cost:f}")
                admitted.append(cost)

    await asyncio.gather(*(send() for _ in range(SENDERS)))

    trial = await authorize(caller, "0", validate_only=True)
    (check,) = trial.decision.checks
    spent = Decimal(check.spent.amount)
    assert spent == sum(admitted, Decimal(0))
    assert limit - max(costs) < spent <= limit
    assert check.held.amount == "0"
