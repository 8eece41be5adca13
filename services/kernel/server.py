"""The one way a service serves: how it starts, what every server has, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from services.kernel import telemetry
from services.kernel.api_keys import ApiKeyDirectory
from services.kernel.auth import Authenticator
from services.kernel.database import Database
from services.kernel.drain import Drain
from services.kernel.envelope import Envelope
from services.kernel.interceptors import KernelInterceptor
from services.kernel.memory import settle_memory
from services.kernel.method_policy import require_complete
from services.kernel.settings import ServiceSettings
from services.kernel.tls import server_credentials
from services.kernel.wire import PING_SECONDS, PING_SECONDS_MIN, PING_TIMEOUT_SECONDS, SIZES
from services.kernel.workers import Worker, Workers

STREAM_NOTICE_SECONDS: Final = 1.0  # in which short streams end by themselves
SETTLE_SECONDS: Final = 0.2  # some round trips
WORKER_STOP_SECONDS: Final = 10.0

Register = Callable[[grpc.aio.Server], None]
log = structlog.get_logger(__name__)

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    *SIZES,
    # Two processes on one port would share its calls; the second is to fail instead.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_SECONDS_MIN * 1000),
    # Connections end now and then, between calls, so that new replicas get their share.
    ("grpc.max_connection_age_ms", 30 * 60_000),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has started. services: full names of what it serves, without health."""

    server: grpc.aio.Server
    port: int
    drain: Drain
    health: health.HealthServicer
    services: tuple[str, ...]

    async def stop(self, grace_seconds: float) -> None:
        """Says NOT_SERVING, takes no new call, and lets those in flight end within the grace."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace_seconds
        await self.health.enter_graceful_shutdown()
        self.drain.close()
        # Watchers hear of it, and calls on their way are told to go elsewhere instead of cut.
        await asyncio.sleep(min(SETTLE_SECONDS, grace_seconds))
        await self.drain.idle(min(STREAM_NOTICE_SECONDS, max(0.0, ends - loop.time())))
        self.drain.begin()
        await self.drain.idle(max(0.0, ends - loop.time()))
        await self.server.stop(min(SETTLE_SECONDS, grace_seconds))


class _Recorder:
    """Stands in for the server while services register, to learn and check what it will serve."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Keeps the handlers."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Leaves pre-registration out, which generated code asks for on top of the above.

        grpc.aio waits on one future for each method registered so: with forty of them a call takes
        a third longer.
        """

    def services(self) -> tuple[str, ...]:
        """Returns the full names of the services."""
        return tuple(
            handler.service_name()
            for handler in self.handlers
            if isinstance(handler, grpc.ServiceRpcHandler)
        )


async def start(
    settings: ServiceSettings,
    servicers: Sequence[Register],
    *,
    authenticator: Authenticator,
    database: Database | None = None,
    requires_audit: bool = False,
    envelope: Envelope | None = None,
) -> Running:
    """Starts a server that is healthy at once.

    servicers: `functools.partial(add_XServicer_to_server, servicer)` of each service.
    envelope: seals the answers that are kept for repeated calls.
    Raises ContractIncomplete before it listens, RuntimeError when the address is taken.
    """
    recorder: Any = _Recorder()
    for register in servicers:
        register(recorder)
    services: tuple[str, ...] = recorder.services()
    require_complete(services)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, recorder)
    names = [*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    names.append(reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        reflection.aio.ReflectionServicer(names), recorder
    )
    drain = Drain()
    interceptor = KernelInterceptor(
        authenticator,
        database=database,
        drain=drain,
        requires_audit=requires_audit,
        envelope=envelope,
    )
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=_OPTIONS,
        maximum_concurrent_rpcs=settings.concurrent_calls_max,
    )
    server.add_generic_rpc_handlers(recorder.handlers)
    credentials = server_credentials(settings)
    if credentials is None:
        port = server.add_insecure_port(settings.listen)
    else:
        port = server.add_secure_port(settings.listen, credentials)
    await server.start()
    for name in services:
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    return Running(server, port, drain, checks, services)


async def serve(
    *,
    name: str,
    settings: ServiceSettings,
    servicers: Sequence[Register],
    database: Database | None = None,
    api_keys: ApiKeyDirectory | None = None,
    workers: Sequence[Worker] = (),
    closing: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (),
    envelope: Envelope | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops: calls, workers, `closing`, database.

    name: of the service. closing: closes what else the bootstrap opened, channels and caches.
    A second signal cuts the drain short.
    """
    with _signals() as stop:
        # What is opened first is closed last: calls end, then workers, then what both need.
        async with AsyncExitStack() as stack:
            told = telemetry.configure(name, settings)
            stack.callback(told.close)
            if database is not None:
                stack.push_async_callback(database.close)
            for close in closing:
                stack.push_async_callback(close)
            background = Workers(workers)
            stack.push_async_callback(background.stop, WORKER_STOP_SECONDS)
            running = await start(
                settings,
                servicers,
                authenticator=Authenticator.from_settings(settings, api_keys=api_keys),
                database=database,
                envelope=envelope,
            )
            stack.push_async_callback(_drained, running, stop, settings.drain_seconds)
            settle_memory()
            background.start()
            _announce(running, settings, metrics_port=told.metrics_port)
            await stop.first.wait()
    log.info("stopped")


def run(service: Coroutine[Any, Any, None]) -> None:
    """Runs a service's `serve` on uvloop: what `python -m services.<name>` does."""
    uvloop.run(service)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Set by the first signal, and by a second one."""

    first: asyncio.Event
    second: asyncio.Event

    def signalled(self) -> None:
        """Takes note of a signal."""
        (self.second if self.first.is_set() else self.first).set()


@contextmanager
def _signals() -> Iterator[_Stop]:
    """Turns SIGTERM and SIGINT into a stop instead of an end, inside the block."""
    stop = _Stop(asyncio.Event(), asyncio.Event())
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.signalled)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _drained(running: Running, stop: _Stop, seconds: float) -> None:
    """Stops the server; at once, when a second signal asks for it."""
    log.info("draining", seconds=seconds)
    stopping = asyncio.ensure_future(running.stop(seconds))
    hurry = asyncio.ensure_future(stop.second.wait())
    await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not stopping.done():
        await running.server.stop(0)
    await stopping


def _announce(running: Running, settings: ServiceSettings, *, metrics_port: int | None) -> None:
    """Says where the server listens, in the log and, whole or not at all, in the port file."""
    if settings.port_file is not None:
        whole = settings.port_file.with_name(f"{settings.port_file.name}.{os.getpid()}")
        whole.write_text(f"{running.port}\n")
        whole.replace(settings.port_file)
    host = settings.listen.rpartition(":")[0]
    log.info(
        "listening",
        port=running.port,
        address=f"{host}:{running.port}",
        metrics_port=metrics_port,
        tls=settings.tls_certificate is not None,
        services=list(running.services),
    )
