"""Starts the gateway: `python -m gateway`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from pydantic import ValidationError

from gateway.app import Gateway
from gateway.protocol import HttpProtocol
from gateway.settings import GatewaySettings
from services.kernel.settings import ServiceSettings
from services.kernel.telemetry import configure

BACKLOG = 2048

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Turns unready on the first signal, stops a moment later, and stops at once on the second."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, notice_seconds: float) -> None:
        """notice_seconds: how long balancers have to see that the gateway is unready."""
        super().__init__(config)
        self._gateway = gateway
        self._notice_seconds = notice_seconds
        self._is_draining = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remembers the loop, which signals need."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begins the stop. A stop that was asked for ends with exit code 0."""
        if self._is_draining or self._loop is None:
            self._exit()
            return
        self._is_draining = True
        self._gateway.begin_drain()
        self._loop.call_soon_threadsafe(self._exit_later)

    def _exit_later(self) -> None:
        log.info("draining", notice_seconds=self._notice_seconds)
        asyncio.get_running_loop().call_later(self._notice_seconds, self._exit)

    def _exit(self) -> None:
        self._gateway.end_streams()
        self.should_exit = True


def main() -> int:
    """Serves until a signal comes. Returns the process's exit code."""
    try:
        settings = GatewaySettings()
        telemetry = configure("gateway", ServiceSettings())
    except ValidationError as error:
        sys.stderr.writelines(_sentences(error))
        return os.EX_CONFIG
    try:
        gateway = Gateway(settings)
        listener = _listen(settings)
        config = _config(settings, gateway)
        _announce(listener.getsockname()[1], settings.port_file)
        Server(config, gateway, settings.drain_notice_seconds).run(sockets=[listener])
    finally:
        telemetry.close()
    return os.EX_OK


def _sentences(error: ValidationError) -> Iterator[str]:
    """Yields a line for each wrong setting: its variable and what is wrong, not its value."""
    for each in error.errors():
        name = ".".join(str(part) for part in each["loc"]).upper()
        prefix = "" if name.startswith("FINOPS_") or not name else "FINOPS_GATEWAY_"
        yield f"{prefix}{name}: {each['msg']}\n"


def _config(settings: GatewaySettings, gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        limit_concurrency=settings.connections_max,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


def _listen(settings: GatewaySettings) -> socket.socket:
    host, port = settings.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def _announce(port: int, port_file: Path | None) -> None:
    log.info("listening", port=port)
    if port_file is not None:
        scratch = port_file.with_name(f"{port_file.name}.new")
        scratch.write_text(f"{port}\n")
        scratch.replace(port_file)


if __name__ == "__main__":
    sys.exit(main())
