"""The embedded Redis keeps its address and is optional."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError

from cli.stack import redis as embedded
from cli.stack.binaries import redis_program
from cli.stack.redis import EmbeddedRedis

needs_redis = pytest.mark.skipif(redis_program() is None, reason="no redis-server for this Python")


@needs_redis
async def test_a_restart_after_kill_9_has_the_same_address(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = await server.start()
    assert url is not None
    assert server.pid is not None
    try:
        os.kill(server.pid, signal.SIGKILL)
        server._child.wait()  # type: ignore[union-attr]

        assert await server.start() == url

        async with redis.asyncio.from_url(url) as client:
            assert await client.set("key", "value")
    finally:
        await server.stop()
    assert server.pid is None


@needs_redis
async def test_the_server_wants_the_password_of_a_private_file(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = await server.start()
    assert url is not None
    try:
        async with redis.asyncio.from_url("redis://" + url.partition("@")[2]) as client:
            with pytest.raises(AuthenticationError):
                await client.get("key")
    finally:
        await server.stop()
    assert stat.S_IMODE((tmp_path / "redis.json").stat().st_mode) == 0o600


async def test_without_a_program_there_is_no_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "redis_program", lambda: None)

    assert await EmbeddedRedis(tmp_path).start() is None
