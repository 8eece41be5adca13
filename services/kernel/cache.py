"""Answers kept in Redis for a while; without Redis they are computed, and nothing else changes.

Cached are bytes under a kind, a tenant and a name. Invalidating forgets all names of a kind and
tenant at once, because a fresh random version becomes part of their keys; a version that Redis lost
is replaced by a fresh one too, so that no old answer comes back. While Redis cannot be told, an
answer may live on in other processes until its time to live, which is therefore kept short.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import redis.asyncio
import structlog
from opentelemetry import metrics
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from services.kernel.circuit import Circuit

TIMEOUT_SECONDS = 0.05  # computing an answer takes about as long
FAILURES_MAX = 3  # one slow answer is not an outage
OPEN_SECONDS = 2.0
CONNECTIONS = 20
LOCK_MILLISECONDS = 3_000  # how long one process computes for all
LOCK_POLL_SECONDS = 0.02
NAME_LENGTH_MAX = 150  # longer names are hashed
VALUE_BYTES_MAX = 1 << 20  # larger answers would push many small ones out
VERSION_SECONDS = 7 * 24 * 3600
UNTOLD_MAX = 10_000  # invalidations remembered while Redis is away

log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.cache")
_hits = _meter.create_counter("finops_cache_hits_total", description="Answers found, by kind.")
_misses = _meter.create_counter(
    "finops_cache_misses_total", description="Answers computed, by kind."
)
_errors = _meter.create_counter(
    "finops_cache_errors_total", description="Failures of Redis, by operation."
)

Compute = Callable[[], Awaitable[bytes]]

# Returns the version, the value if there is one, and whether the lock to compute it was taken.
_FIND = """
local version = redis.call('GET', KEYS[1])
if not version then
  version = ARGV[1]
  redis.call('SET', KEYS[1], version, 'EX', ARGV[2])
