"""The cache: one computation for all, nothing stale, and no dependence on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
import redis.asyncio

from services.kernel import cache as cache_module
from services.kernel.cache import Cache, CacheKey
from services.kernel.ids import new_id
from tests.support.redis import RedisServer
from tests.support.waiting import eventually

TTL = timedelta(minutes=1)


class Computation:
    """Counts how often it was made, and makes each result a new one."""

    def __init__(self) -> None:
        self.count = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> bytes:
        self.count += 1
        number = self.count
        await self.go_on.wait()
        return f"answer {number}".encode()


@pytest.fixture
def service() -> str:
    """A name of its own for each test, because the server is shared."""
    return f"test-{new_id()}"


@pytest.fixture
async def connect(redis_server: RedisServer, service: str) -> AsyncIterator[Callable[[], Cache]]:
    """Connects as another process of the service would."""
    caches: list[Cache] = []

    def connect() -> Cache:
        caches.append(Cache.connect(redis_server.url, service=service))
        return caches[-1]

    yield connect
    for cache in caches:
        await cache.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine of the tests may be slower than a cache may be."""
    monkeypatch.setattr(cache_module, "TIMEOUT_SECONDS", 1.0)


def key(name: str = "name", tenant_id: str = "acme") -> CacheKey:
    return CacheKey("costs", tenant_id, name)


async def test_an_answer_is_computed_once_and_shared_by_processes(
    connect: Callable[[], Cache],
) -> None:
    compute = Computation()

    answers = [await connect().get_or_compute(key(), TTL, compute) for _ in range(3)]

    assert answers == [b"answer 1"] * 3


async def test_names_and_tenants_are_kept_apart(connect: Callable[[], Cache]) -> None:
    cache, compute = connect(), Computation()

    for other in (key("a"), key("b"), key("a", "other"), key("x" * 5000), key("x" * 5001)):
        await cache.get_or_compute(other, TTL, compute)

    assert compute.count == 5


async def test_those_who_ask_at_once_share_one_computation(connect: Callable[[], Cache]) -> None:
    compute = Computation()
    compute.go_on.clear()
    caches = [connect() for _ in range(3)]

    asking = [
        asyncio.create_task(cache.get_or_compute(key(), TTL, compute))
        for cache in caches
        for _ in range(10)
    ]
    await asyncio.wait(asking, timeout=0.1)
    compute.go_on.set()

    assert await asyncio.gather(*asking) == [b"answer 1"] * 30


async def test_an_error_is_shared_and_not_kept(connect: Callable[[], Cache]) -> None:
    cache = connect()

    async def fail() -> bytes:
        raise ValueError("no")

    asking = [cache.get_or_compute(key(), TTL, fail) for _ in range(2)]
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [str(answer) for answer in answers] == ["no", "no"]
    # Another process need not wait for the lock of the computation that failed.
    async with asyncio.timeout(1):
        assert await connect().get_or_compute(key(), TTL, Computation()) == b"answer 1"


async def test_who_leaves_does_not_take_the_answer_from_others(
    connect: Callable[[], Cache],
) -> None:
    cache, compute = connect(), Computation()
    compute.go_on.clear()
    first, second = (
        asyncio.create_task(cache.get_or_compute(key(), TTL, compute)) for _ in range(2)
    )
    await asyncio.wait([first, second], timeout=0.1)

    first.cancel()
    await asyncio.wait([first])
    compute.go_on.set()

    assert await second == b"answer 1"


async def test_a_computation_that_nobody_waits_for_is_cancelled(
    connect: Callable[[], Cache],
) -> None:
    cancelled = asyncio.Event()

    async def compute() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    task = asyncio.create_task(connect().get_or_compute(key(), TTL, compute))
    await asyncio.wait([task], timeout=0.1)
    task.cancel()

    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_who_asks_while_a_computation_is_being_cancelled_gets_a_new_one(
    connect: Callable[[], Cache],
) -> None:
    cache = connect()
    stopping, go_on = asyncio.Event(), asyncio.Event()

    async def stubborn() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await go_on.wait()
        return b""

    task = asyncio.create_task(cache.get_or_compute(key(), TTL, stubborn))
    await asyncio.wait([task], timeout=0.1)
    task.cancel()
    await stopping.wait()
    asking = asyncio.create_task(cache.get_or_compute(key(), TTL, Computation()))
    await asyncio.wait([asking], timeout=0.05)
    go_on.set()

    assert await asking == b"answer 1"


async def test_an_answer_expires(
    connect: Callable[[], Cache], redis_server: RedisServer, service: str
) -> None:
    compute = Computation()
    await connect().get_or_compute(key(), timedelta(milliseconds=1), compute)

    async def expired() -> bool:
        async with redis.asyncio.from_url(redis_server.url) as client:
            return not [name async for name in client.scan_iter(f"finops:{service}:*:name")]

    await eventually(expired)
    assert await connect().get_or_compute(key(), TTL, compute) == b"answer 2"


async def test_invalidation_forgets_a_kind_of_one_tenant_everywhere(
    connect: Callable[[], Cache],
) -> None:
    one, other = connect(), connect()
    compute = Computation()
    keys = [key("a"), key("b"), key("a", "other"), CacheKey("prices", "acme", "a")]
    before = [await one.get_or_compute(each, TTL, compute) for each in keys]

    await one.invalidate("costs", "acme")
    after = [await other.get_or_compute(each, TTL, compute) for each in keys]

    assert after[2:] == before[2:]
    assert after[:2] == [b"answer 5", b"answer 6"]


