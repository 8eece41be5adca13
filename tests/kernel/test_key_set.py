"""The public keys that other parties sign tokens with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from services.kernel.key_set import (
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS_MAX,
    KeySet,
    SigningKeysUnavailable,
    UnusableKeys,
    parse_key_set,
)


class Elapsed:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def entry(key_id: str, **changed: object) -> dict[str, Any]:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    made: dict[str, Any] = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(public))
    return made | {"kid": key_id} | changed


def document(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


async def test_keys_are_found_by_id_and_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(document(entry("one"), entry("two")))
    keys = KeySet(str(path))

    assert await keys.find("one", "EdDSA") is not None
    assert await keys.find("one", "RS256") is None
    assert await keys.find(None, "EdDSA") is None


async def test_the_only_key_of_an_algorithm_needs_no_id(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(document(entry("one")))

    assert await KeySet(str(path)).find(None, "EdDSA") is not None


async def test_keys_that_cannot_be_fetched_are_unavailable(tmp_path: Path) -> None:
    keys = KeySet(str(tmp_path / "absent.json"))

    with pytest.raises(SigningKeysUnavailable) as caught:
        await keys.find("one", "EdDSA")

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert (caught.value.reason, caught.value.metadata) == ("SIGNING_KEYS_UNAVAILABLE", {})


async def test_a_new_key_is_fetched_but_not_for_every_forged_token(tmp_path: Path) -> None:
    path, elapsed = tmp_path / "keys.json", Elapsed()
    path.write_bytes(document(entry("old")))
    keys = KeySet(str(path), elapsed=elapsed)
    await keys.find("old", "EdDSA")
    path.write_bytes(document(entry("new")))

    at_once = await keys.find("new", "EdDSA")
    elapsed.seconds = RETRY_SECONDS
    later = await keys.find("new", "EdDSA")

    assert at_once is None
    assert later is not None


async def test_keys_outlive_a_bad_day_of_their_provider_but_not_two(tmp_path: Path) -> None:
    path, elapsed = tmp_path / "keys.json", Elapsed()
    path.write_bytes(document(entry("one")))
    keys = KeySet(str(path), elapsed=elapsed)
    await keys.find("one", "EdDSA")
    path.unlink()

    elapsed.seconds = REFRESH_SECONDS + 1
    assert await keys.find("one", "EdDSA") is not None
    elapsed.seconds = STALE_SECONDS_MAX + 1
    with pytest.raises(SigningKeysUnavailable):
        await keys.find("one", "EdDSA")


def weak_rsa() -> dict[str, Any]:
    public = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - so it is refused
    made: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
    return made | {"kid": "weak"}


@pytest.mark.parametrize(
    "unusable",
    [
        "not an object",
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "short"},
        entry("other algorithm", alg="RS256"),
        entry("for encryption", use="enc"),
        weak_rsa(),
    ],
)
def test_a_key_that_proves_nothing_is_skipped(unusable: object) -> None:
    assert list(parse_key_set(document(unusable, entry("good")))["EdDSA"]) == ["good"]

    with pytest.raises(UnusableKeys):
        parse_key_set(document(unusable))


@pytest.mark.parametrize("content", [b"[]", b'{"keys": {}}', b"{}"])
def test_a_document_without_keys_is_not_a_key_set(content: bytes) -> None:
    with pytest.raises(UnusableKeys):
        parse_key_set(content)
