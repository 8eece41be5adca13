"""Every wrong request gets a clear 4xx, and no call reaches the service."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.bodies import lines
from gateway.documents import check_depth, json_depth
from gateway.errors import BodyTooLarge, MalformedBody
from tests.gateway.example_server import ExampleServer


def deep(opening: str, closing: str, levels: int) -> bytes:
    return f'{{"extra":{{"a":{opening * levels}1{closing * levels}}}}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        random.Random(1).randbytes(10_000),
        b"\xff\xfe{}",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{} {}",
        b'{"name":"a",}',
        b"{'name':'a'}",
        b'{"name":"\xff"}',
        b'{"name":"\\ud800"}',
        b'{"name":"a\x00"}',
        b'{"ratio":NaN}',
        b'{"ratio":1e999}',
        b'{"count":123456789012345678901234567890}',
        b'{"bigCount":"9223372036854775808"}',
        b'{"count":1.5}',
        b'{"count":true}',
        b'{"name":5}',
        b'{"isActive":"true"}',
        b'{"color":"COLOR_GREEN"}',
        b'{"color":2147483648}',
        b'{"createTime":"yesterday"}',
        b'{"tags":"a"}',
        b'{"tags":[null]}',
        b'{"labels":[]}',
        b'{"child":[]}',
        b'{"payload":{"@type":"type.googleapis.com/none.Such"}}',
        b'{"nope":1}',
        b'{"left":"a","right":1}',
        b"[" * 100_000,
        b'{"extra":' * 100_000,
        deep("[", "]", 70),
        deep('{"b":', "}", 70),
        b'{"count":' + b"9" * 100_000 + b"}",
    ],
    ids=lambda body: body[:24].decode("ascii", "backslashreplace"),
)
async def test_a_wrong_body_is_refused(
    client: httpx.AsyncClient, example: ExampleServer, body: bytes
) -> None:
    example.calls.clear()

    answer = await client.post(
        "/v1/echo", content=body, headers={"content-type": "application/json"}
    )

    error = answer.json()["error"]
    assert answer.status_code == error["code"] == 400
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["reason"] in ("MALFORMED_BODY", "FIELD_VIOLATIONS")
    assert len(error["message"]) < 600
    assert example.calls == []


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"child": {"inner": {"nope": 1}}}, "child.inner.nope"),
        ({"children": [{}, {"size": "x"}]}, "children[1].size"),
        ({"totals": {"x": 1}}, 'totals["x"]'),
        ({"labels": {"a": 1}}, 'labels["a"]'),
        ({"createTime": "2026-13-01T00:00:00Z"}, "create_time"),
        ({"times": ["2026-01-01T00:00:00Z", "x"]}, "times[1]"),
        ({"name": {}}, "name"),
    ],
)
async def test_the_wrong_field_is_named(
    client: httpx.AsyncClient, document: dict[str, object], field: str
) -> None:
    answer = await client.post("/v1/echo", json=document)

    bad_request = answer.json()["error"]["details"][1]
    assert bad_request["fieldViolations"][0]["field"] == field
    assert "<class" not in bad_request["fieldViolations"][0]["description"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "deflate"},
    ],
)
async def test_another_content_type_is_unsupported(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/v1/echo", content=b"{}", headers=headers)

    assert answer.status_code == 415
    assert answer.json()["error"]["details"][0]["reason"] == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_method_that_the_path_does_not_take(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/echo")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["details"][0]["reason"] == "METHOD_NOT_ALLOWED"


async def test_options_lists_the_methods(client: httpx.AsyncClient) -> None:
    answer = await client.options("/v1/query")

    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_head_answers_as_get_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v1/query")

    assert answer.status_code == 200
    assert answer.content == b""
    assert "etag" in answer.headers


async def test_json_over_its_limit_is_too_large(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/echo", json={"name": "x" * (1 << 20)})

    assert answer.status_code == 413
    assert answer.json()["error"]["details"][0]["reason"] == "BODY_TOO_LARGE"


async def test_an_upload_of_unknown_length_is_too_large(client: httpx.AsyncClient) -> None:
    async def endless() -> object:
        for _ in range(50):
            yield b"x" * 100_000

    answer = await client.post("/v1/files:upload", content=endless())  # type: ignore[arg-type]

    assert answer.status_code == 413


async def test_a_small_bomb_stays_small(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b"0" * (64 << 20))

    answer = await client.post("/v1/echo", content=bomb, headers={"content-encoding": "gzip"})

    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"{}", mtime=0)[:-4]])
async def test_a_broken_gzip_body_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/echo", content=body, headers={"content-encoding": "gzip"})

    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["reason"] == "MALFORMED_BODY"


async def test_a_long_target_and_large_headers_are_refused(client: httpx.AsyncClient) -> None:
    target = await client.get("/v1/query?name=" + "x" * 30_000)
    header = await client.get("/v1/query", headers={"x-large": "x" * 65_536})

    assert target.status_code == 414
    assert target.json()["error"]["details"][0]["reason"] == "TARGET_TOO_LONG"
    assert header.status_code == 431
    assert header.json()["error"]["details"][0]["reason"] == "HEADERS_TOO_LARGE"


async def test_a_caller_who_expects_100_is_told_before_it_sends(address: str) -> None:
    host = urlsplit(address)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(
        b"POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n"
        b"expect: 100-continue\r\n\r\n"
    )

    status = await asyncio.wait_for(reader.readline(), 5)

    writer.close()
    assert b"413" in status


def test_depth_counts_brackets_outside_of_strings() -> None:
    text = json.dumps({"a": ['[{"\\', {"b": ']}\\"'}]}).encode()

    assert json_depth(text) == 3
    assert json_depth(b"[" * 5000) == 5000


def test_text_that_is_too_deep_is_refused() -> None:
    check_depth(b"[" * 64, 64)

    with pytest.raises(MalformedBody) as error:
        check_depth(b"[" * 65, 64)

    assert error.value.reason == "MALFORMED_BODY"


async def test_lines_are_cut_wherever_the_chunks_end() -> None:
    async def chunks() -> object:
        for piece in (b'{"a"', b":1}\n\n{}\r\n", b" \n{", b"}"):
            yield piece

    found = [line async for line in lines(chunks(), 100)]  # type: ignore[arg-type]

    assert [line.strip() for line in found] == [b'{"a":1}', b"{}", b"{}"]


async def test_a_line_over_its_limit_is_too_large() -> None:
    async def chunks() -> object:
        yield b"x" * 101

    with pytest.raises(BodyTooLarge):
        _ = [line async for line in lines(chunks(), 100)]  # type: ignore[arg-type]
