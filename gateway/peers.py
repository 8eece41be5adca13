"""The services behind the gateway: where each is, and whether it is well.

A peer tells by reflection which services it offers, and by the health protocol whether it serves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.descriptors import Method
from gateway.settings import GatewaySettings
from services.kernel.errors import Unavailable

LIST_SERVICES: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CHECK_HEALTH: Final = "/grpc.health.v1.Health/Check"
PROBE_DEADLINE_SECONDS: Final = 2.0
# A peer that restarts is found again at once, not after grpc's default of up to two minutes.
RECONNECT_MILLISECONDS_MAX: Final = 1000
SAFE_ATTEMPTS_MAX: Final = 3

log = structlog.get_logger(__name__)


class ServiceUnavailable(Unavailable):
    """No peer offers this service yet; retry with backoff."""

    reason = "SERVICE_UNAVAILABLE"


@dataclass(slots=True, eq=False)
class Peer:
    """One process of services."""

    name: str
    target: str
    channel: grpc.aio.Channel
    services: frozenset[str] = frozenset()
    is_serving: bool = False
    was_serving: bool = False
    calls: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def call(self, method: Method) -> Callable[..., Any]:
        """Returns the callable of a method; it takes and gives bytes."""
        found = self.calls.get(method.path)
        if found is None:
            kinds: dict[str, Callable[[str], Callable[..., Any]]] = {
                "unary": self.channel.unary_unary,
                "server_streaming": self.channel.unary_stream,
                "client_streaming": self.channel.stream_unary,
                "bidi_streaming": self.channel.stream_stream,
            }
            found = self.calls[method.path] = kinds[method.descriptor.method_kind](method.path)
        return found


class Peers:
    """All configured peers, probed until the gateway stops."""

    def __init__(
        self,
        settings: GatewaySettings,
        methods: Iterable[Method],
        *,
        on_change: Callable[[], None],
    ) -> None:
        """Opens no connection yet.

        methods: tells which calls are safe to retry.
        on_change: called when a peer offers other services than before.
        """
        self._settings = settings
        self._methods = tuple(methods)
        self._peers: list[Peer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._by_service: dict[str, Peer] = {}
        self._on_change = on_change

    async def start(self) -> None:
        """Opens the channels and begins to probe; returns after the first round of probes."""
        options = _channel_options(self._settings, self._methods)
        credentials = _credentials(self._settings)
        for name, target in self._settings.peers.items():
            channel = (
                grpc.aio.insecure_channel(target, options=options)
                if credentials is None
                else grpc.aio.secure_channel(target, credentials, options=options)
            )
            self._peers.append(Peer(name, target, channel))
        await self.probe()
        self._tasks = [asyncio.create_task(self._watch(peer)) for peer in self._peers]

    async def stop(self) -> None:
        """Ends the probes and closes the channels."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(peer.channel.close() for peer in self._peers))

    async def probe(self) -> None:
        """Asks every peer now; at most `PROBE_DEADLINE_SECONDS`."""
        await asyncio.gather(*(self._probe(peer) for peer in self._peers))

    def of(self, method: Method) -> Peer:
        """Returns the peer that offers the method's service. Raises ServiceUnavailable."""
        peer = self._by_service.get(method.service)
        if peer is None:
            raise ServiceUnavailable
        return peer

    def offers(self, service: str) -> bool:
        """Tells whether a peer has offered the service since the gateway started."""
        return service in self._by_service

    @property
    def services(self) -> frozenset[str]:
        """The services that peers have offered since the gateway started."""
        return frozenset(self._by_service)

    @property
    def are_all_known(self) -> bool:
        """Whether every peer has answered once, so that an unknown service is none at all."""
        return all(peer.services for peer in self._peers)

    @property
    def states(self) -> dict[str, bool]:
        """Whether each peer serves, by name."""
        return {peer.name: peer.is_serving for peer in self._peers}

    @property
    def is_ready(self) -> bool:
        """Whether traffic can be taken.

        At first every peer must have served; later one that serves is enough, because to fall out
        of the balancer with one peer would take the others down too.
        """
        if not self._peers:
            return False
        has_started = all(peer.was_serving for peer in self._peers)
        return has_started and any(peer.is_serving for peer in self._peers)

    async def _watch(self, peer: Peer) -> None:
        while True:
            await asyncio.sleep(self._settings.probe_seconds)
            await self._probe(peer)

    async def _probe(self, peer: Peer) -> None:
        try:
            is_serving = await _is_serving(peer)
            if is_serving:
                self._adopt(peer, await _services(peer))
        except grpc.aio.AioRpcError as error:
            is_serving = False
            if peer.is_serving:
                log.warning("peer lost", peer=peer.name, code=error.code().name)
        if is_serving and not peer.is_serving:
            log.info("peer serves", peer=peer.name, services=len(peer.services))
        peer.is_serving = is_serving
        peer.was_serving = peer.was_serving or is_serving

    def _adopt(self, peer: Peer, services: frozenset[str]) -> None:
        if services == peer.services:
            return
        peer.services = services
        # The first peer of the configuration keeps a service that several offer.
        self._by_service = {
            service: peer for peer in reversed(self._peers) for service in peer.services
        }
        self._on_change()


async def _is_serving(peer: Peer) -> bool:
    check = peer.channel.unary_unary(
        CHECK_HEALTH,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer: health_pb2.HealthCheckResponse = await check(
        health_pb2.HealthCheckRequest(), timeout=PROBE_DEADLINE_SECONDS
    )
    return answer.status == health_pb2.HealthCheckResponse.SERVING


async def _services(peer: Peer) -> frozenset[str]:
    reflect = peer.channel.stream_stream(
        LIST_SERVICES,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    found: set[str] = set()
    async for answer in reflect(requests(), timeout=PROBE_DEADLINE_SECONDS):
        found.update(service.name for service in answer.list_services_response.service)
    return frozenset(found)


def _channel_options(settings: GatewaySettings, methods: Iterable[Method]) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", settings.message_bytes_max),
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MILLISECONDS_MAX),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.service_config", json.dumps(_service_config(methods))),
    ]
    if settings.peer_server_name:
        options.append(("grpc.ssl_target_name_override", settings.peer_server_name))
    return options


def _service_config(methods: Iterable[Method]) -> dict[str, Any]:
    """Retries calls that only read, while a peer restarts; the caller retries the others."""
    safe = [
        {"service": method.service, "method": method.name}
        for method in methods
        if not method.gives_stream and all(binding.verb == "GET" for binding in method.bindings)
    ]
    policy = {
        "maxAttempts": SAFE_ATTEMPTS_MAX,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": safe, "retryPolicy": policy}] if safe else []}


def _credentials(settings: GatewaySettings) -> grpc.ChannelCredentials | None:
    if settings.peer_ca is None:
        return None
    certificate, key = settings.peer_certificate, settings.peer_key
    return grpc.ssl_channel_credentials(
        settings.peer_ca.read_bytes(),
        None if key is None else key.read_bytes(),
        None if certificate is None else certificate.read_bytes(),
    )
