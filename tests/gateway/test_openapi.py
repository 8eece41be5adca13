"""The OpenAPI document: complete, valid, and true in every part."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest

from gateway.descriptors import Catalog, packaged_image
from gateway.openapi import openapi_document
from gateway.rules import years_pattern

Json = dict[str, Any]


@pytest.fixture(scope="session")
def document(catalog: Catalog) -> Json:
    found: Json = json.loads(openapi_document(catalog))
    return found


def operation(document: Json, path: str, verb: str) -> Json:
    found: Json = document["paths"][path][verb]
    return found


def schema(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


def test_every_binding_is_an_operation(document: Json, catalog: Catalog) -> None:
    operations = [o for path in document["paths"].values() for o in path.values()]

    assert len(operations) == sum(len(method.bindings) for method in catalog.methods)
    ids = [each["operationId"] for each in operations]
    assert len(set(ids)) == len(ids)


def test_comments_become_descriptions(document: Json) -> None:
    order = operation(document, "/v1/orders", "post")

    assert order["summary"] == "Records orders."
    assert order["tags"] == ["StrictService"]
    assert {"name": "StrictService", "description": "Takes only what its rules allow."} in (
        document["tags"]
    )
    assert schema(document, "OrderInput")["description"] == "An order with rules on every field."


def test_rules_become_constraints(document: Json) -> None:
    fields = schema(document, "OrderInput")["properties"]

    assert fields["orderId"]["maxLength"] == 40
    assert fields["orderId"]["examples"] == ["order-1"]
    assert fields["kind"]["enum"] == ["ORDER_KIND_BUY", "ORDER_KIND_SELL", 1, 2]
    assert fields["amount"]["pattern"] == "^[0-9]{1,20}(\\.[0-9]{1,18})?$"
    assert (fields["pieces"]["minimum"], fields["pieces"]["maximum"]) == (0, 1000)
    assert fields["sizeBytes"]["maximum"] == 2**40
    assert fields["tags"]["uniqueItems"] is True
    assert fields["labels"]["maxProperties"] == 8
    assert fields["labels"]["propertyNames"] == {"minLength": 1, "maxLength": 20}
    assert fields["side"]["enum"] == ["", "left", "right", None]
    assert schema(document, "OrderInput")["required"] == ["orderId", "kind", "amount"]
    assert schema(document, "OrderInput")["additionalProperties"] is False


def test_answers_are_not_constrained_and_say_what_is_always_there(document: Json) -> None:
    order = schema(document, "Order")

    assert order["properties"]["sizeBytes"]["type"] == "string"
    assert "maxLength" not in order["properties"]["orderId"]
    assert "share" not in order["required"]
    assert {"orderId", "tags", "labels"} <= set(order["required"])


def test_parameters_are_in_path_query_and_headers(document: Json) -> None:
    listed = {p["name"]: p for p in operation(document, "/v1/orders", "get")["parameters"]}
    thing = operation(document, "/v1/projects/{name_1}/things/{name_2}", "get")
    stream = {p["name"]: p for p in operation(document, "/v1/items:watch", "get")["parameters"]}

    assert listed["pageSize"]["schema"]["maximum"] == 1000
    assert listed["kinds"]["explode"] is True
    assert "If-None-Match" in listed
    assert [p["name"] for p in thing["parameters"] if p["in"] == "path"] == ["name_1", "name_2"]
    assert "child.inner.id" in {p["name"] for p in thing["parameters"]}
    assert "Last-Event-ID" in stream
    assert "Idempotency-Key" in {
        p["name"] for p in operation(document, "/v1/orders", "post")["parameters"]
    }


def test_bodies_are_json_lines_or_bytes(document: Json) -> None:
    def kinds(path: str) -> list[str]:
        return list(operation(document, path, "post")["requestBody"]["content"])

    assert kinds("/v1/orders") == ["application/json"]
    assert kinds("/v1/items:chat") == ["application/json", "application/x-ndjson"]
    assert kinds("/v1/files:upload") == ["application/octet-stream"]


def test_what_the_path_gives_is_not_asked_of_the_body(document: Json) -> None:
    body = operation(document, "/v1/orders/{order_id}", "put")["requestBody"]

    found = body["content"]["application/json"]["schema"]
    assert found["required"] == ["kind", "amount"]
    assert schema(document, "OrderInput")["required"] == ["orderId", "kind", "amount"]


def test_failures_and_security_are_documented(document: Json) -> None:
    order = operation(document, "/v1/orders", "get")

    assert {"200", "304", "400", "401", "403", "404", "405", "413", "415", "429", "503"} <= set(
        order["responses"]
    )
    assert document["security"] == [{"bearer": []}]
    assert operation(document, "/v1/metadata", "get")["security"] == []


async def test_only_what_is_served_is_shown(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    again = await client.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})

    assert "/v1/orders" in answer.json()["paths"]
    assert "/v1/absent" not in answer.json()["paths"]
    assert again.status_code == 304


@pytest.mark.parametrize("which", ["example", "packaged"])
def test_every_schema_is_valid_and_every_reference_leads_somewhere(
    catalog: Catalog, which: str
) -> None:
    found = catalog if which == "example" else Catalog(packaged_image())
    text = openapi_document(found).decode()
    document = json.loads(text)

    for name in set(re.findall(r'"#/components/(\w+/[^"]+)"', text)):
        kind, _, key = name.partition("/")
        assert key in document["components"][kind]
    for name, each in document["components"]["schemas"].items():
        whole = {**each, "components": document["components"]}
        assert jsonschema_rs.Draft202012Validator(whole), name
    assert document["openapi"] == "3.1.0"
    assert all(o.get("summary") for p in document["paths"].values() for o in p.values())


@pytest.mark.parametrize(("first", "last"), [(1000, 9999), (1971, 2199), (2000, 2000), (8, 8)])
def test_years_are_matched_exactly(first: int, last: int) -> None:
    pattern = re.compile(years_pattern(first, last))

    matched = [year for year in range(10_000) if pattern.fullmatch(f"{year:04d}")]
    assert matched == list(range(first, last + 1))
