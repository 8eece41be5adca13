"""A call becomes the HTTP request that the contracts describe."""

from __future__ import annotations

import json
from typing import cast

import pytest
from finops.usage.v1 import (
    api_key_service_pb2,
    cost_model_pb2,
    directory_service_pb2,
    pricing_service_pb2,
    usage_service_pb2,
)
from finops_sdk.methods import method_at
from finops_sdk.rest_mapping import from_http, to_http
from google.api import httpbody_pb2
from google.protobuf import timestamp_pb2

USAGE = "/finops.usage.v1.UsageService"


def test_a_read_puts_every_field_into_the_query() -> None:
    request = cost_model_pb2.QueryCostsRequest(
        group_by=["department", "tag:env"], start="2026-01-01", allocated=True, page_size=7
    )

    http = to_http(method_at(f"{USAGE}/QueryCosts"), request)

    assert (http.verb, http.path) == ("GET", "/api/v1/finops/cost-attribution")
    assert http.query.multi_items() == [
        ("group_by", "department"),
        ("group_by", "tag:env"),
        ("start", "2026-01-01"),
        ("allocated", "true"),
        ("page_size", "7"),
    ]
    assert http.body is None


def test_path_variables_are_encoded_and_leave_the_query() -> None:
    request = usage_service_pb2.GetUsageEventRequest(source="a/b c", event_id="x/y?z")

    http = to_http(method_at(f"{USAGE}/GetUsageEvent"), request)

    assert http.path == "/api/v1/finops/usage/a%2Fb%20c/x/y%3Fz"
    assert http.query.multi_items() == []


def test_a_body_field_carries_its_message_and_the_rest_is_query() -> None:
    request = pricing_service_pb2.CreatePriceRequest(request_id="r1")
    request.price.price_book_id = "list"

    http = to_http(method_at("/finops.usage.v1.PricingService/CreatePrice"), request)

    assert json.loads(http.body or b"") == {"price_book_id": "list"}
    assert http.query.multi_items() == [("request_id", "r1")]


def test_a_file_is_sent_as_its_own_bytes() -> None:
    request = usage_service_pb2.ImportUsageRequest(
        kind="focus", start_time=timestamp_pb2.Timestamp(seconds=0)
    )
    request.content.CopyFrom(httpbody_pb2.HttpBody(content_type="text/csv", data=b"a,b\n"))

    http = to_http(method_at(f"{USAGE}/ImportUsage"), request)

    assert (http.body, http.content_type) == (b"a,b\n", "text/csv")
    assert dict(http.query) == {"kind": "focus", "start_time": "1970-01-01T00:00:00Z"}


def test_an_answer_with_fields_of_a_later_version_is_read() -> None:
    body = b'{"rows": [{"cost": {"amount": "1.50"}, "later": 1}], "nextPageToken": "t"}'

    answer = from_http(method_at(f"{USAGE}/QueryCosts"), "application/json", body)

    read = cast("cost_model_pb2.QueryCostsResponse", answer)
    assert read.rows[0].cost.amount == "1.50"
    assert read.next_page_token == "t"


def test_a_method_without_a_route_says_so() -> None:
    request = api_key_service_pb2.LookUpApiKeyRequest()

    with pytest.raises(ValueError, match="not served over REST"):
        to_http(method_at("/finops.usage.v1.ApiKeyService/LookUpApiKey"), request)


@pytest.mark.parametrize(
    ("path", "is_repeatable"),
    [
        (f"{USAGE}/RecordUsage", True),
        (f"{USAGE}/QueryCosts", True),
        ("/finops.usage.v1.PricingService/CreatePrice", True),
        ("/finops.usage.v1.ApiKeyService/CreateApiKey", False),
    ],
)
def test_only_what_may_happen_twice_is_repeated(path: str, *, is_repeatable: bool) -> None:
    assert directory_service_pb2.DESCRIPTOR is not None
    assert method_at(path).is_repeatable is is_repeatable
