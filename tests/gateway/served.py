"""Serves a gateway over a real socket within the test's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from prometheus_client import CollectorRegistry

from gateway.app import Gateway
from gateway.settings import GatewaySettings


class _Server(uvicorn.Server):
    """Leaves signals to the test runner, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(
    settings: GatewaySettings, image: bytes | None = None
) -> AsyncIterator[tuple[str, Gateway]]:
    """Yields the base address and the gateway."""
    gateway = Gateway(settings, image=image, meters=CollectorRegistry())
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        gateway, http="httptools", ws="none", lifespan="on", log_config=None, access_log=False
    )
    server = _Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    await asyncio.wait_for(server.is_up.wait(), 20)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", gateway
    finally:
        gateway.end_streams()
        server.should_exit = True
        await running
        listener.close()
