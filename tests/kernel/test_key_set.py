"""A provider's public keys: where they come from, and how they change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from services.kernel.key_set import (
    DOCUMENT_BYTES_MAX,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS_MAX,
    KeySet,
    SigningKeysUnavailable,
    UnusableKeys,
    parse_key_set,
)
from tests.kernel.test_tokens import RSA_KEY, jwk
from tests.support.stopwatch import Stopwatch


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def ed(key_id: str, **more: str) -> dict[str, Any]:
    return jwk(Ed25519PrivateKey.generate(), key_id, **more)


class Source:
    """A file of keys, a watch, and the set that reads both."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jwks.json"
        self.watch = Stopwatch()
        self.set = KeySet(str(self.file), elapsed=self.watch)

    def write(self, *key_ids: str) -> None:
        self.file.write_bytes(document(*(ed(key_id) for key_id in key_ids)))

    async def has(self, key_id: str) -> bool:
        return await self.set.find(key_id, "EdDSA") is not None


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


async def test_a_new_key_is_found_when_a_token_first_names_it(source: Source) -> None:
    source.write("old")
    assert await source.has("old")
    source.watch.seconds += RETRY_SECONDS
    source.write("old", "new")

    assert await source.has("new")


async def test_a_withdrawn_key_is_refused_after_the_refresh(source: Source) -> None:
    source.write("old")
    assert await source.has("old")
    source.write("new")

    assert await source.has("old")
    source.watch.seconds += REFRESH_SECONDS + 1
    assert not await source.has("old")


async def test_made_up_key_ids_do_not_make_us_fetch_each_time(source: Source) -> None:
    source.write("old")
    assert not await source.has("made-up-1")
    source.write("old", "made-up-2")

    assert not await source.has("made-up-2")
    source.watch.seconds += RETRY_SECONDS
    assert await source.has("made-up-2")


async def test_a_provider_that_is_away_locks_nobody_out(source: Source) -> None:
    source.write("old")
    assert await source.has("old")
    source.file.unlink()

    source.watch.seconds += REFRESH_SECONDS + 1
    assert await source.has("old")
    source.watch.seconds += STALE_SECONDS_MAX
    with pytest.raises(SigningKeysUnavailable):
        await source.has("old")


async def test_without_keys_from_the_start_nobody_can_be_told(source: Source) -> None:
    with pytest.raises(SigningKeysUnavailable):
        await source.has("any")

    source.write("any")
    source.watch.seconds += RETRY_SECONDS
    assert await source.has("any")


async def test_a_broken_document_leaves_the_keys_that_are_there(source: Source) -> None:
    source.write("old")
    assert await source.has("old")
    source.file.write_text("{")
    source.watch.seconds += REFRESH_SECONDS + 1

    assert await source.has("old")


async def test_a_key_verifies_its_own_algorithm_only(source: Source) -> None:
    source.file.write_bytes(document(ed("one"), jwk(RSA_KEY, "two")))

    assert await source.set.find("one", "RS256") is None
    assert await source.set.find("two", "EdDSA") is None
    assert await source.set.find("two", "RS256") is not None


async def test_a_token_without_a_key_id_needs_a_single_key(source: Source) -> None:
    source.write("one", "two")

    assert await source.set.find(None, "EdDSA") is None


def test_unusable_keys_are_skipped() -> None:
    short = generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    private = jwk(RSA_KEY, "private") | {"kty": "oct", "k": "c2VjcmV0"}
    entries = [
        ed("good"),
        ed("for encryption", use="enc"),
        ed("of another algorithm", alg="RS256"),
        jwk(short, "short"),
        private,
        {"kty": "EC", "kid": "curve", "crv": "P-256"},
        {"kty": "RSA", "kid": "empty"},
        {"kid": "nothing"},
        "no key at all",
    ]

    assert list(parse_key_set(document(*entries))) == ["EdDSA"]
    assert list(parse_key_set(document(*entries))["EdDSA"]) == ["good"]


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"{", b"\xff"])
def test_a_document_without_a_usable_key_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        parse_key_set(content)

    assert isinstance(refused.value, (UnusableKeys, json.JSONDecodeError, UnicodeDecodeError))


@asynccontextmanager
async def provider(answer: bytes, fetches: list[str]) -> AsyncIterator[str]:
    """Serves one answer over HTTP, and notes each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fetches.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + answer)
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"


async def test_keys_come_over_http_once_for_all_who_ask() -> None:
    fetches: list[str] = []
    async with provider(document(ed("one")), fetches) as url:
        keys = KeySet(url)
        found = await asyncio.gather(*(keys.find("one", "EdDSA") for _ in range(20)))

    assert all(key is not None for key in found)
    assert len(fetches) == 1


async def test_an_endless_document_is_not_read_to_its_end() -> None:
    async with provider(b" " * (DOCUMENT_BYTES_MAX + 1), []) as url:
        with pytest.raises(SigningKeysUnavailable):
            await KeySet(url).find("one", "EdDSA")
