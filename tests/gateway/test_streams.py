"""Streams as lines, as events, and as uploads."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateway.example_server import ExampleServer

EVENTS = {"accept": "text/event-stream"}
LINES = {"content-type": "application/x-ndjson"}


def items(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def upload(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


async def test_a_stream_is_one_object_a_line(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/items:watch?count=3")

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [item["sequence"] for item in items(answer.text)] == ["1", "2", "3"]


async def test_a_stream_of_events_names_each_position(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/items:watch?count=2", headers=EVENTS)

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text == (
        'id: 1\ndata: {"sequence":"1","text":"item 1"}\n\n'
        'id: 2\ndata: {"sequence":"2","text":"item 2"}\n\n'
    )


async def test_the_last_event_id_wins_over_the_address(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/v1/items:watch?count=1&after_sequence=1", headers={**EVENTS, "last-event-id": "6"}
    )

    assert answer.text.startswith("id: 7\n")


async def test_an_error_before_the_first_item_is_a_status(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/items:watch?fails=true")
    unknown = await client.get("/v1/items:watch", headers={"authorization": "Bearer nobody"})

    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "OUT_OF_RANGE"
    assert unknown.status_code == 401


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_an_error_after_items_is_the_last_item(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.get("/v1/items:watch?count=2&fails=true", headers={"accept": accept})

    last = answer.text.strip().splitlines()[-1]
    assert answer.status_code == 200
    assert '"OUT_OF_RANGE"' in last
    assert last.startswith("data: {" if "event" in accept else '{"error"')


async def test_a_silent_stream_of_events_shows_that_it_is_alive(
    client: httpx.AsyncClient,
) -> None:
    url = "/v1/items:watch?count=1&stays=true"
    async with client.stream("GET", url, headers=EVENTS) as answer:
        chunks = answer.aiter_text()
        first, second = await anext(chunks), await anext(chunks)

    assert first.startswith("id: 1\n")
    assert second == ": keep-alive\n\n"


async def test_a_caller_who_leaves_ends_the_call(
    client: httpx.AsyncClient, example: ExampleServer
) -> None:
    example.cancelled.clear()

    async with client.stream("GET", "/v1/items:watch?count=1&stays=true") as answer:
        await anext(answer.aiter_text())

    await asyncio.wait_for(example.cancelled.wait(), 5)


async def test_lines_are_collected_into_one_answer(client: httpx.AsyncClient) -> None:
    body = upload("a", "b") + b"\n" + upload("c")

    answer = await client.post("/v1/items:collect", content=body, headers=LINES)

    assert answer.json() == {"count": 3, "texts": ["a", "b", "c"]}


async def test_an_upload_without_lines_is_empty(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/items:collect", headers=LINES)).json()["count"] == 0


@pytest.mark.parametrize("path", ["/v1/items:collect", "/v1/items:chat"])
async def test_a_wrong_line_is_named(client: httpx.AsyncClient, path: str) -> None:
    not_json = await client.post(path, content=b'{"text":"a"}\n{\n', headers=LINES)
    unknown = await client.post(path, content=b'{"nope":"a"}\n', headers=LINES)

    text = not_json.text.splitlines()[-1]
    assert "line 2: the body is not JSON" in text
    assert '"line":"2"' in text
    assert unknown.status_code == 400
    assert "line 1: nope" in unknown.text


async def test_an_upload_that_the_service_refuses_is_a_status(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/items:collect", content=upload("refuse"), headers=LINES)

    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "FAILED_PRECONDITION"


async def test_an_upload_without_a_token_is_refused(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as stranger:
        for path in ("/v1/items:collect", "/v1/items:chat"):
            answer = await stranger.post(path, content=upload("a"), headers=LINES)
            assert answer.status_code == 401


async def test_both_directions_run_at_once(address: str) -> None:
    host = urlsplit(address)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(
        b"POST /v1/items:chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )

    writer.write(chunk(upload("first")))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    first = await asyncio.wait_for(reader.readuntil(b"}\n"), 5)
    writer.write(chunk(upload("second")))
    second = await asyncio.wait_for(reader.readuntil(b"}\n"), 5)
    writer.write(chunk(b""))
    rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)

    writer.close()
    assert b" 200 " in head.splitlines()[0]
    assert (b"first" in first, b"second" in second) == (True, True)
    assert rest == b"\r\n0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


async def test_a_line_over_its_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/items:collect", content=upload("x" * 70_000), headers=LINES)

    assert answer.status_code == 413
    assert answer.json()["error"]["details"][0]["reason"] == "BODY_TOO_LARGE"


async def test_an_upload_of_another_type_is_unsupported(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/items:chat", content=b"", headers={"content-type": "text/csv"})

    assert answer.status_code == 415


async def test_a_stream_is_not_answered_to_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/v1/items:watch")).status_code == 405
