"""API keys: `fk_<key id>_<secret>`, of which only the secret's SHA-256 is ever stored."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from services.kernel.caller import SERVICE_ROLE, Caller
from services.kernel.clock import Clock, SystemClock
from services.kernel.errors import Unauthenticated
from services.kernel.ids import new_id
from services.kernel.permissions import narrow, permissions_of
from services.kernel.tokens import Verified

PREFIX: Final = "fk_"
CACHE_SECONDS: Final = 3  # with the time of a look-up, a revocation holds everywhere within 5 s
KEY_LENGTH_MAX: Final = 256
_PARTS: Final = 3


class InvalidApiKey(Unauthenticated):
    """The API key is unknown, revoked or expired; use another one."""

    reason = "INVALID_API_KEY"


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """What is kept of a key. secret_digest: 32 bytes. scopes: empty for all of its roles."""

    key_id: str
    tenant_id: str
    roles: frozenset[str]
    scopes: frozenset[str]
    secret_digest: bytes
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeyDirectory(Protocol):
    """Where keys are kept: the usage service's database, or that service seen from another."""

    async def find(self, key_id: str) -> StoredApiKey | None:
        """Returns the key as it is now, not older than an instant. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key as it is made. text: shown to its owner once, never stored or logged."""

    key_id: str
    text: str
    secret_digest: bytes


def new_api_key() -> NewApiKey:
    """Makes a key whose secret has 256 random bits, so that one SHA-256 hides it well enough."""
    key_id, secret = new_id(), secrets.token_hex(32)
    return NewApiKey(key_id, f"{PREFIX}{key_id}_{secret}", secret_digest(secret))


def secret_digest(secret: str) -> bytes:
    """Returns what is stored of a key's secret part."""
    return hashlib.sha256(secret.encode()).digest()


class ApiKeyVerifier:
    """Tells whose a key is; its answers hold for at most CACHE_SECONDS from the look-up."""

    def __init__(
        self,
        directory: ApiKeyDirectory,
        *,
        clock: Clock | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """elapsed: seconds that never go back, for the age of look-ups."""
        self._directory = directory
        self._clock = clock or SystemClock()
        self._elapsed = elapsed
        self._look_ups: dict[str, tuple[float, asyncio.Task[StoredApiKey | None]]] = {}

    async def verify(self, text: str) -> Verified:
        """Returns the caller. Raises InvalidApiKey, alike for every reason, or Unavailable."""
        parts = text.split("_", _PARTS - 1)
        if len(parts) != _PARTS or len(text) > KEY_LENGTH_MAX or not text.startswith(PREFIX):
            raise InvalidApiKey
        _, key_id, secret = parts
        began, key = await self._look_up(key_id)
        digest = key.secret_digest if key is not None else b""
        if not hmac.compare_digest(secret_digest(secret), digest) or key is None:
            raise InvalidApiKey
        # Counted from when the look-up began: its answer may be as old as that.
        seconds = CACHE_SECONDS - (self._elapsed() - began)
        if key.expires_at is not None:
            remaining = (key.expires_at - self._clock.now()).total_seconds()
            if remaining <= 0:
                raise InvalidApiKey
            seconds = min(seconds, remaining)
        if key.revoked_at is not None:
            raise InvalidApiKey
        roles = key.roles - {SERVICE_ROLE}
        caller = Caller(
            tenant_id=key.tenant_id,
            subject=f"api_key:{key.key_id}",
            roles=roles,
            permissions=narrow(permissions_of(roles), key.scopes),
            credential_id=key.key_id,
        )
        return Verified(caller, seconds)

    async def _look_up(self, key_id: str) -> tuple[float, StoredApiKey | None]:
        """Asks the directory once, however many calls with the key arrive at the same time."""
        running = self._look_ups.get(key_id)
        if running is None:
            task = asyncio.get_running_loop().create_task(self._directory.find(key_id))
            running = self._look_ups[key_id] = (self._elapsed(), task)
            task.add_done_callback(lambda _: self._look_ups.pop(key_id, None))
        began, task = running
        # Shielded, because one caller's cancellation is not the others'.
        return began, await asyncio.shield(task)
