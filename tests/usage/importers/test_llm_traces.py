"""AI request traces: tokens, GPU seconds and outcomes are exact."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.kernel.money import add_exactly
from services.usage.domain.event import Outcome, UsageEvent
from services.usage.service.importers import ImportKind, ImportOptions, detect, open_import
from services.usage.service.importers.rows import MissingColumns, TraceStartRequired
from tests.support.shared import shared_path
from tests.usage.importers.reading import START, events, rejects

OPTIONS = ImportOptions(model="gpt-4o", start_at=START)


def expected(name: str) -> dict[str, Any]:
    totals: dict[str, Any] = json.loads(shared_path("llm_usage", name).read_text())
    return totals


def metered(items: Iterable[UsageEvent], meter: str) -> Decimal:
    return add_exactly(dict(item.components).get(meter, Decimal(0)) for item in items)


def test_azure_trace_gives_every_token_once() -> None:
    totals = expected("expected_azure_llm_2023_code.json")

    requests = events(shared_path("llm_usage", "azure_llm_2023_code.csv.gz"), options=OPTIONS)

    assert len(requests) == totals["rows"]
    assert metered(requests, "input_token") == totals["input_tokens"]
    assert metered(requests, "output_token") == totals["output_tokens"]
    assert add_exactly(item.quantity for item in requests) == (
        totals["input_tokens"] + totals["output_tokens"]
    )
    assert {item.attributes.resource_id for item in requests} == {"gpt-4o"}
    assert requests[0].attributes[:3] == ("llm", "token", "")
    assert all(item.cost is None for item in requests)


def test_azure_trace_keeps_instants_to_the_microsecond() -> None:
    totals = expected("expected_azure_llm_2023_code.json")

    requests = events(shared_path("llm_usage", "azure_llm_2023_code.csv.gz"))

    for at, text in ((requests[0].start_at, "first"), (requests[-1].start_at, "last")):
        assert f"{at:%Y-%m-%d %H:%M:%S.%f}" == totals[text][:-1]
    assert requests[0].end_at == requests[0].start_at


def test_mooncake_trace_gives_cached_tokens_and_counts_from_the_start() -> None:
    totals = expected("expected_mooncake_conversation_first_half.json")

    requests = events(
        shared_path("llm_usage", "mooncake_conversation_first_half.csv.gz"), options=OPTIONS
    )

    cached = metered(requests, "cached_input_token")
    assert len(requests) == totals["rows"]
    assert cached == totals["cached_input_tokens"]
    assert metered(requests, "input_token") + cached == totals["input_tokens"]
    assert metered(requests, "output_token") == totals["output_tokens"]
    assert requests[0].start_at == START
    assert timedelta(minutes=29) < requests[-1].start_at - START < timedelta(minutes=30)


def test_alibaba_trace_gives_outcomes_gpu_seconds_and_images() -> None:
    totals = expected("expected_alibaba_genai_requests_to_2024-11-30.json")

    requests = events(shared_path("llm_usage", "alibaba_genai_requests_to_2024-11-30.csv.gz"))
    succeeded = [item for item in requests if item.outcome is Outcome.SUCCEEDED]
    outcomes = Counter(item.outcome for item in requests)
    seconds: Counter[str] = Counter()
    for item in succeeded:
        seconds[item.attributes.project] += int(item.quantity)

    assert len(requests) == totals["rows"]
    assert outcomes[Outcome.SUCCEEDED] == totals["status"]["SUCCEED"]
    assert outcomes[Outcome.FAILED] == totals["status"]["FAILED"]
    assert outcomes[Outcome.PENDING] == totals["status"]["PENDING"]
    assert metered(succeeded, "gpu_second") == Decimal(str(totals["gpu_seconds_succeeded"]))
    assert metered(succeeded, "image") == Decimal(str(totals["images_succeeded"]))
    assert len({item.attributes.project for item in requests}) == totals["groups"]
    for group, total in totals["top10_groups_by_succeeded_gpu_seconds"].items():
        assert seconds[group] == total
    days = Counter(item.start_at.date().isoformat() for item in requests)
    assert days == totals["requests_by_day"]


def test_burstgpt_requests_without_tokens_failed() -> None:
    requests = events(shared_path("llm_usage", "burstgpt_1_first_rows.csv"), options=OPTIONS)

    failed = [item for item in requests if item.outcome is Outcome.FAILED]

    assert len(requests) == 103
    assert len(failed) == 5
    assert {item.quantity for item in failed} == {0}
    assert {item.attributes.resource_id for item in requests} == {"ChatGPT", "GPT-4"}
    assert requests[0].start_at == START + timedelta(seconds=5)
    assert requests[0].attributes.tags == (("log_type", "Conversation log"),)


@pytest.mark.parametrize(
    "header",
    [
        "timestamp_ms,input_tokens,output_tokens,prefix_blocks,prefix_blocks_seen_before",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    ],
)
def test_trace_whose_clock_starts_at_zero_needs_a_start(tmp_path: Path, header: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(header + "\n")

    with pytest.raises(TraceStartRequired, match="--start") as raised:
        open_import(ImportKind.LLM_TRACE, path, ImportOptions())

    assert raised.value.reason == "TRACE_START_REQUIRED"


def test_trace_of_another_shape_is_refused_with_the_columns_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens\n")

    with pytest.raises(MissingColumns, match="GeneratedTokens"):
        open_import(ImportKind.LLM_TRACE, path, ImportOptions())


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("2023-11-16 18:17:03,-1,2", "ContextTokens"),
        ("2023-11-16 18:17:03,1,2.5", "GeneratedTokens"),
        ("2023-11-16 18:17:03,1,", "GeneratedTokens"),
        ("2023-11-31 18:17:03,1,2", "TIMESTAMP"),
        ("18:17,1,2", "TIMESTAMP"),
        ("2023-11-16 18:17:03,99999999999999999999999,2", "ContextTokens"),
        ("2023-11-16 18:17:03,1", ""),
    ],
)
def test_bad_request_is_refused_with_its_line(tmp_path: Path, row: str, field: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,2\n{row}\n")

    (reject,) = rejects(path)

    assert (reject.row_number, reject.field) == (3, field)


def test_identical_requests_are_requests_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    row = "2023-11-16 18:17:03.1234567,1,2\n"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + 3 * row)

    first, second, third = events(path)

    assert second.event_id == f"{first.event_id}-2"
    assert third.event_id == f"{first.event_id}-3"
    assert first.start_at == datetime(2023, 11, 16, 18, 17, 3, 123456, tzinfo=UTC)


def test_alibaba_request_that_has_not_ended_may_lack_its_time(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    header = "gmt_create,predict_status,exec_time_seconds,groupId,num_images_per_prompt"
    path.write_text(
        f"{header}\n2024-11-15 16:57:50,PENDING,,G1,\n2024-11-15 16:57:50,SUCCEED,,G1,1.0\n"
        "2024-11-15 16:57:50,LOST,1.0,G1,1.0\n2024-11-15 16:57:50,SUCCEED,1.5,G1,2.0\n"
    )

    rejected = rejects(path)
    pending, done = (row.event for row in open_import(detect(path), path, OPTIONS) if len(row) == 2)

    assert [(item.row_number, item.field) for item in rejected] == [
        (3, "exec_time_seconds"),
        (4, "predict_status"),
    ]
    assert pending.components == (("gpu_second", Decimal(0)),)
    assert done.components == (("gpu_second", Decimal("1.5")), ("image", Decimal(2)))
    assert done.latency_ms == 1500
    assert done.attributes.resource_id == "gpt-4o"


def test_mooncake_prefix_never_exceeds_the_input(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "timestamp_ms,input_tokens,output_tokens,prefix_blocks,prefix_blocks_seen_before\n"
        "1500,700,10,2,2\n1501,700,10,2,1\n"
    )

    full, part = events(path, options=OPTIONS)

    assert full.start_at == START + timedelta(seconds=1.5)
    assert dict(full.components)["cached_input_token"] == 700
    assert dict(full.components)["input_token"] == 0
    assert dict(part.components)["cached_input_token"] == 512