end
local place = KEYS[1] .. ':' .. version .. ':' .. ARGV[3]
local value = redis.call('GET', place)
if value then return {version, value, 0} end
local locked = redis.call('SET', place .. ':lock', ARGV[4], 'NX', 'PX', ARGV[5])
return {version, false, locked and 1 or 0}
"""
# Stores the value unless it is empty, and gives the lock back if it is still ours.
_STORE = """
local place = KEYS[1] .. ':' .. ARGV[1] .. ':' .. ARGV[2]
if ARGV[4] ~= '' then redis.call('SET', place, ARGV[4], 'PX', ARGV[5]) end
if redis.call('GET', place .. ':lock') == ARGV[3] then redis.call('DEL', place .. ':lock') end
"""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What an answer answers. name: anything, canonical; it is hashed when it is long."""

    kind: str
    tenant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in Redis an answer belongs, and who holds the lock to put it there."""

    group: str
    version: str
    name: str
    token: str


class Cache:
    """Computes each answer once for all who ask at the same time, and keeps it for a while."""

    def __init__(self, client: redis.asyncio.Redis | None, *, service: str) -> None:
        """client: None computes always. `connect` makes one with the right time-outs."""
        self._client = client
        self._service = service
        self._circuit = Circuit(failures_max=FAILURES_MAX, open_seconds=OPEN_SECONDS)
        self._flights: dict[CacheKey, _Flight] = {}
        self._untold: dict[str, str] = {}  # the new version of each group
        self._find = None if client is None else AsyncScript(client, _FIND)
        self._store = None if client is None else AsyncScript(client, _STORE)

    @classmethod
    def connect(cls, url: str | None, *, service: str) -> Cache:
        """Prepares a cache without touching the network. url: None for no Redis."""
        if url is None:
            return cls(None, service=service)
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a second try would take the time that computing takes
        )
        return cls(redis.asyncio.Redis.from_pool(pool), service=service)

    async def get_or_compute(self, key: CacheKey, ttl: timedelta, compute: Compute) -> bytes:
        """Returns the cached answer, or computes and keeps it.

        Callers of one process that ask at the same time share one computation and its error; of
        several processes one computes, unless it takes longer than a lock. Never fails for Redis.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.ensure_future(self._answer(key, ttl, compute)))
            self._flights[key] = flight
        try:
            return await flight.join()
        finally:
            # At once, so that nobody joins a computation that is over or being cancelled.
            if flight.is_over and self._flights.get(key) is flight:
                del self._flights[key]

    async def invalidate(self, kind: str, tenant_id: str) -> None:
        """Forgets all answers of a kind for a tenant; call it once their cause is committed."""
        if self._client is None:
            return
        if len(self._untold) >= UNTOLD_MAX:
            log.warning("invalidation is left to the time to live", kind=kind)
            return
        self._untold[self._group(kind, tenant_id)] = secrets.token_hex(8)
        await self._tell()

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _answer(self, key: CacheKey, ttl: timedelta, compute: Compute) -> bytes:
        place, value = await self._look(key)
        attributes = {"kind": key.kind}
        if value is not None:
            _hits.add(1, attributes)
            return value
        _misses.add(1, attributes)
        try:
            value = await compute()
        except BaseException:
            await self._keep(place, b"", ttl)
            raise
        await self._keep(place, value if len(value) <= VALUE_BYTES_MAX else b"", ttl)
        return value

    async def _look(self, key: CacheKey) -> tuple[_Place | None, bytes | None]:
        """Returns the value, or the place to keep it, or neither when Redis is away.

        While another process computes it, waits for that, as long as it holds its lock.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_MILLISECONDS / 1000
        name = _short(key.name)
        group = self._group(key.kind, key.tenant_id)
        token = secrets.token_hex(8)
        while True:
            found = await self._run(
                "find",
                self._find,
                group,
                [secrets.token_hex(8), VERSION_SECONDS, name, token, LOCK_MILLISECONDS],
            )
            if not isinstance(found, list):
                return None, None
            version, value, is_locked = found
            if isinstance(value, bytes):
                return None, value
            if is_locked or loop.time() >= deadline:
                return _Place(group, version.decode(), name, token), None
            await asyncio.sleep(LOCK_POLL_SECONDS)

    async def _keep(self, place: _Place | None, value: bytes, ttl: timedelta) -> None:
        if place is not None:
            milliseconds = round(ttl.total_seconds() * 1000)
            arguments: list[str | bytes | int] = [
                place.version,
                place.name,
                place.token,
                value,
                milliseconds,
            ]
            await self._run("store", self._store, place.group, arguments)

    async def _run(
        self,
        operation: str,
        script: AsyncScript | None,
        group: str,
        arguments: Sequence[str | bytes | int],
    ) -> object:
        """Runs a script within the time-out; None when Redis is away, whatever the reason."""
        if script is None or not await self._tell() or not self._circuit.allows():
            return None
        return await self._guarded(operation, script([group], arguments))

    async def _tell(self) -> bool:
        """Passes on the invalidations that Redis does not know; False while it cannot be told."""
        untold = dict(self._untold)
        if not untold:
            return True
        if self._client is None or not self._circuit.allows():
            return False
        pipeline = self._client.pipeline(transaction=False)
        for group, version in untold.items():
            pipeline.set(group, version, ex=VERSION_SECONDS)
        if await self._guarded("invalidate", pipeline.execute()) is None:
            return False
        for group, version in untold.items():
            if self._untold.get(group) == version:  # else it was invalidated once more meanwhile
                del self._untold[group]
        return True

    async def _guarded(self, operation: str, command: Awaitable[object]) -> object:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await command
        except (RedisError, OSError, TimeoutError) as error:
            self._circuit.failed()
            _errors.add(1, {"operation": operation})
            log.warning("redis failed", operation=operation, error=repr(error))
            return None
        self._circuit.succeeded()
        return answer if answer is not None else True

    def _group(self, kind: str, tenant_id: str) -> str:
        # Braces: on a cluster all keys of a group are on one node, as the scripts need.
        return f"finops:{self._service}:{{{kind}:{tenant_id}}}"


class _Flight:
    """One computation and those who wait for it; without any, it is cancelled."""

    def __init__(self, task: asyncio.Future[bytes]) -> None:
        self._task = task
        self._waiting = 0

    @property
    def is_over(self) -> bool:
        """Whether nobody should join any more."""
        return self._waiting == 0 or self._task.done()

    async def join(self) -> bytes:
        """Waits for the answer; leaving does not disturb the others."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self._task.done():
                self._task.cancel()


def _short(name: str) -> str:
    if len(name) <= NAME_LENGTH_MAX:
        return name
    return hashlib.sha256(name.encode()).hexdigest()
