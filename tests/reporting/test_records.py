"""What the reporting service keeps about persons: declared, exported, erased."""

from __future__ import annotations

import secrets

from services.kernel.database import Database
from services.reporting.store.records import RECORDS
from tests.support.database import connection, migrated
from tests.support.records import (
    erased,
    every_statement_runs,
    exported,
    records_stub,
    serving_records,
    stale,
    tables_with,
    undeclared,
)


async def test_every_column_that_may_name_a_person_is_declared(owner_url: str) -> None:
    service = await migrated(owner_url, "reporting")

    async with connection(service.owner_url) as driver:
        assert await undeclared(driver, RECORDS) == []
        assert await stale(driver, RECORDS) == []


async def test_every_collection_is_exported_erased_and_trimmed(
    reporting_database: Database, tenant: str
) -> None:
    async with serving_records(reporting_database, RECORDS) as server:
        await every_statement_runs(records_stub(server, tenant), RECORDS)


async def test_an_erased_person_is_in_no_table(
    reporting_database: Database, tenant: str, owner_url: str
) -> None:
    person, pseudonym = f"u{secrets.token_hex(6)}", f"erased-{secrets.token_hex(6)}"
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO reporting.anomaly_change (tenant_id, kind, payload) VALUES ($1, 'x', $2)",
            tenant,
            f'{{"actor": "{person}", "amount": "1.10", "owners": ["eve", "{person}"]}}'.encode(),
        )
        await tx.driver.execute(
            "INSERT INTO reporting.maintenance_window (tenant_id, window_id, display_name,"
            " start_at, end_at, filter, author, created_at)"
            " VALUES ($1, 'w', 'Move', now(), now() + interval '1 hour', $3, $2, now())",
            tenant,
            person,
            f'user_id = "{person}"',
        )

    async with serving_records(reporting_database, RECORDS) as server:
        stub = records_stub(server, tenant)
        records = await exported(stub, person)
        changed = await erased(stub, person, pseudonym)
        left = await erased(stub, person, pseudonym, dry_run=True)

    assert (
        {name for name, _ in records}
        == set(changed)
        == {
            "reporting.anomaly_change",
            "reporting.maintenance_window",
        }
    )
    assert left == {}
    async with connection(owner_url) as driver:
        assert await tables_with(driver, "reporting", person) == []
        payload = await driver.fetchval(
            "SELECT payload FROM reporting.anomaly_change WHERE tenant_id = $1", tenant
        )
        assert payload.decode() == (
            f'{{"actor": "{pseudonym}", "amount": "1.10", "owners": ["eve", "{pseudonym}"]}}'
        )
