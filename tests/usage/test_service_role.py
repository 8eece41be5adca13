"""What the database grants the service's own role: the rows of the tenant that it names."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from services.kernel.database import Database
from services.kernel.transaction import Driver
from services.usage.tables import GLOBAL_TENANT, metadata
from tests.support.database import ServiceDatabase, connection

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TENANT_TABLES = {table.name for table in metadata.tables.values() if "tenant_id" in table.columns}


async def fill(owner: Driver, table: str, tenant: str) -> None:
    """Puts a row into a table, whatever its columns are, past every check but the types."""
    columns = await owner.fetch(
        """SELECT column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'usage' AND table_name = $1 AND is_nullable = 'NO'
        AND is_identity = 'NO'""",
        table,
    )
    values = {
        "text": "'x'",
        "bytea": "'x'",
        "jsonb": "'{}'",
        "boolean": "false",
        "ARRAY": "'{}'",
        "date": f"'{NOON.date()}'",
        "timestamp with time zone": f"'{NOON.isoformat()}'",
    }
    pairs = {row["column_name"]: values.get(row["data_type"], "'1'") for row in columns} | {
        "tenant_id": f"'{tenant}'"
    }
    if "key_id" in pairs:
        pairs["key_id"] = f"'{tenant}'"  # unique over all tenants
    await owner.execute(
        f"INSERT INTO usage.{table} ({', '.join(pairs)}) OVERRIDING SYSTEM VALUE "
        f"VALUES ({', '.join(pairs.values())}) ON CONFLICT DO NOTHING"
    )


async def fill_all(service: ServiceDatabase, tenant: str) -> list[str]:
    """Fills every table that has tenants, those of the kernel too, and names them."""
    async with connection(service.owner_url) as owner, owner.transaction():
        await owner.execute("SELECT usage.make_event_partition($1)", NOON.date())
        found = await owner.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'usage'::regnamespace AND a.attname = 'tenant_id'
            AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"""
        )
        await owner.execute("SET LOCAL session_replication_role = replica")
        names = [row["relname"] for row in found]
        for table in names:
            await fill(owner, table, tenant)
    return names


async def rows_seen(driver: Driver, table: str) -> int:
    # What the tenant `*` owns is everybody's: public prices.
    count = await driver.fetchval(
        f"SELECT count(*) FROM usage.{table} WHERE tenant_id <> '{GLOBAL_TENANT}'"
    )
    return int(count)


async def test_the_services_role_sees_no_row_without_a_tenant(
    usage_service: ServiceDatabase, tenant: str
) -> None:
    tables = await fill_all(usage_service, tenant)

    assert set(tables) >= TENANT_TABLES
    async with connection(usage_service.owner_url) as owner:
        assert [table for table in tables if not await rows_seen(owner, table)] == []
    async with connection(usage_service.url) as service:
        for named in (None, "", "%", f"{tenant}' OR true --"):
            if named is not None:
                await service.execute("SELECT set_config('app.tenant_id', $1, false)", named)
            assert [table for table in tables if await rows_seen(service, table)] == []
        await service.execute("SELECT set_config('app.tenant_id', $1, false)", tenant)
        assert [table for table in tables if await rows_seen(service, table) != 1] == []


async def test_the_services_role_writes_for_no_other_tenant(
    usage_service: ServiceDatabase, tenant: str
) -> None:
    async with connection(usage_service.url) as service:
        await service.execute("SELECT set_config('app.tenant_id', $1, false)", tenant)
        for owner in (f"{tenant}-other", GLOBAL_TENANT):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(
                    "INSERT INTO usage.price_book (tenant_id, price_book_id, display_name) "
                    "VALUES ($1, 'x', 'x')",
                    owner,
                )


async def test_partitions_are_reached_through_their_parent_alone(
    usage_service: ServiceDatabase, usage_database: Database, tenant: str
) -> None:
    async with connection(usage_service.owner_url) as owner:
        await owner.execute("SELECT usage.make_event_partition($1)", NOON.date())
        found = await owner.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'usage.event'::regclass"
        )
    assert found
    async with usage_database.transaction(tenant) as tx:
        for (partition,) in found:
            for statement in ("SELECT * FROM", "DELETE FROM", "TRUNCATE"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with tx.savepoint():
                        await tx.driver.execute(f"{statement} {partition}")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT usage.drop_event_partition('2026-03-01')",
        "SET ROLE finops_usage_worker",
        "ALTER TABLE usage.event DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant_isolation ON usage.event",
        "SET row_security = off; SELECT * FROM usage.event",
        "CREATE TABLE usage.mine (a int)",
        "UPDATE usage.audit_entry SET actor = 'eve'",
        "COPY usage.event TO PROGRAM 'cat'",
    ],
)
async def test_the_services_role_does_not_widen_its_rights(
    usage_service: ServiceDatabase, statement: str
) -> None:
    async with connection(usage_service.url) as service:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)
