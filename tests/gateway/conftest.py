"""The example server and a gateway before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.descriptors import Catalog
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.example_server import ExampleServer
from tests.gateway.served import served

SERVED = frozenset(f"example.v1.{name}Service" for name in ("Thing", "Stream", "Strict"))
ALICE = {"authorization": "Bearer alice"}


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog(example_image())


@pytest.fixture(scope="session")
async def example(catalog: Catalog) -> AsyncIterator[ExampleServer]:
    server = ExampleServer(catalog, SERVED)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def settings(example: ExampleServer) -> GatewaySettings:
    return GatewaySettings(
        peers={"example": f"127.0.0.1:{example.port}"},
        heartbeat_seconds=0.1,
        first_item_seconds=0.2,
        json_bytes_max=1 << 20,
        body_bytes_max=2 << 20,
        line_bytes_max=1 << 16,
        target_bytes_max=20_000,
        anonymous_limit="100000/second",
        credential_limit="100000/second",
        tenant_limit="100000/second",
    )


@pytest.fixture(scope="session")
async def address(settings: GatewaySettings) -> AsyncIterator[str]:
    async with served(settings, example_image()) as (url, _):
        yield url


@pytest.fixture(scope="session")
async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, headers=ALICE, timeout=20) as found:
        yield found
