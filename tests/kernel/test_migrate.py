"""What a migrated schema allows, and to whom."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import pytest

from services.kernel.database import Database
from services.kernel.migrate import (
    UnsafeRole,
    migrate,
    role_password,
    service_role,
    service_url,
)
from tests.support.database import (
    KERNEL_MIGRATIONS,
    KERNEL_SERVICE,
    SECRET,
    ServiceDatabase,
    connection,
    fresh_database,
    migrated,
)


def test_service_url_replaces_the_login_and_keeps_the_rest() -> None:
    url = service_url("postgresql://owner:p%40ss@db:5433/finops?sslmode=require", "finops_x", "s")

    assert url == (
        f"postgresql://finops_x:{role_password('finops_x', 's')}@db:5433/finops?sslmode=require"
    )


def test_two_roles_and_two_secrets_give_four_passwords() -> None:
    passwords = {role_password(role, secret) for role in ("a", "b") for secret in ("1", "2")}

    assert len(passwords) == 4


async def test_migrating_again_and_at_once_changes_nothing(owner_url: str) -> None:
    async with fresh_database(owner_url) as url:
        revisions = await asyncio.gather(
            *(
                migrate(url, KERNEL_SERVICE, secret=SECRET, migrations=KERNEL_MIGRATIONS)
                for _ in range(4)
            )
        )

        async with connection(url) as driver:
            versions = await driver.fetch(f"SELECT * FROM {KERNEL_SERVICE}.alembic_version")
    assert revisions == ["0001"] * 4
    assert [version["version_num"] for version in versions] == ["0001"]


async def test_two_databases_of_one_server_migrate_at_once(owner_url: str) -> None:
    async with fresh_database(owner_url) as one, fresh_database(owner_url) as other:
        services = await asyncio.gather(
            *(migrated(url, KERNEL_SERVICE, KERNEL_MIGRATIONS) for url in (one, other))
        )

        for service in services:
            async with connection(service.url) as driver:
                assert await driver.fetchval("SELECT current_user") == service_role(KERNEL_SERVICE)


async def test_an_owner_that_is_no_superuser_can_migrate(owner_url: str) -> None:
    async with fresh_database(owner_url) as url:
        name = f"plain_owner_{os.getpid()}"
        async with connection(url) as driver:
            database = await driver.fetchval("SELECT current_database()")
            # A service of its own, because a role belongs to whoever created it.
            await driver.execute(f"""
                CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{role_password(name, SECRET)}';
                GRANT CREATE ON DATABASE {database} TO {name};
            """)
        try:
            plain = service_url(url, name, SECRET)
            await migrate(plain, "plain_test", secret=SECRET, migrations=KERNEL_MIGRATIONS)
            await migrate(plain, "plain_test", secret=SECRET, migrations=KERNEL_MIGRATIONS)

            service = ServiceDatabase("plain_test", plain)
            database_of_service = service.connect()
            async with database_of_service.transaction("acme") as tx:
                await tx.driver.execute("INSERT INTO note VALUES ('acme', 'n', 'text')")
                await tx.driver.execute(_AUDIT, "acme")
            async with database_of_service.system_transaction() as tx:
                assert await tx.driver.fetchval("SELECT count(*) FROM audit_entry") == 1
            await database_of_service.close()
        finally:
            async with connection(url) as driver:
                await driver.execute(f"""
                    DROP OWNED BY {name} CASCADE;
                    DROP ROLE finops_plain_test, finops_plain_test_worker, {name};
                """)


async def test_a_role_that_bypasses_row_security_is_refused(owner_url: str) -> None:
    role = service_role("unsafe_test")
    async with connection(owner_url) as driver:
        await driver.execute(f"CREATE ROLE {role} BYPASSRLS")
        try:
            with pytest.raises(UnsafeRole) as caught:
                await migrate(owner_url, "unsafe_test", secret=SECRET, migrations=KERNEL_MIGRATIONS)
        finally:
            await driver.execute(f"DROP ROLE {role}")

    assert caught.value.reason == "UNSAFE_ROLE"
    assert caught.value.metadata == {"role": role}


async def test_without_a_tenant_the_service_role_sees_no_row(
    kernel_service: ServiceDatabase, database: Database, tenant: str
) -> None:
    async with database.transaction(tenant) as tx:
        await tx.driver.execute("INSERT INTO note VALUES ($1, 'n', 'text')", tenant)
        await tx.driver.execute(_AUDIT, tenant)

    async with connection(kernel_service.url) as driver:
        tables = await driver.fetch(
            """SELECT DISTINCT table_name FROM information_schema.columns
            WHERE table_schema = $1 AND column_name = 'tenant_id'""",
            KERNEL_SERVICE,
        )
        counts = [
            await driver.fetchval(f"SELECT count(*) FROM {KERNEL_SERVICE}.{table['table_name']}")
            for table in tables
        ]
    assert len(counts) >= 5
    assert set(counts) == {0}


async def test_a_tenant_neither_sees_nor_writes_anothers_rows(
    database: Database, tenant: str
) -> None:
    other = f"{tenant}-other"
    async with database.transaction(other) as tx:
        await tx.driver.execute("INSERT INTO note VALUES ($1, 'n', 'text')", other)

    async with database.transaction(tenant) as tx:
        assert await tx.driver.fetchval("SELECT count(*) FROM note") == 0
        assert await tx.driver.execute("UPDATE note SET text = 'changed'") == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with tx.savepoint():
                await tx.driver.execute("INSERT INTO note VALUES ($1, 'm', 'text')", other)


async def test_a_worker_sees_every_tenant(database: Database, tenant: str) -> None:
    tenants = {tenant, f"{tenant}-other"}
    for name in tenants:
        async with database.transaction(name) as tx:
            await tx.driver.execute("INSERT INTO note VALUES ($1, 'n', 'text')", name)

    async with database.system_transaction() as tx:
        rows = await tx.driver.fetch(
            "SELECT tenant_id FROM note WHERE starts_with(tenant_id, $1)", tenant
        )
    assert {row["tenant_id"] for row in rows} == tenants


_AUDIT = """
    INSERT INTO audit_entry
        (tenant_id, actor, credential_id, action, resource, request_id, trace_id)
    VALUES ($1, 'ada', '', 'note.create', 'notes/n', '', '')
"""
