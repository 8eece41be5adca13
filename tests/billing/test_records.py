"""What the billing service keeps about persons: declared, exported, erased."""

from __future__ import annotations

from services.billing.store.records import RECORDS
from services.kernel.database import Database
from tests.support.records import (
    collections_that_forget,
    columns_are_declared,
    every_statement_runs,
    records_stub,
    serving_records,
)


async def test_every_column_that_may_name_a_person_is_declared(owner_url: str) -> None:
    await columns_are_declared(owner_url, RECORDS)


async def test_every_collection_is_exported_erased_and_trimmed(
    billing_database: Database, tenant: str
) -> None:
    async with serving_records(billing_database, RECORDS) as server:
        await every_statement_runs(records_stub(server, tenant), RECORDS)


async def test_an_erased_person_is_in_no_table(
    billing_database: Database, tenant: str, owner_url: str
) -> None:
    row = (
        "INSERT INTO billing.metered_dimension VALUES ($1, '7', 'llm', 'call', 'USD', $2, '',"
        " '', '', '', '', '', '', '', '', jsonb_build_object('by', $2::text))"
    )

    found = await collections_that_forget(
        billing_database, RECORDS, tenant, owner_url, feed="billing.billing_change", rows=[row]
    )

    assert found == {"billing.metered_dimension", "billing.change"}
