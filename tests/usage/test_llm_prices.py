"""Public prices of language models are applied as their catalogues mean them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from services.usage.domain.event import Attributes
from services.usage.domain.price_index import PriceIndex
from services.usage.domain.rate_plan import RatePlan
from services.usage.service.llm_prices import genai, litellm
from services.usage.service.llm_prices.catalogue import Catalogue, CatalogueBook
from services.usage.service.llm_prices.litellm import InvalidCatalogue
from tests.support.shared import shared_path

RECORDED = datetime(2026, 11, 1, tzinfo=UTC)
BOOK = CatalogueBook("book", RECORDED)
METERS = ("input_token", "cached_input_token", "output_token")
LITELLM = "litellm_{}_model_prices.json.gz"


@cache
def public() -> PriceIndex:
    catalogue = genai.load(RECORDED)
    return PriceIndex(catalogue.prices, catalogue.schedules.values())


def index(catalogue: Catalogue) -> PriceIndex:
    return PriceIndex(catalogue.prices, catalogue.schedules.values())


def plan(
    prices: PriceIndex,
    model: str,
    *,
    at: datetime = RECORDED,
    provider: str = "",
    meters: Sequence[str] = METERS,
) -> RatePlan:
    attributes = Attributes("llm", "token", "", resource_id=model, provider=provider)
    return prices.plan(attributes, meters, at)


def cost(prices: PriceIndex, model: str, *tokens: int, **of: Any) -> Decimal:
    return plan(prices, model, **of).cost([Decimal(count) for count in tokens])


def snapshot(version: str) -> PriceIndex:
    path = shared_path("llm_prices", LITELLM.format(version))
    return index(litellm.load(path.read_bytes(), BOOK))


def rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(shared_path("llm_usage", name), "rt") as lines:
        yield from csv.DictReader(lines)


@pytest.mark.parametrize(
    ("version", "model", "key"),
    [
        ("1.109.1", "gpt-4", "cost_usd_gpt-4"),
        ("1.109.1", "gpt-4o", "cost_usd_gpt-4o"),
        ("1.109.1", "gpt-4o-mini", "cost_usd_gpt-4o-mini"),
        ("1.109.1", "gpt-3.5-turbo", "cost_usd_gpt-3.5-turbo"),
        ("1.72.0", "gpt-3.5-turbo", "cost_usd_gpt-3.5-turbo_old_book_1.72.0"),
        # These three did not change between the two snapshots.
        ("1.72.0", "gpt-4", "cost_usd_gpt-4"),
        ("1.72.0", "gpt-4o", "cost_usd_gpt-4o"),
        ("1.72.0", "gpt-4o-mini", "cost_usd_gpt-4o-mini"),
    ],
)
def test_a_real_trace_costs_what_the_snapshot_says(version: str, model: str, key: str) -> None:
    expected = json.loads(shared_path("llm_usage", "expected_azure_llm_2023_code.json").read_text())
    priced = plan(snapshot(version), model, meters=("input_token", "output_token"))

    total = sum(
        (
            priced.cost((Decimal(row["ContextTokens"]), Decimal(row["GeneratedTokens"])))
            for row in rows("azure_llm_2023_code.csv.gz")
        ),
        Decimal(0),
    )

    assert total == Decimal(expected[key])


def test_cached_tokens_have_their_own_price() -> None:
    """langfuse/langfuse#4590, #14249, #7478: cached tokens were priced as others."""
    expected = json.loads(
        shared_path("llm_usage", "expected_mooncake_conversation_first_half.json").read_text()
    )
    priced = plan(snapshot("1.109.1"), "gpt-4o")

    with_cache, without = Decimal(0), Decimal(0)
    for row in rows("mooncake_conversation_first_half.csv.gz"):
        tokens, output = int(row["input_tokens"]), Decimal(row["output_tokens"])
        cached = min(int(row["prefix_blocks_seen_before"]) * 512, tokens)
        with_cache += priced.cost((Decimal(tokens - cached), Decimal(cached), output))
        without += priced.cost((Decimal(tokens), Decimal(0), output))

    assert with_cache == Decimal(expected["cost_usd_gpt-4o_with_cache_price"])
    assert without == Decimal(expected["cost_usd_gpt-4o_no_cache_price"])


def test_two_snapshots_in_one_book_hold_one_after_the_other() -> None:
    """BerriAI/litellm#38730: a stale price map told a fifth of the spend, or five times it."""
    change = datetime(2025, 9, 1, tzinfo=UTC)
    paths = [
        shared_path("llm_prices", LITELLM.format(version)) for version in ("1.72.0", "1.109.1")
    ]
    old = litellm.load(paths[0].read_bytes(), BOOK, end_at=change)
    new = litellm.load(paths[1].read_bytes(), BOOK, start_at=change)

    both = PriceIndex(
        [*old.prices, *new.prices], [*old.schedules.values(), *new.schedules.values()]
    )

    before = datetime(2025, 8, 31, 23, 59, 59, tzinfo=UTC)
    assert cost(both, "gpt-3.5-turbo", 1_000_000, 0, 0, at=before) == Decimal("1.5")
    assert cost(both, "gpt-3.5-turbo", 1_000_000, 0, 0, at=change) == Decimal("0.5")


