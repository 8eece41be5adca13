"""A migrated usage service, and what its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.kernel.database import Database, PoolLimits
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed
from tests.support.database import ServiceDatabase, migrated


@pytest.fixture(scope="session")
async def usage_service(owner_url: str) -> ServiceDatabase:
    """The usage service's migrated database."""
    return await migrated(owner_url, "usage")


@pytest.fixture(scope="session")
async def usage_database(usage_service: ServiceDatabase) -> AsyncIterator[Database]:
    """The usage service's connections."""
    database = usage_service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@pytest.fixture
def contexts(usage_database: Database) -> TenantContexts:
    """Contexts that know nothing yet."""
    return TenantContexts(usage_database)


@pytest.fixture
def recorder(usage_database: Database, contexts: TenantContexts) -> Recorder:
    """Records usage into the test's database."""
    return Recorder(usage_database, contexts, CostFeed(usage_database))