async def test_what_was_computed_before_an_invalidation_is_not_kept_after_it(
    connect: Callable[[], Cache],
) -> None:
    one, other = connect(), connect()
    compute = Computation()
    compute.go_on.clear()
    stale = asyncio.create_task(one.get_or_compute(key(), TTL, compute))
    await asyncio.wait([stale], timeout=0.1)

    await other.invalidate("costs", "acme")
    compute.go_on.set()

    assert await stale == b"answer 1"
    assert await other.get_or_compute(key(), TTL, compute) == b"answer 2"


async def test_a_lost_version_brings_no_old_answer_back(
    connect: Callable[[], Cache], redis_server: RedisServer, service: str
) -> None:
    cache, compute = connect(), Computation()
    await cache.get_or_compute(key(), TTL, compute)
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert await client.delete(f"finops:{service}:{{costs:acme}}") == 1

    assert await cache.get_or_compute(key(), TTL, compute) == b"answer 2"


async def test_a_large_answer_is_not_kept(connect: Callable[[], Cache]) -> None:
    cache = connect()
    compute = Computation()

    async def large() -> bytes:
        return await compute() + bytes(cache_module.VALUE_BYTES_MAX)

    await cache.get_or_compute(key(), TTL, large)
    await cache.get_or_compute(key(), TTL, large)

    assert compute.count == 2


async def test_without_redis_answers_are_computed_and_still_shared(service: str) -> None:
    cache = Cache.connect(None, service=service)
    compute = Computation()

    at_once = await asyncio.gather(*(cache.get_or_compute(key(), TTL, compute) for _ in range(5)))
    await cache.invalidate("costs", "acme")
    later = await cache.get_or_compute(key(), TTL, compute)
    await cache.close()

    assert at_once == [b"answer 1"] * 5
    assert later == b"answer 2"


@pytest.mark.fault
async def test_a_killed_redis_is_not_noticed_and_comes_back(
    connect: Callable[[], Cache], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "OPEN_SECONDS", 0.0)
    cache, compute = connect(), Computation()
    await cache.get_or_compute(key(), TTL, compute)

    await redis_server.kill()
    try:
        away = [await cache.get_or_compute(key(), TTL, compute) for _ in range(5)]
        await cache.invalidate("costs", "acme")
    finally:
        await redis_server.start()
    back = [await cache.get_or_compute(key(), TTL, compute) for _ in range(3)]

    assert away == [f"answer {number}".encode() for number in range(2, 7)]
    assert back == [b"answer 7"] * 3


@pytest.mark.fault
async def test_an_invalidation_while_redis_hangs_is_told_before_the_next_answer(
    connect: Callable[[], Cache], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(cache_module, "OPEN_SECONDS", 0.0)
    cache, compute = connect(), Computation()
    await cache.get_or_compute(key(), TTL, compute)

    redis_server.pause()
    try:
        await cache.invalidate("costs", "acme")
    finally:
        redis_server.resume()
    monkeypatch.setattr(cache_module, "TIMEOUT_SECONDS", 1.0)

    assert await cache.get_or_compute(key(), TTL, compute) == b"answer 2"


@pytest.mark.fault
async def test_a_hanging_redis_costs_a_few_time_outs_and_then_nothing(
    connect: Callable[[], Cache], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TIMEOUT_SECONDS", 0.05)
    cache, compute = connect(), Computation()
    loop = asyncio.get_running_loop()

    redis_server.pause()
    try:
        started = loop.time()
        for number in range(50):
            await cache.get_or_compute(key(f"{number}"), TTL, compute)
        elapsed = loop.time() - started
    finally:
        redis_server.resume()

    assert compute.count == 50
    # Three time-outs open the circuit; asking Redis every time would take 2.5 s.
    assert elapsed < 1.0


async def test_hits_and_misses_are_counted_by_kind(
    connect: Callable[[], Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {"hits": 0, "misses": 0}

    class Counter:
        def __init__(self, name: str) -> None:
            self.name = name

        def add(self, amount: int, attributes: dict[str, str]) -> None:
            assert attributes == {"kind": "costs"}
            counts[self.name] += amount

    monkeypatch.setattr(cache_module, "_hits", Counter("hits"))
    monkeypatch.setattr(cache_module, "_misses", Counter("misses"))
    cache, compute = connect(), Computation()

    for _ in range(4):
        await cache.get_or_compute(key(), TTL, compute)

    assert counts == {"hits": 3, "misses": 1}


async def test_another_process_waits_for_the_one_computing(
    connect: Callable[[], Cache],
) -> None:
    slow, other = Computation(), Computation()
    slow.go_on.clear()
    cache = connect()
    task = asyncio.create_task(cache.get_or_compute(key(), TTL, slow))
    await asyncio.wait([task], timeout=0.1)
    call: Awaitable[bytes] = connect().get_or_compute(key(), TTL, other)
    waiting = asyncio.ensure_future(call)
    await asyncio.wait([waiting], timeout=0.1)
    assert other.count == 0

    slow.go_on.set()

    assert await task == await waiting == b"answer 1"
    assert other.count == 0