CATALOGUE = b"""{
  "sample_spec": {"input_cost_per_token": 1},
  "plain": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05},
  "long": {"input_cost_per_token": 1e-06, "input_cost_per_token_above_128k_tokens": 2e-06,
           "output_cost_per_token": 3e-06, "output_cost_per_token_above_128k_tokens": 4e-06},
  "steps": {"tiered_pricing": [{"range": [0, 1000.0], "input_cost_per_token": 1e-06},
                               {"range": [1000.0, 9000], "input_cost_per_token": 2e-06}]},
  "hours": {"input_cost_per_token": 3e-07, "off_peak_pricing": {"input_cost_per_token": 1.5e-07,
            "windows": [{"hours_utc": ["00:00-01:00", "22:00-00:00"], "weekdays": [1]},
                        {"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]}},
  "image": {"output_cost_per_image": 0.04},
  "sizes": {"output_cost_per_pixel": 1e-08},
  "odd": "text",
  "a/*/b": {"input_cost_per_token": 1e-06}
}"""


def test_entries_without_a_known_meter_are_named() -> None:
    catalogue = litellm.load(CATALOGUE, BOOK)

    assert catalogue.skipped == [
        "sizes: no price for a known meter",
        "odd: no price for a known meter",
    ]


def test_a_model_without_a_cache_price_charges_cached_tokens_like_others() -> None:
    prices = index(litellm.load(gzip.compress(CATALOGUE), BOOK))

    assert cost(prices, "plain", 1, 1, 0) == Decimal("0.000005")
    assert plan(prices, "plain", meters=("cache_write_token",)).is_unpriced


def test_a_long_prompt_moves_the_whole_call_to_the_next_tier() -> None:
    prices = index(litellm.load(CATALOGUE, BOOK))

    assert cost(prices, "long", 100_000, 28_000, 1_000) == Decimal("0.131")
    assert cost(prices, "long", 100_000, 28_001, 1_000) == Decimal("0.260002")
    assert cost(prices, "steps", 1_000, 1, 0) == Decimal("0.002002")


def test_cheaper_hours_of_the_week_are_applied() -> None:
    prices = index(litellm.load(CATALOGUE, BOOK))
    monday = datetime(2026, 11, 2, tzinfo=UTC)

    by_hour = [
        cost(prices, "hours", 1_000_000, 0, 0, at=monday.replace(hour=hour)) for hour in (0, 1, 22)
    ]

    assert by_hour == [Decimal("0.15"), Decimal("0.3"), Decimal("0.15")]
    assert cost(prices, "hours", 1_000_000, 0, 0, at=monday.replace(day=7)) == Decimal("0.15")


def test_a_star_in_a_name_is_itself() -> None:
    prices = index(litellm.load(CATALOGUE, BOOK))

    assert not plan(prices, "a/*/b", meters=("input_token",)).is_unpriced
    assert plan(prices, "a/c/b", meters=("input_token",)).is_unpriced


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"[" * 100_000, b"\x1f\x8b garbage", gzip.compress(b" " * 2**27)]
)
def test_what_is_no_catalogue_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidCatalogue) as refusal:
        litellm.load(content, BOOK)

    assert refusal.value.reason == "INVALID_CATALOGUE"


@pytest.mark.parametrize(
    ("model", "provider", "at", "expected"),
    [
        ("gpt-4o", "", (2026, 10, 15), "0.0075"),
        ("GPT-4o-2024-08-06", "openai", (2026, 10, 15), "0.0075"),
        ("gpt-4o", "azure", (2026, 10, 15), "0.0075"),
        ("claude-3-5-sonnet-20241022", "anthropic", (2026, 10, 15), "0.0105"),
        ("deepseek-reasoner", "deepseek", (2026, 10, 15, 8), "0.001645"),
        ("deepseek-reasoner", "deepseek", (2026, 10, 15, 20), "0.00041"),
        ("deepseek-r1:free", "openrouter", (2026, 10, 15), "0"),
    ],
)
def test_a_model_is_found_by_every_name_and_hour(
    model: str, provider: str, at: tuple[int, int, int], expected: str
) -> None:
    instant = datetime(*at, tzinfo=UTC)

    assert cost(public(), model, 1_000, 0, 500, at=instant, provider=provider) == Decimal(expected)


def test_an_unknown_model_has_no_price() -> None:
    assert plan(public(), "no-such-model").is_unpriced


def test_providers_are_known_by_their_other_names() -> None:
    named = [
        genai.canonical_provider(text) for text in ("gcp.vertex_ai", "aws.bedrock", "mine", "")
    ]

    assert named == ["google", "aws", "mine", ""]


@pytest.mark.parametrize("at", [(2026, 10, 15, 2), (2025, 3, 3, 20)])
def test_every_model_costs_what_the_package_computes(at: tuple[int, int, int]) -> None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 -- 13 MB that others do not need
    from genai_prices.data import providers  # noqa: PLC0415

    instant = datetime(*at, tzinfo=UTC)
    compared = 0
    for provider in providers:
        for model in provider.models:
            found = provider.find_model(model.id)
            prices = found.get_prices(instant) if found is not None else None
            if prices is None or prices.input_mtok is None or prices.output_mtok is None:
                continue
            meters = (*METERS, "request")
            priced = plan(public(), model.id, at=instant, provider=provider.id, meters=meters)
            for total, cached, output in ((1_000, 300, 500), (300_000, 100_000, 4_000)):
                usage = Usage(input_tokens=total, cache_read_tokens=cached, output_tokens=output)
                expected = calc_price(
                    usage, model.id, provider_id=provider.id, genai_request_timestamp=instant
                )
                tokens = [Decimal(count) for count in (total - cached, cached, output, 1)]
                ours = priced.cost(tokens)
                compared += 1
                assert ours == round(expected.total_price, 18), (provider.id, model.id)

    assert compared > 3_000
