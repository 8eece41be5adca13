"""A real PostgreSQL for the tests: embedded, or the server that FINOPS_DATABASE_URL names.

Whatever server it is, the tests make a database of their own on it and drop it at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from cli.stack.postgres import EmbeddedPostgres
from services.kernel.database import Database, PoolLimits
from services.kernel.ids import new_id
from services.kernel.migrate import migrate, service_role, service_url, worker_role
from services.kernel.transaction import Driver

SECRET = "secret-of-the-test-roles"
KERNEL_SERVICE = "kernel_test"
KERNEL_MIGRATIONS = Path(__file__).parent / KERNEL_SERVICE
# Nothing survives the tests, so nothing has to reach the disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """The URLs of one migrated service."""

    service: str
    owner_url: str

    @property
    def url(self) -> str:
        return service_url(self.owner_url, service_role(self.service), SECRET)

    @property
    def worker_url(self) -> str:
        return service_url(self.owner_url, worker_role(self.service), SECRET)

    def connect(self, limits: PoolLimits | None = None) -> Database:
        """Returns a database for the service; the caller closes it."""
        return Database.connect(
            self.url, service=self.service, worker_url=self.worker_url, limits=limits
        )


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Driver]:
    """Opens a bare connection, to look at what happened or to act as a given role."""
    driver = await asyncpg.connect(url, timeout=10)
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def embedded_postgres(**options: str) -> AsyncIterator[EmbeddedPostgres]:
    """Starts a PostgreSQL of the test's own, for tests that stop or kill it."""
    folder = Path(tempfile.mkdtemp(prefix="finops-test-"))
    server = EmbeddedPostgres(folder, options=options or FAST)
    try:
        await server.start()
        yield server
    finally:
        await server.remove()
        shutil.rmtree(folder)


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """Makes an empty database on a server, and yields its owner's URL."""
    name = f"finops_test_{new_id()}"
    async with connection(server_url) as driver:
        await driver.execute(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        async with connection(server_url) as driver:
            await driver.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def migrated(owner_url: str, service: str, migrations: Path | None = None) -> ServiceDatabase:
    """Migrates a service and returns its URLs."""
    await migrate(owner_url, service, secret=SECRET, migrations=migrations)
    return ServiceDatabase(service, owner_url)


@pytest.fixture(scope="session")
async def owner_url() -> AsyncIterator[str]:
    """The owner's URL of a database for this run of the tests."""
    configured = os.environ.get("FINOPS_DATABASE_URL")
    if configured is not None:
        async with fresh_database(configured) as url:
            yield url
    else:
        async with embedded_postgres() as server:
            yield server.url


@pytest.fixture(scope="session")
async def kernel_service(owner_url: str) -> ServiceDatabase:
    """A service that has the kernel's tables and a few of the tests' own."""
    return await migrated(owner_url, KERNEL_SERVICE, KERNEL_MIGRATIONS)


@pytest.fixture(scope="session")
async def database(kernel_service: ServiceDatabase) -> AsyncIterator[Database]:
    """The test service's database."""
    database = kernel_service.connect(PoolLimits(connections=20))
    yield database
    await database.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{new_id()}"
