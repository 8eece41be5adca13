"""Real traces of AI requests as usage: tokens and cost are exact, failed work costs nothing."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from finops.usage.v1.pricing_model_pb2 import (
    PRICING_MODEL_PER_UNIT,
    Price,
    PriceBook,
    PriceTier,
)
from finops.usage.v1.pricing_service_pb2 import CreatePriceBookRequest, CreatePriceRequest
from finops.usage.v1.usage_model_pb2 import (
    RECORD_STATUS_ACCEPTED,
    RECORD_STATUS_DUPLICATE,
    UsageComponent,
    UsageEvent,
)
from finops.usage.v1.usage_service_pb2 import StreamUsageRequest
from finops_sdk import AsyncClient, deliver

from tests.support.shared import shared_path
from tests.support.stack import RunningStack

COSTS = "/api/v1/finops/cost-attribution"
EVER = {"start": "2020-01-01", "end": "2030-01-01"}
CODE_TRACE = "azure_llm_2023_code.csv.gz"
IMAGE_TRACE = "alibaba_genai_requests_to_2024-11-30.csv.gz"
STREAMS = 8
SENT_TWICE = 0.05
BATCH_EVENTS = 200
METERS = ("input_token", "output_token")
# USD a million tokens, in and out, as two published price books have it.
PRICE_BOOKS = {
    "cost_usd_gpt-3.5-turbo_old_book_1.72.0": ("1.5", "2"),
    "cost_usd_gpt-3.5-turbo": ("0.5", "1.5"),
}

pytestmark = pytest.mark.e2e


def expected(trace: str) -> dict[str, Any]:
    name = f"expected_{trace.removesuffix('.csv.gz')}.json"
    content: dict[str, Any] = json.loads(shared_path("llm_usage", name).read_text())
    return content


def code_requests(path: Path, *, model: str, provider: str = "") -> list[UsageEvent]:
    """Returns the requests of the trace, without the importer."""
    events = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            tokens = (int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            event = UsageEvent(
                event_id=f"request-{number}",
                source="code-assistant",
                resource_type="llm",
                resource_id=model,
                provider=provider,
                quantity=str(sum(tokens)),
                unit="token",
                components=[
                    UsageComponent(meter=meter, quantity=str(count))
                    for meter, count in zip(METERS, tokens, strict=True)
                ],
            )
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
            event.start_time.FromDatetime(at)
            events.append(event)
    return events


def in_disorder(events: list[UsageEvent]) -> list[UsageEvent]:
    """Returns the events shuffled, 5 % of them twice, not beside each other."""
    draw = random.Random(20231116)
    disorder = [*events, *draw.sample(events, round(len(events) * SENT_TWICE))]
    draw.shuffle(disorder)
    return disorder


async def send(client: AsyncClient, events: list[UsageEvent]) -> Counter[int]:
    """Streams the events in batches and returns what became of them."""

    async def batches() -> AsyncIterator[StreamUsageRequest]:
        for sequence, first in enumerate(range(0, len(events), BATCH_EVENTS), 1):
            yield StreamUsageRequest(sequence=sequence, events=events[first : first + BATCH_EVENTS])

    statuses: Counter[int] = Counter()
    async for answer in deliver(client.usage.StreamUsage, batches()):
        statuses.update(answer.statuses)
    return statuses


async def set_price(client: AsyncClient, resource_type: str, meter: str, amount: str) -> None:
    """Creates a price of the tenant for a million units."""
    price = Price(
        price_id=f"price-{meter.replace('_', '-')}",
        price_book_id="book",
        resource_type=resource_type,
        meter=meter,
        currency_code="USD",
        per_quantity="1000000",
        model=PRICING_MODEL_PER_UNIT,
        tiers=[PriceTier(unit_price=amount)],
    )
    await client.pricing.CreatePrice(CreatePriceRequest(price=price))


async def make_price_book(client: AsyncClient) -> None:
    book = PriceBook(price_book_id="book", display_name="Prices of a test")
    await client.pricing.CreatePriceBook(CreatePriceBookRequest(price_book=book))


def only_row(stack: RunningStack, tenant: str, **question: str) -> dict[str, Any]:
    (row,) = stack.ask(tenant, COSTS, {**EVER, **question})["rows"]
    assert isinstance(row, dict)
    return row


async def test_tokens_and_cost_are_exact_from_eight_streams_with_repeats(
    stack: RunningStack,
) -> None:
    facts = expected(CODE_TRACE)
    path = shared_path("llm_usage", CODE_TRACE)
    events = in_disorder(code_requests(path, model="gpt-4o", provider="openai"))

    async with stack.client("code") as client:
        parts = [events[number::STREAMS] for number in range(STREAMS)]
        answers = await asyncio.gather(*(send(client, part) for part in parts))

    statuses: Counter[int] = sum(answers, Counter())
    repeats = len(events) - facts["rows"]
    assert statuses == {RECORD_STATUS_ACCEPTED: facts["rows"], RECORD_STATUS_DUPLICATE: repeats}
    row = only_row(stack, "code", filter='resource_id = "gpt-4o"')
    assert int(row["events"]) == facts["rows"]
    assert row["unpricedEvents"] == "0"
    assert int(row["quantity"]) == facts["input_tokens"] + facts["output_tokens"]
    assert row["cost"]["currencyCode"] == "USD"
    assert Decimal(row["cost"]["amount"]) == Decimal(facts["cost_usd_gpt-4o"])


@pytest.mark.parametrize("book", PRICE_BOOKS)
async def test_each_price_book_gives_its_own_answer(stack: RunningStack, book: str) -> None:
    facts = expected(CODE_TRACE)
    path = shared_path("llm_usage", CODE_TRACE)
    tenant = f"book-{list(PRICE_BOOKS).index(book)}"

    async with stack.client(tenant) as client:
        await make_price_book(client)
        for meter, amount in zip(METERS, PRICE_BOOKS[book], strict=True):
            await set_price(client, "llm", meter, amount)
        await send(client, code_requests(path, model="our-model"))

    row = only_row(stack, tenant)
    assert row["unpricedEvents"] == "0"
    assert Decimal(row["cost"]["amount"]) == Decimal(facts[book])


async def test_failed_and_pending_requests_cost_nothing(stack: RunningStack) -> None:
    facts = expected(IMAGE_TRACE)
    path = shared_path("llm_usage", IMAGE_TRACE)

    async with stack.client("images") as client:
        await make_price_book(client)
        await set_price(client, "image_generation", "gpu_second", "1000000")
        await set_price(client, "image_generation", "image", "0")
    text = await asyncio.to_thread(
        stack.finops, "import", "llm-trace", path, "--tenant", "images", "--format", "json"
    )

    assert json.loads(text)["accepted"] == facts["rows"]
    billed = only_row(stack, "images")
    listed = only_row(stack, "images", cost_type="list")
    assert int(billed["events"]) == facts["rows"]
    assert int(billed["failedEvents"]) == facts["status"]["FAILED"]
    assert Decimal(billed["cost"]["amount"]) == Decimal(str(facts["gpu_seconds_succeeded"]))
    assert Decimal(listed["cost"]["amount"]) > Decimal(billed["cost"]["amount"])
