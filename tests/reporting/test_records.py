"""What the reporting service keeps about persons: declared, exported, erased."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from services.kernel.database import Database
from services.reporting.domain.report.document import Form, Number, Section, Tile
from services.reporting.domain.report.report import ReportFormat
from services.reporting.store import reports
from services.reporting.store.records import RECORDS
from tests.support.records import (
    collections_that_forget,
    columns_are_declared,
    erased,
    every_statement_runs,
    records_stub,
    serving_records,
)

REPORT = (
    "INSERT INTO reporting.report VALUES ($1, 'r', 1, '', '', '', '{}', 'USD', '{1}', 'en', '',"
    " now() - interval '1 day', now(), 'UTC', 3, 2, 2, '', now(), '', '', '', 'ada', now(), now(),"
    " now() + interval '1 day')"
)


async def test_every_column_that_may_name_a_person_is_declared(owner_url: str) -> None:
    await columns_are_declared(owner_url, RECORDS)


async def test_every_collection_is_exported_erased_and_trimmed(
    reporting_database: Database, tenant: str
) -> None:
    async with serving_records(reporting_database, RECORDS) as server:
        await every_statement_runs(records_stub(server, tenant), RECORDS)


async def test_an_erased_person_is_in_no_table(
    reporting_database: Database, tenant: str, owner_url: str
) -> None:
    row = (
        "INSERT INTO reporting.maintenance_window (tenant_id, window_id, display_name, start_at,"
        " end_at, filter, author, created_at) VALUES ($1, 'w', 'Move', now(),"
        " now() + interval '1 hour', format('user_id = \"%s\"', $2::text), $2, now())"
    )

    found = await collections_that_forget(
        reporting_database, RECORDS, tenant, owner_url, feed="reporting.anomaly_change", rows=[row]
    )

    assert found == {"reporting.anomaly_change", "reporting.maintenance_window"}


@pytest.mark.parametrize("subject_id", ["omar.farouk", "jörg.müller", 'quo"te', "back\\slash"])
async def test_an_erased_person_is_in_no_fact_about_an_anomaly(
    reporting_database: Database, tenant: str, subject_id: str
) -> None:
    def told(name: str, other: str) -> str:
        causes = [["user", name, "1.10", True], ["user", other, "2.20", False]]
        note = f"asked\n{name}, not {other}"
        return json.dumps({"causes": causes, "feedback_note": note, "score": 1})

    other = f"{subject_id}ü"
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO reporting.anomaly_change (tenant_id, kind, payload)"
            " VALUES ($1, 'OPEN', $2)",
            tenant,
            told(subject_id, other).encode(),
        )

    async with serving_records(reporting_database, RECORDS) as server:
        stub = records_stub(server, tenant)
        counted = await erased(stub, subject_id, "erased-1", dry_run=True)
        changed = await erased(stub, subject_id, "erased-1")

    assert counted == changed == {"reporting.anomaly_change": 1}
    async with reporting_database.read(tenant) as tx:
        kept = await tx.driver.fetchval("SELECT payload FROM reporting.anomaly_change")
    assert kept.decode() == told("erased-1", other)


async def test_a_file_made_of_a_section_that_names_an_id_with_a_quote_goes(
    reporting_database: Database, tenant: str
) -> None:
    number = Number(Decimal("1.10"), Form.RATIO, "USD", "/costs", 'cost of quo"te')
    section = Section("kept", "Costs", tiles=(Tile("Costs", number),))
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(REPORT, tenant)
        await reports.add_section(tx, tenant, "r", 0, section)
        await reports.add_file(
            tx, tenant, "r", reports.ReportFile(ReportFormat.PDF, "f", "hash", 1)
        )

    async with serving_records(reporting_database, RECORDS) as server:
        changed = await erased(records_stub(server, tenant), 'quo"te', "erased-1")

    assert changed == {"reporting.file": 1, "reporting.report_section": 1}
    async with reporting_database.read(tenant) as tx:
        assert await reports.files(tx, tenant, "r") == []


async def test_a_section_whose_own_words_the_id_is_goes_and_others_are_rewritten(
    reporting_database: Database, tenant: str
) -> None:
    def section(key: str, form: Form) -> Section:
        number = Number(Decimal("1.10"), form, "USD", "/costs?user=money", "cost of money")
        return Section(key, "Costs", tiles=(Tile("Costs", number),))

    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(REPORT, tenant)
        await reports.add_section(tx, tenant, "r", 0, section("kept", Form.RATIO))
        await reports.add_section(tx, tenant, "r", 1, section("lost", Form.MONEY))

    async with serving_records(reporting_database, RECORDS) as server:
        stub = records_stub(server, tenant)
        counted = await erased(stub, "money", "erased-1", dry_run=True)
        changed = await erased(stub, "money", "erased-1")
        left = await erased(stub, "money", "erased-1", dry_run=True)

    assert counted == changed == {"reporting.report_section": 2}
    assert left == {}
    async with reporting_database.read(tenant) as tx:
        (kept,) = (await reports.sections(tx, tenant, "r")).values()
    number = kept.tiles[0].number
    assert (kept.key, number.label, number.value) == ("kept", "cost of erased-1", Decimal("1.10"))
