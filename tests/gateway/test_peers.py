"""Services behind the gateway that are not there yet, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import httpx
import pytest

from gateway.descriptors import Catalog
from gateway.peers import Peers, ServiceUnavailable
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.served import served


@pytest.fixture
def unreachable() -> Iterator[str]:
    """An address that is taken, but where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_a_service_that_no_peer_has_offered_is_unavailable(
    catalog: Catalog, unreachable: str
) -> None:
    methods = catalog.methods
    settings = GatewaySettings(peers={"example": unreachable})
    peers = Peers(settings, methods, on_change=lambda: None)

    await peers.start()
    try:
        with pytest.raises(ServiceUnavailable) as caught:
            peers.of(methods[0])
    finally:
        await peers.stop()

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert (caught.value.reason, caught.value.metadata) == ("SERVICE_UNAVAILABLE", {})
    assert peers.states == {"example": False}
    assert not peers.is_ready


async def test_a_route_of_a_peer_that_has_not_come_up_says_so(unreachable: str) -> None:
    settings = GatewaySettings(peers={"example": unreachable})

    async with (
        served(settings, example_image()) as (url, _),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        offered_later = await client.get("/v1/absent")
        unknown = await client.get("/v1/nowhere")

    assert offered_later.status_code == 503
    assert offered_later.json()["error"]["details"][0]["reason"] == "SERVICE_UNAVAILABLE"
    assert unknown.status_code == 404


async def test_a_route_that_no_peer_offers_is_none_once_all_are_known(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/v1/absent")).status_code == 404
