"""What the optimizer service keeps about persons: declared, exported, erased."""

from __future__ import annotations

from services.kernel.database import Database
from services.optimizer.store.records import RECORDS
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
    optimizer_database: Database, tenant: str
) -> None:
    async with serving_records(optimizer_database, RECORDS) as server:
        await every_statement_runs(records_stub(server, tenant), RECORDS)


async def test_an_erased_person_is_in_no_table(
    optimizer_database: Database, tenant: str, owner_url: str
) -> None:
    row = (
        "INSERT INTO optimizer.dimension VALUES ($1, 7, 'llm', 'call', 'USD', $2, '', '',"
        " '', '', '', '', '', '', '', jsonb_build_object('by', $2::text))"
    )

    feed = "optimizer.recommendation_change"
    found = await collections_that_forget(
        optimizer_database, RECORDS, tenant, owner_url, feed=feed, rows=[row]
    )

    assert found == {"optimizer.dimension", "optimizer.recommendation_change"}
