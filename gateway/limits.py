"""Rate limits: per credential, per tenant, and per client address for callers not known yet.

A credential is known once a service has answered it with the tenant it authenticates. Counters live
in Redis where one is configured and alive, else in this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import RateLimited
from gateway.settings import GatewaySettings
from gateway.windows import Hit, RedisWindows


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the limit that is nearest to being used up."""

    limit: int
    remaining: int
    reset_seconds: int
    window_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The RateLimit headers of the IETF draft, with their policy."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset_seconds),
            "ratelimit-policy": f"{self.limit};w={self.window_seconds}",
        }


class KnownCredentials:
    """Which tenant each credential was last authenticated for; bounded, and forgotten in time."""

    def __init__(self, *, count_max: int, seconds_max: float) -> None:
        """Takes how many are kept, least recently used first to go, and for how long."""
        self._count_max = count_max
        self._seconds_max = seconds_max
        self._tenants: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def learn(self, credential: str, tenant: str) -> None:
        """Remembers that a service authenticated the credential for the tenant."""
        self._tenants[credential] = (tenant, time.monotonic() + self._seconds_max)
        self._tenants.move_to_end(credential)
        while len(self._tenants) > self._count_max:
            self._tenants.popitem(last=False)

    def forget(self, credential: str) -> None:
        """Takes back what was learned, once a service refuses the credential."""
        self._tenants.pop(credential, None)

    def tenant_of(self, credential: str) -> str | None:
        """Returns the tenant; None where the credential is not known or was forgotten."""
        tenant, expiry = self._tenants.get(credential, (None, 0.0))
        if tenant is None or expiry < time.monotonic():
            self._tenants.pop(credential, None)
            return None
        self._tenants.move_to_end(credential)
        return tenant


class RateLimits:
    """Counts requests and refuses those over a limit."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises ValueError where a limit in the settings cannot be read."""
        self._credential = parse(settings.credential_limit)
        self._tenant = parse(settings.tenant_limit)
        self._anonymous = parse(settings.anonymous_limit)
        self.known = KnownCredentials(
            count_max=settings.known_credentials_max,
            seconds_max=settings.known_credential_seconds,
        )
        self._storage = MemoryStorage()
        self._memory = SlidingWindowCounterRateLimiter(self._storage)
        url = settings.redis_url
        self._redis = None if url is None else RedisWindows(url)

    async def take(self, credential: str | None, address: str) -> Allowance:
        """Counts one request of a credential's digest, None without one, from a client address.

        Returns the allowance nearest to its end. Raises RateLimited.
        """
        tenant = None if credential is None else self.known.tenant_of(credential)
        if credential is None or tenant is None:
            # Made-up tokens share their address's limit: a new one each request gains nothing.
            return await self._take(self._anonymous, "address", address)
        allowances = (
            await self._take(self._credential, "credential", credential),
            await self._take(self._tenant, "tenant", tenant),
        )
        return min(allowances, key=lambda allowance: allowance.remaining / allowance.limit)

    async def close(self) -> None:
        """Ends the upkeep of the counters in this process and the connections to Redis."""
        timer = self._storage.timer
        if timer is not None:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)
        if self._redis is not None:
            await self._redis.close()

    async def _take(self, item: RateLimitItem, kind: str, key: str) -> Allowance:
        hit = await self._hit(item, f"{kind}/{key}")
        wait = max(1, math.ceil(hit.reset_seconds))
        if not hit.is_allowed:
            amount = f"{item.amount} requests in {item.get_expiry()} s"
            raise RateLimited(
                f"the {kind} has used up its {amount}",
                retry_after=timedelta(seconds=wait),
                violations=[(f"{kind}:{_shown(kind, key)}", amount)],
            )
        return Allowance(item.amount, hit.remaining, wait, item.get_expiry())

    async def _hit(self, item: RateLimitItem, key: str) -> Hit:
        if self._redis is not None:
            counted = await self._redis.hit(item, key)
            if counted is not None:
                return counted
        is_allowed = await self._memory.hit(item, key)
        stats = await self._memory.get_window_stats(item, key)
        return Hit(is_allowed, max(0, stats.remaining), stats.reset_time - time.time())


def credential_digest(authorization: str | None) -> str | None:
    """Returns a digest of an Authorization header, so that no secret is kept or stored in Redis."""
    if not authorization:
        return None
    return hashlib.sha256(authorization.encode("latin-1", "replace")).hexdigest()[:32]


def tenant_in(metadata: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    """Returns the tenant that a service named in its initial metadata; None where it named none."""
    for key, value in metadata:
        if key == name and isinstance(value, str) and value:
            return value
    return None


def _shown(kind: str, key: str) -> str:
    return "yours" if kind == "credential" else key
