"""Brings a service's schema and roles up to date.

The owner may be a superuser, or any role that may create roles and create schemas in the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import structlog
from alembic.operations import Operations as AlembicOperations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from services.kernel.errors import FailedPrecondition
from services.kernel.schema import (
    create_data_key_table,
    create_feed_table,
    create_kernel_tables,
    create_record_tables,
    protect,
    run_script,
    service_role,
    worker_role,
)
from services.kernel.transaction import Driver

__all__ = [
    "create_data_key_table",
    "create_feed_table",
    "create_kernel_tables",
    "create_record_tables",
    "migrate",
    "protect",
    "role_password",
    "run_script",
    "service_role",
    "service_url",
    "worker_role",
]

log = structlog.get_logger(__name__)

# One lock for every service of a database, because roles and grants are shared catalogue rows.
MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"finops migration").digest()[:8], signed=True)
CONNECT_SECONDS = 10
LOCK_SECONDS = 300  # a migration of large tables may hold the lock for minutes
ROLE_ATTEMPTS = 10  # roles are shared by all databases of a server, which the lock does not cover
# Alembic's `op` is one for the whole process, so migrations of one process take turns.
_process_lock = asyncio.Lock()
SERVICES = Path(__file__).parents[1]


class UnsafeRole(FailedPrecondition):
    """A service's role bypasses row-level security; take SUPERUSER and BYPASSRLS from it."""

    reason = "UNSAFE_ROLE"


def role_password(role: str, secret: str) -> str:
    """Returns the password of a service's role: HMAC-SHA256(secret, role), hex."""
    return hmac.new(secret.encode(), role.encode(), hashlib.sha256).hexdigest()


def service_url(owner_url: str, role: str, secret: str) -> str:
    """Returns the owner's URL with a role of `service_role` or `worker_role` instead."""
    parts = urlsplit(owner_url)
    address = parts.netloc.rpartition("@")[2]
    login = f"{quote(role)}:{role_password(role, secret)}"
    return urlunsplit(parts._replace(netloc=f"{login}@{address}"))


async def migrate(
    owner_url: str, service: str, *, secret: str, migrations: Path | None = None
) -> str:
    """Creates or updates a service's roles, grants and schema, and returns the revision.

    migrations: the directory that holds `versions/`, default services/<service>/migrations.
    Two at once take turns. Each revision is one transaction, so that a killed run resumes.
    Raises UnsafeRole.
    """
    directory = migrations or SERVICES / service / "migrations"
    async with _process_lock, _locked(owner_url) as driver:
        for role in (service_role(service), worker_role(service)):
            await _ensure_role(driver, role, role_password(role, secret))
        await _grant(driver, service)
        revision = await _upgrade(owner_url, service, directory)
    log.info("schema migrated", service=service, revision=revision)
    return revision


@asynccontextmanager
async def _locked(owner_url: str) -> AsyncIterator[Driver]:
    driver = await asyncpg.connect(
        owner_url,
        timeout=CONNECT_SECONDS,
        server_settings={"application_name": "finops-migrate", "lock_timeout": f"{LOCK_SECONDS}s"},
    )
    try:
        await driver.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        yield driver
    finally:
        await driver.close()


async def _ensure_role(driver: Driver, role: str, password: str) -> None:
    """Creates the role, or gives it the password; neither statement can take parameters."""
    for attempt in range(1, ROLE_ATTEMPTS + 1):
        exists = await driver.fetchrow(
            "SELECT rolsuper OR rolbypassrls AS unsafe FROM pg_roles WHERE rolname = $1", role
        )
        if exists is not None and exists["unsafe"]:
            raise UnsafeRole(role=role)
        verb = "CREATE" if exists is None else "ALTER"
        try:
            await driver.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{password}'")
        except (
            asyncpg.DuplicateObjectError,
            asyncpg.UniqueViolationError,
            asyncpg.InternalServerError,  # "tuple concurrently updated"
        ):
            if attempt == ROLE_ATTEMPTS:
                raise
            await asyncio.sleep(0.02 * attempt)
        else:
            return


async def _grant(driver: Driver, service: str) -> None:
    roles = f"{service_role(service)}, {worker_role(service)}"
    await driver.execute(f"""
        BEGIN;
        CREATE SCHEMA IF NOT EXISTS {service};
        REVOKE ALL ON SCHEMA {service} FROM PUBLIC;
        GRANT USAGE ON SCHEMA {service} TO {roles};
        ALTER DEFAULT PRIVILEGES IN SCHEMA {service}
            GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {roles};
        ALTER DEFAULT PRIVILEGES IN SCHEMA {service}
            GRANT USAGE, SELECT ON SEQUENCES TO {roles};
        ALTER DEFAULT PRIVILEGES IN SCHEMA {service}
            GRANT EXECUTE ON FUNCTIONS TO {roles};
        COMMIT;
    """)


async def _upgrade(owner_url: str, service: str, directory: Path) -> str:
    async def connect() -> Driver:
        return await asyncpg.connect(
            owner_url,
            timeout=CONNECT_SECONDS,
            server_settings={
                "application_name": "finops-migrate",
                "search_path": service,
                "lock_timeout": f"{LOCK_SECONDS}s",
            },
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_run_revisions, service, directory)
    finally:
        await engine.dispose()


def _run_revisions(connection: Connection, service: str, directory: Path) -> str:
    """Runs what is missing, without an env.py: the same for every service."""
    script = ScriptDirectory(str(directory))
    head = script.get_current_head()
    if head is None:
        raise FileNotFoundError(f"no revision in {directory / 'versions'}")

    def missing(current: tuple[str, ...], _: MigrationContext) -> list[MigrationStep]:
        revisions = list(script.iterate_revisions(head, current or "base"))
        return [
            MigrationStep.upgrade_from_script(script.revision_map, revision)
            for revision in reversed(revisions)
        ]

    context = MigrationContext.configure(
        connection,
        opts={
            "fn": missing,
            "script": script,
            "version_table_schema": service,
            "transaction_per_migration": True,
        },
    )
    with AlembicOperations.context(context), context.begin_transaction():
        context.run_migrations()
    return head
