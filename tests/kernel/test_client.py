"""How a service calls another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kernel import client
from services.kernel.caller import acting_as, caller_or_none, service_caller
from services.kernel.client import (
    PeerChannel,
    PeerTimeout,
    PeerUnavailable,
    UnknownPeer,
    acting_tenant,
    channel,
    on_behalf_of,
    service_config,
)
from services.kernel.deadline import set_deadline
from services.kernel.errors import Unavailable
from tests.support.echo import PACKAGE, EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import LocalServer, all_of, refused, serving, settings_of, token_of

HELLO = EchoRequest(text="hello")


class Context(EchoServicer):
    """Keeps what calls look like from the server's side."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.tenants: list[str] = []
        self.requests: list[Any] = []
        self.failures = 0

    async def echo(self, request: Any, context: Any) -> Any:
        caller = caller_or_none()
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds.append(context.time_remaining())
        self.tenants.append(caller.tenant_id if caller is not None else "")
        self.requests.append(request)
        if self.failures:
            self.failures -= 1
            raise Unavailable
        return await super().echo(request, context)

    greet = append = write = echo


def peer_of(server: LocalServer) -> PeerChannel:
    return channel("echo", settings_of(peers={"echo": server.target}), service="budget")


async def test_a_call_carries_the_services_token_and_the_callers_tenant() -> None:
    servicer = Context()
    async with serving(registered(servicer)) as server, peer_of(server) as peer:
        with acting_as(service_caller("reporting", "globex")):
            answer = await EchoStub(peer).Echo(HELLO)
        with on_behalf_of("initech"):
            await EchoStub(peer).Echo(HELLO)
        await EchoStub(peer).Echo(HELLO)

    assert answer.subject == "service:budget"
    assert servicer.tenants == ["globex", "initech", ""]


def test_work_on_behalf_of_a_tenant_comes_before_the_caller() -> None:
    with acting_as(service_caller("reporting", "globex")), on_behalf_of("initech"):
        assert acting_tenant() == "initech"
    assert acting_tenant() == ""


async def test_a_credential_that_is_passed_on_is_left_alone() -> None:
    metadata = [("authorization", f"Bearer {token_of('platform_admin')}")]
    async with serving(registered(EchoServicer())) as server, peer_of(server) as peer:
        answer = await EchoStub(peer).Echo(HELLO, metadata=metadata)

    assert answer.subject == "ada"


async def test_every_kind_of_call_gets_token_and_deadline() -> None:
    async def requests() -> AsyncIterator[Any]:
        yield HELLO

    async with serving(registered(EchoServicer())) as server, peer_of(server) as peer:
        stub = EchoStub(peer)
        joined = await stub.Join(requests())
        counted = await all_of(stub.Count(HELLO), most=2)
        chatted = await all_of(stub.Chat(requests()))

    assert [found.subject for found in (joined, *counted, *chatted)] == ["service:budget"] * 4


async def test_a_call_has_a_deadline_though_nobody_gave_one() -> None:
    servicer = Context()
    async with serving(registered(servicer)) as server, peer_of(server) as peer:
        await EchoStub(peer).Echo(HELLO)
        await EchoStub(peer).Echo(HELLO, timeout=3)

    assert servicer.seconds == pytest.approx([client.DEADLINE_SECONDS, 3], abs=1)


async def test_a_call_ends_no_later_than_the_one_it_serves() -> None:
    servicer = Context()

    async def serve(peer: PeerChannel) -> None:
        set_deadline(2)
        await EchoStub(peer).Echo(HELLO, timeout=60)

    async with serving(registered(servicer)) as server, peer_of(server) as peer:
        await asyncio.create_task(serve(peer))

    assert servicer.seconds == pytest.approx([2], abs=1)


async def test_a_peer_that_is_too_slow_is_a_timeout() -> None:
    async with serving(registered(EchoServicer())) as server, peer_of(server) as peer:
        with pytest.raises(PeerTimeout) as refusal:
            await EchoStub(peer).Echo(EchoRequest(text="x", seconds=60), timeout=0.05)

    assert refusal.value.metadata == {"peer": "echo"}


