"""Query parameters into every kind of field, as grpc-gateway reads them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.errors import MalformedPath
from gateway.query import PARAMETERS_MAX, parse_query

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("displayName=x", "displayName", "x"),
        ("display_name=x", "displayName", "x"),
        ("display_name=a%20b%2Bc+d", "displayName", "a b+c d"),
        ("count=-7", "count", -7),
        ("big_count=9223372036854775807", "bigCount", "9223372036854775807"),
        ("hugeCount=18446744073709551615", "hugeCount", "18446744073709551615"),
        ("ratio=0.25", "ratio", 0.25),
        ("ratio=NaN", "ratio", "NaN"),
        ("weight=1.5", "weight", 1.5),
        ("is_active=true", "isActive", True),
        ("blob=AQI=", "blob", "AQI="),
        ("blob=-_8", "blob", "+/8="),
        ("color=COLOR_BLUE", "color", "COLOR_BLUE"),
        ("color=2", "color", "COLOR_BLUE"),
        ("create_time=2026-01-02T03:04:05.5%2B01:00", "createTime", "2026-01-02T02:04:05.500Z"),
        ("max_age=1.5s", "maxAge", "1.500s"),
        ("read_mask=display_name,child.inner", "readMask", "displayName,child.inner"),
        ("readMask=displayName", "readMask", "displayName"),
        ("note=hi", "note", "hi"),
        ("limit=5", "limit", "5"),
        ("is_hidden=false", "isHidden", False),
        ('extra={"a":[1]}', "extra", {"a": [1.0]}),
        ("any_value=5", "anyValue", 5.0),
        ("any_value=plain", "anyValue", "plain"),
        ("any_list=[1,true]", "anyList", [1.0, True]),
        ("tags=a&tags=b,c", "tags", ["a", "b,c"]),
        ("colors=COLOR_RED&colors=2", "colors", ["COLOR_RED", "COLOR_BLUE"]),
        ("times=2026-01-02T03:04:05Z", "times", ["2026-01-02T03:04:05Z"]),
        ("numbers=1&numbers=2", "numbers", [1, 2]),
        ("labels[a]=1&labels[b.c]=2", "labels", {"a": "1", "b.c": "2"}),
        ("labels%5Ba%5D=1", "labels", {"a": "1"}),
        ("totals[3]=4", "totals", {"3": "4"}),
        ("rank=0", "rank", 0),
        ("left=x", "left", "x"),
    ],
)
async def test_a_parameter_becomes_the_field(
    client: httpx.AsyncClient, query: str, name: str, value: object
) -> None:
    answer = await client.get(f"/v1/query?{query}")

    assert answer.status_code == 200, answer.text
    assert answer.json()[name] == value


async def test_nested_fields_are_given_by_dotted_paths(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/query?child.id=a&child.inner.id=b&child.inner.inner.size=3")

    child = answer.json()["child"]
    assert child["id"] == "a"
    assert child["inner"]["id"] == "b"
    assert child["inner"]["inner"]["size"] == 3


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nope=1", "nope"),
        ("child.nope=1", "child.nope"),
        ("displayName.x=1", "displayName.x"),
        ("count.x=1", "count.x"),
        ("create_time.seconds=1", "create_time.seconds"),
    ],
)
async def test_an_unknown_parameter_is_named(
    client: httpx.AsyncClient, query: str, named: str
) -> None:
    answer = await client.get(f"/v1/query?{query}")

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["reason"] == "UNKNOWN_PARAMETER"
    assert named in error["message"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("count=x", "count"),
        ("count=2147483648", "count"),
        ("count=1&count=2", "count"),
        ("huge_count=-1", "huge_count"),
        ("ratio=1e999", "ratio"),
        ("is_active=yes", "is_active"),
        ("is_active=", "is_active"),
        ("color=COLOR_GREEN", "color"),
        ("create_time=2026-01-02", "create_time"),
        ("create_time=2026-02-30T00:00:00Z", "create_time"),
        ("max_age=5", "max_age"),
        ("read_mask=a..b", "read_mask"),
        ("read_mask=a,%C2%84", "read_mask"),
        ("blob=*", "blob"),
        ("extra=[1]", "extra"),
        ("extra={", "extra"),
        ("child=x", "child"),
        ("children=x", "children"),
        ("payload=x", "payload"),
        ("labels=x", "labels"),
        ("tags[a]=x", "tags"),
        ("left=a&right=1", "right"),
        ("numbers=1&numbers=x", "numbers[1]"),
        ("child.size=x", "child.size"),
    ],
)
async def test_a_value_that_does_not_fit_names_the_field(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await client.get(f"/v1/query?{query}")

    assert answer.status_code == 400, answer.text
    details = {each["@type"].rpartition(".")[2]: each for each in answer.json()["error"]["details"]}
    assert details["BadRequest"]["fieldViolations"][0]["field"] == field


async def test_what_the_path_gives_is_no_parameter(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/query/7/COLOR_RED?count=8")

    assert answer.status_code == 400
    assert "'count' is given by the path" in answer.json()["error"]["message"]


async def test_a_whole_body_leaves_no_parameters(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/echo?count=8", json={})

    assert answer.status_code == 400
    assert "given by the path or the body" in answer.json()["error"]["message"]


@pytest.mark.parametrize("query", [b"name=%ff", b"name=%C3", b"&".join([b"a=1"] * 2000)])
def test_a_query_that_cannot_be_read_is_malformed(query: bytes) -> None:
    with pytest.raises(MalformedPath):
        parse_query(query)

    assert PARAMETERS_MAX < 2000
