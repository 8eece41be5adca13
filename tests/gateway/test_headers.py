"""Headers: what is forwarded, what is given back, and what protects."""

from __future__ import annotations

import gzip
import re

import brotli
import httpx
import pytest
from starlette.datastructures import Headers

from gateway.compression import ENCODINGS, negotiate
from gateway.errors import MalformedHeader
from gateway.headers import deadline_of, metadata_of
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.served import served

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def metadata(client: httpx.AsyncClient, **headers: str) -> dict[str, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    found: dict[str, str] = (await client.get("/v1/metadata", headers=sent)).json()["metadata"]
    return found


async def test_credential_trace_and_request_id_are_forwarded(client: httpx.AsyncClient) -> None:
    found = await metadata(client, traceparent=TRACE, x_request_id="r-1", cookie="a=b")

    assert found["authorization"] == "Bearer alice"
    assert found["x-request-id"] == "r-1"
    assert found["traceparent"].split("-")[1] == TRACE.split("-")[1]
    assert "cookie" not in found


async def test_the_request_id_is_given_back_or_made(client: httpx.AsyncClient) -> None:
    given = await client.get("/v1/query", headers={"x-request-id": "r-1"})
    made = await client.get("/v1/query", headers={"x-request-id": "with space"})

    assert given.headers["x-request-id"] == "r-1"
    assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])


async def test_every_call_has_a_deadline(client: httpx.AsyncClient) -> None:
    default = (await client.get("/v1/metadata")).json()["secondsLeft"]
    shorter = (await client.get("/v1/metadata", headers={"grpc-timeout": "5S"})).json()
    longer = (await client.get("/v1/metadata", headers={"grpc-timeout": "9H"})).json()

    assert 20 < default < 31
    assert 0 < shorter["secondsLeft"] < 6
    assert 200 < longer["secondsLeft"] < 301


@pytest.mark.parametrize(
    ("text", "seconds"), [("1H", 100), ("1M", 60), ("2S", 2), ("5m", 0.005), ("5u", 5e-6)]
)
def test_a_timeout_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    found = deadline_of(Headers({"grpc-timeout": text}), default=30, longest=100)

    assert found == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "S", "-1S", "123456789S", "1.5S", "5s"])
async def test_a_timeout_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, text: str
) -> None:
    answer = await client.get("/v1/query", headers={"grpc-timeout": text})

    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["reason"] == "MALFORMED_HEADER"


async def test_the_idempotency_key_is_the_request_id(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "k1"}

    given = await client.patch("/v1/things/t?update_mask=name", json={}, headers=key)
    other = await client.patch("/v1/things/t?request_id=k2", json={}, headers=key)
    long = await client.patch("/v1/things/t", json={}, headers={"idempotency-key": "x" * 129})
    ignored = await client.post("/v1/echo", json={}, headers=key)

    assert given.json()["requestId"] == "k1"
    assert other.json()["requestId"] == "k2"
    assert long.json()["error"]["details"][0]["reason"] == "MALFORMED_HEADER"
    assert ignored.status_code == 200


@pytest.mark.parametrize("credential", ["Bearer a\x80b", "Bearer " + "x" * 9000])
async def test_a_credential_that_cannot_be_one_is_refused(
    client: httpx.AsyncClient, credential: str
) -> None:
    answer = await client.get(
        "/v1/query", headers=[(b"authorization", credential.encode("latin-1"))]
    )

    assert answer.status_code == 401


async def test_an_answer_is_tagged_and_asked_for_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/v1/query?name=x")
    tag = first.headers["etag"]
    again = await client.get("/v1/query?name=x", headers={"if-none-match": f'"other", {tag}'})
    changed = await client.get("/v1/query?name=y", headers={"if-none-match": tag})
    never = await client.get("/v1/child?child.id=x")

    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag
    assert changed.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"
    assert "authorization" in first.headers["vary"]
    assert "etag" not in never.headers
    assert never.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("encoding", list(ENCODINGS))
async def test_a_large_answer_is_compressed(client: httpx.AsyncClient, encoding: str) -> None:
    sent = {"name": "x" * 5000}

    async with client.stream(
        "POST", "/v1/echo", json=sent, headers={"accept-encoding": encoding}
    ) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == encoding
    assert "accept-encoding" in answer.headers["vary"]
    assert len(raw) < 1000
    plain = {"br": brotli.decompress, "gzip": gzip.decompress}.get(encoding, lambda _: b"x" * 5000)
    assert b"x" * 5000 in plain(raw)


async def test_small_answers_and_streams_stay_plain(client: httpx.AsyncClient) -> None:
    small = await client.get("/v1/child", headers={"accept-encoding": "gzip"})
    stream = await client.get("/v1/items:watch?count=100", headers={"accept-encoding": "gzip"})

    assert "content-encoding" not in small.headers
    assert "content-encoding" not in stream.headers


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("gzip, br", "br"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("br;q=0", None),
        ("*", "br"),
        ("identity", None),
        ("br;q=x, gzip", "gzip"),
    ],
)
def test_the_best_encoding_is_chosen(header: str, encoding: str | None) -> None:
    assert negotiate(header) == encoding


async def test_every_answer_is_guarded(client: httpx.AsyncClient) -> None:
    for path in ("/v1/query", "/v1/none", "/healthz", "/docs", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers


async def test_only_pages_may_run_scripts(client: httpx.AsyncClient) -> None:
    call = (await client.get("/v1/query")).headers["content-security-policy"]
    page = (await client.get("/docs")).headers["content-security-policy"]

    assert "script-src" not in call
    assert "default-src 'none'" in call
    assert "script-src 'self';" in page


async def test_only_configured_origins_are_admitted(settings: GatewaySettings) -> None:
    allowed = settings.model_copy(update={"origins": ["https://app.example"]})
    preflight = {
        "origin": "https://app.example",
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,idempotency-key",
    }
    async with served(allowed, example_image()) as (url, _), httpx.AsyncClient(base_url=url) as c:
        before = await c.options("/v1/things/t", headers=preflight)
        refused = await c.get("/v1/query", headers={"origin": "https://app.example"})
        other = await c.options("/v1/things/t", headers={**preflight, "origin": "https://x.test"})

    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == "https://app.example"
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in other.headers


async def test_without_origins_none_is_admitted(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/query", headers={"origin": "https://app.example"})

    assert "access-control-allow-origin" not in answer.headers


def test_headers_that_a_method_asks_for_are_handed_on_and_no_others() -> None:
    headers = Headers({"stripe-signature": "t=1,v1=a", "x-other": "secret"})

    forwarded = dict(metadata_of(headers, "id", ["stripe-signature", "x-absent"]))

    assert forwarded["stripe-signature"] == "t=1,v1=a"
    assert "x-other" not in forwarded
    assert "x-absent" not in forwarded
    assert "stripe-signature" not in dict(metadata_of(headers, "id"))


@pytest.mark.parametrize("value", ["x" * 2049, "caf\u00e9"])
def test_a_forwarded_header_that_metadata_cannot_carry_is_refused(value: str) -> None:
    headers = Headers(raw=[(b"stripe-signature", value.encode("latin-1"))])

    with pytest.raises(MalformedHeader):
        metadata_of(headers, "id", ["stripe-signature"])
