"""The echo service as a process of its own: `python -m tests.support.echo_process`."""

from __future__ import annotations

import asyncio

import structlog

from services.kernel.server import run, serve
from services.kernel.settings import ServiceSettings
from tests.support.echo import EchoServicer, registered

log = structlog.get_logger(__name__)


class Noting:
    """A worker that says when it begins and ends."""

    name = "noting"

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Waits for `stop`."""
        log.info("worker begun")
        await self._stopped.wait()
        log.info("worker ended")

    async def stop(self) -> None:
        """Ends `run`."""
        self._stopped.set()


async def close() -> None:
    """Says that it was called."""
    log.info("closed")


async def main() -> None:
    """Serves until a signal comes."""
    await serve(
        name="echo",
        settings=ServiceSettings(),
        servicers=[registered(EchoServicer())],
        workers=[Noting()],
        closing=[close],
    )


if __name__ == "__main__":
    run(main())
