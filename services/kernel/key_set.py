"""The public keys that an identity provider signs tokens with (JWKS, RFC 7517)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.kernel.errors import Unavailable

REFRESH_SECONDS: Final = 300  # a withdrawn key is refused after this long
RETRY_SECONDS: Final = 10  # between fetches that unknown key ids ask for: tokens are free to forge
STALE_SECONDS_MAX: Final = 86_400  # a provider's bad day must not lock everybody out
FETCH_SECONDS: Final = 5
DOCUMENT_BYTES_MAX: Final = 256 * 1024  # some hundred keys
RSA_BITS_MIN: Final = 2048

PublicKey = Ed25519PublicKey | RSAPublicKey
ALGORITHM_OF_TYPE: Final[Mapping[str, str]] = {"OKP": "EdDSA", "RSA": "RS256"}
_Keys = dict[str, dict[str, PublicKey]]

log = structlog.get_logger(__name__)


class SigningKeysUnavailable(Unavailable):
    """The keys that verify tokens cannot be fetched at the moment; retry with backoff."""

    reason = "SIGNING_KEYS_UNAVAILABLE"


class UnusableKeys(ValueError):
    """A key set, or a key in it, that no token can be verified with."""


class KeySet:
    """Keys from a file or a URL, fetched again every 5 minutes and when a token names a new one."""

    def __init__(self, source: str, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        """source: an https URL, else the path of a file."""
        self._source = source
        self._elapsed = elapsed
        self._keys: _Keys | None = None
        self._fetched_at = self._attempted_at = -float("inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """Returns the key that verifies the algorithm's signatures, None when there is none.

        key_id: None finds the only key of the algorithm. Raises SigningKeysUnavailable.
        """
        # Whoever comes while another fetches goes on with the keys at hand.
        if self._age() > REFRESH_SECONDS and not (self._keys is not None and self._lock.locked()):
            await self._refresh()
        key = self._at_hand(key_id, algorithm)
        if key is None:
            await self._refresh()
            key = self._at_hand(key_id, algorithm)
        return key

    def _age(self) -> float:
        return self._elapsed() - self._fetched_at

    def _at_hand(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        if self._keys is None or self._age() > STALE_SECONDS_MAX:
            raise SigningKeysUnavailable
        keys = self._keys.get(algorithm, {})
        if key_id is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(key_id)

    async def _refresh(self) -> None:
        """Fetches once, however many ask at the same time, and not again for RETRY_SECONDS."""
        async with self._lock:
            if self._elapsed() - self._attempted_at < RETRY_SECONDS:
                return
            self._attempted_at = self._elapsed()
            try:
                self._keys = parse_key_set(await self._fetch())
            except (OSError, httpx.HTTPError, ValueError) as error:
                log.warning("signing keys not fetched", source=self._source, error=str(error))
                return
            self._fetched_at = self._elapsed()

    async def _fetch(self) -> bytes:
        if not self._source.startswith(("https://", "http://")):
            return await asyncio.to_thread(Path(self._source).read_bytes)
        content = bytearray()
        async with (
            httpx.AsyncClient(timeout=FETCH_SECONDS) as client,
            client.stream("GET", self._source) as response,
        ):
            response.raise_for_status()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > DOCUMENT_BYTES_MAX:
                    raise UnusableKeys(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
        return bytes(content)


def parse_key_set(document: bytes) -> _Keys:
    """Returns the usable keys by algorithm and key id; others are skipped with a warning.

    Raises UnusableKeys when the document is not a key set or has no usable key.
    """
    content = json.loads(document)
    if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
        raise UnusableKeys("the document has no list `keys`")
    found: _Keys = {}
    for entry in content["keys"]:
        key_id = str(entry.get("kid", "")) if isinstance(entry, dict) else ""
        try:
            algorithm, key = _parse_key(entry)
        except (ValueError, jwt.PyJWTError) as error:
            log.warning("signing key skipped", key_id=key_id, error=str(error))
            continue
        found.setdefault(algorithm, {})[key_id] = key
    if not found:
        raise UnusableKeys("the document has no usable signing key")
    return found


def _parse_key(entry: Any) -> tuple[str, PublicKey]:
    if not isinstance(entry, dict):
        raise UnusableKeys("a key is an object")
    # The key's type fixes the one algorithm it verifies, so a token cannot choose another.
    algorithm = ALGORITHM_OF_TYPE.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        raise UnusableKeys(f"{entry.get('kty')} {entry.get('alg', '')} is not accepted")
    if entry.get("use", "sig") != "sig":
        raise UnusableKeys("the key is not for signatures")
    key = jwt.PyJWK.from_dict(entry, algorithm=algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise UnusableKeys(f"an RSA key has at least {RSA_BITS_MIN} bits")
    if not isinstance(key, (RSAPublicKey, Ed25519PublicKey)):
        raise UnusableKeys("the key is not a public RSA or Ed25519 key")
    return algorithm, key