async def test_a_peer_that_is_away_is_unavailable() -> None:
    async with serving(registered(EchoServicer())) as server:
        target = server.target
    settings = settings_of(peers={"echo": target})
    async with channel("echo", settings, service="budget") as peer:
        with pytest.raises(PeerUnavailable) as refusal:
            await EchoStub(peer).Echo(HELLO, timeout=5)
        with pytest.raises(PeerUnavailable):
            await all_of(EchoStub(peer).Count(HELLO, timeout=5))

    assert refusal.value.metadata == {"peer": "echo"}


async def test_what_a_peer_refuses_stays_its_refusal() -> None:
    async with serving(registered(EchoServicer())) as server, peer_of(server) as peer:
        refusal = await refused(EchoStub(peer).Echo(EchoRequest()))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELD_VIOLATIONS",
    )


@pytest.mark.parametrize("method", ["Echo", "Write"])
async def test_what_is_repeatable_is_repeated(method: str) -> None:
    servicer = Context()
    servicer.failures = 2
    async with serving(registered(servicer), requires_audit=False) as server:
        await getattr(EchoStub(server.channel("platform_admin")), method)(HELLO)

    assert len(servicer.requests) == 3


async def test_a_repeated_change_is_known_by_its_request_id() -> None:
    servicer = Context()
    servicer.failures = 1
    async with serving(registered(servicer), requires_audit=False) as server:
        stub = EchoStub(server.channel("platform_admin"))
        await stub.Write(HELLO)
        await stub.Write(EchoRequest(text="x", request_id="mine"))

    first, second, third = (request.request_id for request in servicer.requests)
    assert first == second != ""
    assert third == "mine"
    assert HELLO.request_id == ""


async def test_what_may_have_had_its_effect_is_not_repeated() -> None:
    servicer = Context()
    servicer.failures = 1
    async with serving(registered(servicer), requires_audit=False) as server:
        with pytest.raises(PeerUnavailable):
            await EchoStub(server.channel("platform_admin")).Append(HELLO)

    assert len(servicer.requests) == 1


def test_retries_are_configured_method_by_method() -> None:
    configuration = json.loads(service_config(f"{PACKAGE}.EchoService"))
    names = [entry["method"] for entry in configuration["methodConfig"][0]["name"]]

    assert names == ["Echo", "Write", "Count", "Join", "Chat", "Greet"]


async def test_a_stream_that_is_left_is_cancelled_at_the_peer() -> None:
    stopped = asyncio.Event()

    class Watched(EchoServicer):
        async def count(self, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                while True:
                    yield await self.echo(request, context)
            finally:
                stopped.set()

    async with (
        serving(registered(Watched())) as server,
        peer_of(server) as peer,
        asyncio.timeout(10),
    ):
        answers = EchoStub(peer).Count(HELLO)
        await anext(answers)
        await answers.aclose()
        await stopped.wait()

    assert stopped.is_set()


async def test_a_channel_can_wait_for_its_peer() -> None:
    async with serving(registered(EchoServicer())) as server, peer_of(server) as peer:
        async with asyncio.timeout(10):
            await peer.channel_ready()
        health: Any = health_pb2_grpc.HealthStub
        answer = await health(peer).Check(health_pb2.HealthCheckRequest())
        state = peer.get_state()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert state is grpc.ChannelConnectivity.READY


def test_a_peer_that_is_not_configured_is_named() -> None:
    with pytest.raises(UnknownPeer, match="budget needs usage: add it to FINOPS_PEERS"):
        channel("usage", settings_of(), service="budget")


async def test_without_a_secret_calls_carry_no_token() -> None:
    servicer = Context()
    async with serving(registered(servicer)) as server:
        settings = settings_of(peers={"echo": server.target}, service_token_secret=None)
        async with channel("echo", settings, service="budget") as peer:
            await EchoStub(peer).Greet(HELLO)

    assert "authorization" not in servicer.metadata[0]
