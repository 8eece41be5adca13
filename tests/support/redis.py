"""A real Redis for the tests, of their own and so free to be killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.stack.redis import MISSING, EmbeddedRedis


class RedisServer:
    """A Redis that dies and comes back at the same address."""

    def __init__(self, embedded: EmbeddedRedis) -> None:
        self._embedded = embedded

    @property
    def url(self) -> str:
        return self._embedded.url

    async def start(self) -> None:
        await self._embedded.start()

    async def kill(self) -> None:
        """Kills the server as an outage would, with all it held."""
        pid = self._embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await self._embedded.stop()

    def pause(self) -> None:
        """Makes the server accept and never answer, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._embedded.pid
        assert pid is not None
        os.kill(pid, number)


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    """A running Redis; a test that kills it starts it again."""
    folder = Path(tempfile.mkdtemp(prefix="finops-test-redis-"))
    embedded = EmbeddedRedis(folder)
    if await embedded.start() is None:
        shutil.rmtree(folder)
        pytest.skip(MISSING)
    yield RedisServer(embedded)
    await embedded.stop()
    shutil.rmtree(folder)
