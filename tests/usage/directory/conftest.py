"""A server of the directory, and who calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from finops.usage.v1 import directory_service_pb2_grpc

from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.usage.api.directory import DirectoryServicer
from services.usage.service.directory import Departments, Tenants, Users
from services.usage.service.tenant_context import TenantContexts
from tests.support.server import LocalServer, serving
from tests.usage.directory.calls import Stub, stub_of


@pytest.fixture(scope="package")
def served_contexts(usage_database: Database) -> TenantContexts:
    """What the server's own process keeps of tenants."""
    return TenantContexts(usage_database)


@pytest.fixture(scope="package")
async def server(
    usage_database: Database, served_contexts: TenantContexts
) -> AsyncIterator[LocalServer]:
    tokens = PageTokens(b"secret of the tests")
    servicer = DirectoryServicer(
        tenants=Tenants(usage_database, tokens=tokens, contexts=served_contexts),
        departments=Departments(usage_database, tokens=tokens),
        users=Users(usage_database, tokens=tokens),
    )
    register = partial(directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server, servicer)
    async with serving(register, database=usage_database) as running:
        yield running


@pytest.fixture
async def stub(server: LocalServer, tenant: str) -> Stub:
    """An administrator of the test's own tenant."""
    return stub_of(server, tenant)


@pytest.fixture
async def platform(server: LocalServer, tenant: str) -> Stub:
    """A platform admin, who belongs to a tenant of their own."""
    return stub_of(server, f"{tenant}-platform", "platform_admin")
