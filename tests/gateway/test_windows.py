"""Windows in Redis: when they end, where they are kept, and what a slow or silent Redis costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from limits import parse
from redis.asyncio import Redis
from redis.crc import key_slot
from structlog.testing import capture_logs

from gateway import windows as windows_module
from gateway.limits import RateLimits
from gateway.settings import GatewaySettings
from gateway.windows import PREFIX, RedisWindows
from services.kernel.ids import new_id
from tests.support.redis import RedisServer

BURST = 2_000  # sixteen batches of a lane
HOUR_SECONDS = 3600


@dataclass
class Wire:
    """Carries bytes to Redis and back. attempts: connections that were made, and batches sent."""

    url: str
    answer_seconds: float = 0.0
    attempts: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Yields the address of the near end."""
        there = urlsplit(self.url)
        carried: list[asyncio.Task[None]] = []

        def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carried.append(asyncio.create_task(self._carry(reader, writer)))

        async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield there._replace(netloc=f":{there.password}@127.0.0.1:{port}").geturl()
        # Each ends once its client has closed.
        await asyncio.wait_for(asyncio.gather(*carried), timeout=10)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        there = urlsplit(self.url)
        answer_reader, asking_writer = await asyncio.open_connection(there.hostname, there.port)
        answering = asyncio.create_task(self._answer(answer_reader, writer))
        with suppress(ConnectionError):  # who gives up waiting for an answer may reset
            while asked := await reader.read(1 << 20):
                self.attempts += asked.count(b"EVALSHA")
                asking_writer.write(asked)
        answering.cancel()
        for each in (asking_writer, writer):
            each.close()
        await asyncio.gather(
            answering, asking_writer.wait_closed(), writer.wait_closed(), return_exceptions=True
        )

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(1 << 20):
            await asyncio.sleep(self.answer_seconds)
            writer.write(answer)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a busy machine take its time."""
    monkeypatch.setattr(windows_module, "REDIS_SECONDS_MAX", 10.0)


@pytest.mark.parametrize("answer_seconds", [0.045, 3600.0])
async def test_hits_that_wait_for_a_slow_or_silent_redis_are_not_sent_there_in_turn(
    redis_server: RedisServer, answer_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, address = Wire(redis_server.url), new_id()
    async with wire.open() as url:
        with monkeypatch.context() as patience:
            patience.setattr(windows_module, "REDIS_SECONDS_MAX", 10.0)
            limits = RateLimits(GatewaySettings(anonymous_limit=f"{BURST}/hour", redis_url=url))
            warm = await limits.take(None, new_id())
        wire.answer_seconds, wire.attempts = answer_seconds, 0

        with capture_logs() as said:
            taken = await asyncio.gather(*(limits.take(None, address) for _ in range(BURST)))
        sent = wire.attempts
        after = await limits.take(None, new_id())
        await limits.close()

    assert len(taken) == BURST
    assert 1 <= sent <= 3
    assert [each["event"] for each in said] == ["limits without redis"]
    assert (wire.attempts, after.remaining) == (sent, warm.remaining)


@pytest.mark.usefixtures("patient")
async def test_many_hits_at_once_are_all_counted_in_redis(redis_server: RedisServer) -> None:
    windows, names = RedisWindows(redis_server.url), [new_id() for _ in range(20)]
    item = parse("3/hour")

    hits = await asyncio.gather(*(windows.hit(item, name) for name in names for _ in range(5)))
    await windows.close()

    allowed = [hit is not None and hit.is_allowed for hit in hits]
    assert allowed == [True, True, True, False, False] * len(names)


@pytest.mark.usefixtures("patient")
async def test_the_first_request_of_a_window_is_told_when_it_ends(
    redis_server: RedisServer,
) -> None:
    windows, name = RedisWindows(redis_server.url), new_id()

    first, second = [await windows.hit(parse("2/hour"), name) for _ in range(2)]
    await windows.close()

    assert first is not None
    assert second is not None
    assert first.reset_seconds == HOUR_SECONDS
    assert HOUR_SECONDS - 60 < second.reset_seconds <= HOUR_SECONDS


@pytest.mark.usefixtures("patient")
async def test_all_counts_are_kept_in_one_slot(redis_server: RedisServer) -> None:
    windows = RedisWindows(redis_server.url)
    for name in ("acme", "{globex}", "10.0.0.1"):
        await windows.hit(parse("2/hour"), name)
    await windows.close()

    async with Redis.from_url(redis_server.url) as client:
        keys = [key async for key in client.scan_iter(match=f"{PREFIX}*")]

    assert len(keys) >= 3
    assert {key_slot(key) for key in keys} == {key_slot(PREFIX.encode())}
