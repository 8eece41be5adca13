"""Calls to another service: what its failures mean to our own caller."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from finops.usage.v1 import api_key_service_pb2, api_key_service_pb2_grpc

from services.kernel.client import (
    PeerChannel,
    PeerTimeout,
    PeerUnavailable,
    UnknownPeer,
    acting_tenant,
    channel,
    on_behalf_of,
)
from tests.support.server import service_token_of, serving, settings_of

REQUEST = api_key_service_pb2.LookUpApiKeyRequest(key_id="key")


class Silent(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """Answers nothing until it is cancelled."""

    async def LookUpApiKey(  # noqa: N802 - the contract's name
        self, _: api_key_service_pb2.LookUpApiKeyRequest, __: Any
    ) -> api_key_service_pb2.LookUpApiKeyResponse:
        await asyncio.Event().wait()
        return api_key_service_pb2.LookUpApiKeyResponse()


@pytest.fixture
async def silent() -> AsyncIterator[PeerChannel]:
    """A channel to a service that never answers."""
    make: Any = Silent  # the stubs make every method abstract
    register = partial(api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server, make())
    async with serving(register) as server:
        yield server.channel_with(service_token_of(tenant=""))


@pytest.fixture
async def nobody() -> AsyncIterator[PeerChannel]:
    """A channel to a port that is taken, but where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        async with PeerChannel(target, peer="usage", authorization=str) as found:
            yield found


async def test_a_peer_that_is_not_there_is_unavailable(nobody: PeerChannel) -> None:
    stub = api_key_service_pb2_grpc.ApiKeyServiceStub(nobody)

    with pytest.raises(PeerUnavailable) as caught:
        await stub.LookUpApiKey(REQUEST)

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == "PEER_UNAVAILABLE"
    assert caught.value.metadata == {"peer": "usage"}


async def test_a_peer_that_does_not_answer_runs_out_of_time(silent: PeerChannel) -> None:
    stub = api_key_service_pb2_grpc.ApiKeyServiceStub(silent)

    with pytest.raises(PeerTimeout) as caught:
        await stub.LookUpApiKey(REQUEST, timeout=0.2)

    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.reason == "PEER_TIMEOUT"
    assert caught.value.metadata == {"peer": "local"}


async def test_a_peer_has_to_be_configured() -> None:
    with pytest.raises(UnknownPeer, match="FINOPS_PEERS"):
        channel("usage", settings_of(), service="budget")


def test_work_that_nobody_asked_for_acts_for_the_tenant_it_names() -> None:
    with on_behalf_of("acme"):
        inside = acting_tenant()

    assert (inside, acting_tenant()) == ("acme", "")
