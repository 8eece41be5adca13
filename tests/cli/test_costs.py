"""`finops costs` asks one question and writes the answer in three forms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
import pytest
from finops.common.v1 import money_pb2
from finops.usage.v1 import cost_model_pb2

from tests.cli.conftest import USAGE, Refusal, Result, Suite

Finops = Callable[..., Result]
QUERY = f"{USAGE}/QueryCosts"


def row(department: str, amount: str) -> cost_model_pb2.CostRow:
    return cost_model_pb2.CostRow(
        group={"department": department, "tag:env": "prod"},
        cost=money_pb2.Money(currency_code="USD", amount=amount),
        quantity="12.5",
        unit="gb",
        events=3,
    )


def two_pages(request: cost_model_pb2.QueryCostsRequest) -> cost_model_pb2.QueryCostsResponse:
    total = cost_model_pb2.CostTotal(
        cost=money_pb2.Money(currency_code="USD", amount="3.000000000000000001"), events=6
    )
    if not request.page_token:
        return cost_model_pb2.QueryCostsResponse(
            rows=[row("research", "1.000000000000000001")], totals=[total], next_page_token="2"
        )
    return cost_model_pb2.QueryCostsResponse(rows=[row("", "2")], totals=[total])


def test_csv_has_one_column_a_group_key_and_every_digit(finops: Finops, suite: Suite) -> None:
    suite.answers[QUERY] = two_pages

    result = finops("costs", "-g", "department,tag:env", "--tenant", "acme", "--format", "csv")

    assert result.code == 0
    assert list(csv.reader(io.StringIO(result.out))) == [
        ["department", "tag:env", "currency_code", "amount", "quantity", "events"],
        ["research", "prod", "USD", "1.000000000000000001", "12.5", "3"],
        ["", "prod", "USD", "2", "12.5", "3"],
    ]


def test_json_is_the_whole_answer_with_the_rows_of_every_page(finops: Finops, suite: Suite) -> None:
    suite.answers[QUERY] = two_pages

    result = finops("costs", "-g", "department", "--tenant", "acme", "--format", "json")

    answer = json.loads(result.out)
    assert [row["cost"]["amount"] for row in answer["rows"]] == ["1.000000000000000001", "2"]
    assert answer["totals"][0]["cost"]["amount"] == "3.000000000000000001"


def test_the_table_shows_totals(finops: Finops, suite: Suite) -> None:
    suite.answers[QUERY] = two_pages

    result = finops("costs", "-g", "department", "--tenant", "acme")

    assert "research" in result.out
    assert "total 3.000000000000000001 USD, 6 events" in result.out


def test_a_limit_ends_paging(finops: Finops, suite: Suite) -> None:
    suite.answers[QUERY] = two_pages

    result = finops("costs", "-g", "department", "--limit", "1", "--tenant", "acme")

    assert result.code == 0
    assert len(suite.requests) == 1


def test_every_option_reaches_the_question(finops: Finops, suite: Suite, data_dir: Path) -> None:
    suite.answers[QUERY] = two_pages

    finops(
        *("costs", "--tenant", "acme", "-g", "user", "-g", "tag:env", "--start", "2026-01-01"),
        *("--end", "2026-02-01", "--granularity", "day", "--filter", 'region = "eu"'),
        *("--cost-type", "list", "--currency", "EUR", "--compare", "--allocated"),
        *("--order-by", "amount"),
    )

    asked = cast("cost_model_pb2.QueryCostsRequest", suite.requests[0])
    assert asked == cost_model_pb2.QueryCostsRequest(
        tenant_id="acme",
        group_by=["user", "tag:env"],
        start="2026-01-01",
        end="2026-02-01",
        granularity="day",
        filter='region = "eu"',
        cost_type="list",
        currency="EUR",
        compare_previous=True,
        allocated=True,
        order_by="amount",
        page_size=1000,
    )
    assert suite.claims(data_dir)["tenant"] == "acme"


@pytest.mark.parametrize(
    ("code", "exit_code", "text"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, 4, "finops token"),
        (grpc.StatusCode.PERMISSION_DENIED, 4, "error: no"),
        (grpc.StatusCode.INVALID_ARGUMENT, 2, "error: no"),
        (grpc.StatusCode.UNIMPLEMENTED, 1, "may be older"),
        (grpc.StatusCode.INTERNAL, 1, "error: no"),
        (grpc.StatusCode.NOT_FOUND, 1, "error: no"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(
    finops: Finops, suite: Suite, code: grpc.StatusCode, exit_code: int, text: str
) -> None:
    suite.answers[QUERY] = Refusal(code, "no")

    result = finops("costs", "--tenant", "acme")

    assert result.code == exit_code
    assert text in result.err
    assert result.out == ""
