"""Bodies, response bodies, field masks and raw bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import httpx
import pytest

from gateway.descriptors import Catalog
from gateway.masks import json_mask, paths_of

WHOLE: dict[str, Any] = {
    "name": "n",
    "displayName": "N",
    "count": -1,
    "bigCount": "-9223372036854775808",
    "hugeCount": "18446744073709551615",
    "ratio": 1.5,
    "weight": 0.5,
    "isActive": True,
    "blob": "AQI=",
    "color": "COLOR_RED",
    "createTime": "2026-01-02T03:04:05.123456789Z",
    "maxAge": "-1.500s",
    "readMask": "displayName,child.inner",
    "note": "",
    "limit": "0",
    "isHidden": False,
    "extra": {"a": None, "b": [1.0, "x", {"c": False}]},
    "anyValue": [1.0],
    "anyList": [None, "x"],
    "payload": {"@type": "type.googleapis.com/example.v1.Item", "sequence": "1", "text": "t"},
    "tags": ["a", ""],
    "colors": ["COLOR_BLUE"],
    "times": ["2026-01-02T03:04:05Z"],
    "numbers": [1, -1],
    "labels": {"k": "v", "": ""},
    "totals": {"-3": "4"},
    "child": {"id": "c", "size": 1, "inner": {"id": "d", "size": 0}},
    "children": [{"id": "e", "size": 2}],
    "rank": 0,
    "right": 0,
}


async def test_every_kind_of_field_goes_there_and_back(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/echo", json=WHOLE)

    assert answer.status_code == 200, answer.text
    assert answer.json() == WHOLE


async def test_fields_without_presence_are_always_there(client: httpx.AsyncClient) -> None:
    found = (await client.post("/v1/echo", json={})).json()

    assert found["name"] == ""
    assert found["bigCount"] == "0"
    assert found["color"] == "COLOR_UNSPECIFIED"
    assert found["tags"] == []
    assert found["labels"] == {}
    assert not {"rank", "createTime", "note", "child", "left", "right"} & set(found)


@pytest.mark.parametrize(
    ("document", "name", "value"),
    [
        ({"display_name": "x"}, "displayName", "x"),
        ({"count": "12"}, "count", 12),
        ({"count": 1e3}, "count", 1000),
        ({"big_count": 5}, "bigCount", "5"),
        ({"color": 2}, "color", "COLOR_BLUE"),
        ({"ratio": "-Infinity"}, "ratio", "-Infinity"),
        ({"count": None, "tags": None, "child": None}, "count", 0),
        ({"anyValue": None}, "anyValue", None),
    ],
)
async def test_other_spellings_of_json_are_read(
    client: httpx.AsyncClient, document: dict[str, Any], name: str, value: object
) -> None:
    assert (await client.post("/v1/echo", json=document)).json()[name] == value


async def test_an_empty_body_is_an_empty_message(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/echo")).status_code == 200
    assert "child" not in (await client.post("/v1/children/n")).json()


async def test_the_path_wins_over_the_body_even_with_a_zero_value(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put("/v1/echo/from-path", json={"name": "from-body", "count": 3})

    assert answer.json()["name"] == "from-path"
    assert answer.json()["count"] == 3


async def test_a_field_is_the_body_and_the_rest_comes_from_path_and_query(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/children/n?count=4&labels[a]=b", json={"id": "c", "size": 2})

    found = answer.json()
    assert (found["name"], found["count"], found["labels"]) == ("n", 4, {"a": "b"})
    assert found["child"] == {"id": "c", "size": 2}


async def test_the_body_cannot_reach_beside_its_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/children/n", content=b'{"id":"c"},"count":5,"x":{}')

    assert answer.status_code == 400


async def test_a_list_is_the_body_and_the_answer(client: httpx.AsyncClient) -> None:
    assert (await client.put("/v1/tags?name=n", json=["a", "b"])).json() == ["a", "b"]
    assert (await client.put("/v1/tags", json={})).status_code == 400


async def test_one_field_is_the_answer(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/child?child.id=x")).json() == {"id": "x", "size": 0}
    assert (await client.get("/v1/child")).json() is None


async def test_a_get_with_a_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.request("GET", "/v1/query", content=b"{}")

    assert answer.status_code == 400
    assert "takes no body" in answer.json()["error"]["message"]


async def test_an_empty_answer_is_an_empty_object(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/things/t")

    assert answer.status_code == 200
    assert answer.json() == {}


async def test_a_patch_without_a_mask_names_what_the_body_holds(
    client: httpx.AsyncClient,
) -> None:
    body: dict[str, Any] = {
        "name": "ignored",
        "display_name": "D",
        "child": {"size": 1, "inner": {"id": "x"}, "updateTime": "2026-01-02T03:04:05Z"},
        "labels": {"a": "b"},
        "tags": [],
        "note": None,
    }

    found = (await client.patch("/v1/things/t1", json=body)).json()

    assert found["thing"]["name"] == "things/t1"
    assert found["updateMask"] == "displayName,child,labels,tags,note"


async def test_a_mask_that_is_given_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/v1/things/t1?update_mask=display_name", json={"count": 1})

    assert answer.json()["updateMask"] == "displayName"


def test_a_mask_names_whole_fields(catalog: Catalog) -> None:
    thing = catalog.registry.message("example.v1.Thing")
    assert thing is not None

    document = {"children": [{"id": "x"}], "child": {"size": 1}, "nope": 1}
    paths = paths_of(thing, document, catalog.registry)

    assert paths == ["children", "child"]
    assert json_mask(["display_name", "child.inner"]) == "displayName,child.inner"


async def test_bytes_are_uploaded_as_they_are(client: httpx.AsyncClient) -> None:
    content = bytes(range(256)) * 1000

    answer = await client.post(
        "/v1/files:upload?file_name=a.bin&offset=7",
        content=content,
        headers={"content-type": "application/x-thing"},
    )

    assert answer.json() == {
        "fileName": "a.bin",
        "offset": "7",
        "size": str(len(content)),
        "contentType": "application/x-thing",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


async def test_bytes_are_downloaded_as_they_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/downloads/x")

    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.content == b"name\nx\n"


async def test_bytes_in_parts_become_one_body(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/downloads/x:parts")

    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.content == b"one,two"


async def test_a_gzip_body_is_read(client: httpx.AsyncClient) -> None:
    body = gzip.compress(json.dumps({"name": "zipped"}).encode())

    answer = await client.post("/v1/echo", content=body, headers={"content-encoding": "gzip"})

    assert answer.json()["name"] == "zipped"
