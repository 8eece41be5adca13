"""Caching and failures of real traces, priced exactly."""

from __future__ import annotations

import json
from decimal import Decimal

from services.optimizer.domain.caching import PrefixRequest, TokenPrices, prefix_saving
from services.optimizer.domain.failure import failure_cost
from services.optimizer.domain.statistics import AttemptGroup
from tests.optimizer.domain.real import rows
from tests.support.shared import shared_path

BLOCK = 512
PRICES = TokenPrices(Decimal("0.0000025"), Decimal("0.00000125"), Decimal("0.00001"))
GPU_SECOND = Decimal("0.000611111111111111")


def test_prefix_caching_saves_the_difference_of_two_exact_pricings() -> None:
    trace = shared_path("llm_usage", "mooncake_conversation_first_half.csv.gz")
    expected = json.loads(
        shared_path("llm_usage", "expected_mooncake_conversation_first_half.json").read_text()
    )

    found = prefix_saving(
        [
            PrefixRequest(
                int(row["input_tokens"]),
                int(row["prefix_blocks_seen_before"]) * BLOCK,
                int(row["output_tokens"]),
            )
            for row in rows(trace)
        ],
        PRICES,
    )

    full = Decimal(expected["cost_usd_gpt-4o_no_cache_price"])
    cached = Decimal(expected["cost_usd_gpt-4o_with_cache_price"])
    print(f"{full} - {cached} = {found.saving} USD for {found.repeated_tokens} tokens")  # noqa: T201
    assert (found.cost, found.cached_cost, found.saving) == (full, cached, full - cached)
    assert found.repeated_tokens == expected["cached_input_tokens"]


def test_failed_requests_give_their_exact_cost() -> None:
    trace = shared_path("llm_usage", "alibaba_genai_requests_to_2024-11-30.csv.gz")
    failed = [row for row in rows(trace) if row["predict_status"] == "FAILED"]
    seconds = sum((Decimal(row["exec_time_seconds"]) for row in failed), Decimal(0))

    found = failure_cost(
        [
            AttemptGroup(
                series_id=1,
                error_code="FAILED",
                is_failed=True,
                retries=0,
                hour=hour % 400,
                operations=1,
                cost=Decimal(row["exec_time_seconds"]) * GPU_SECOND,
            )
            for hour, row in enumerate(failed)
        ],
        hour_count=400,
    )

    print(f"{len(failed)} failed requests, {seconds} GPU seconds, {found.failed_cost} USD")  # noqa: T201
    assert len(failed) == found.failed_count == 233
    assert found.failed_cost == seconds * GPU_SECOND
