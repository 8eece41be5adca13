"""What the tests of every service's records share."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from finops.records.v1 import records_service_pb2 as messages
from finops.records.v1 import records_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.pagination import PageTokens
from services.kernel.records import Records
from services.kernel.records_defaults import serve_records
from services.kernel.transaction import Driver
from tests.support.database import connection, migrated
from tests.support.server import LocalServer, serving

# Columns whose names promise a person, a text by or for people, or a value that may hold either.
PERSONAL_NAME = re.compile(
    r"(^|_)(user|person|subject|actor|author|approver|owner|created_by|acknowledged_by|resolved_by"
    r"|email|mail|mail_to|recipients?|members?|manager_id|feedback|note|notes|reason|message|title"
    r"|text_body|html_body|error|tags|labels|filter|payload|particulars|excerpt|hint)(_|s$|$)"
)
# Types that may hold anything.
OPEN_TYPES = frozenset({"json", "jsonb"})
CHILD = re.compile(r"\d{4}_\d{2}$")


async def undeclared(driver: Driver, records: Records) -> list[str]:
    """Returns the columns that may name a person and are neither declared nor exempt."""
    rows = await driver.fetch(
        """
        SELECT c.relname AS table, a.attname AS column,
            split_part(format_type(a.atttypid, NULL), '(', 1) AS kind
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
        """,
        records.service,
    )
    declared = {
        f"{each.table}.{column}"
        for each in records.collections
        for column in (*each.subjects, *each.blanked)
    }
    found = set()
    for row in rows:
        name = f"{row['table']}.{row['column']}"
        is_text = row["kind"] in ("text", "text[]", "bytea", "character varying")
        may_name = row["kind"] in OPEN_TYPES or (is_text and PERSONAL_NAME.search(row["column"]))
        is_own = re.search(r"_(id|ids|digest|hash)$", row["column"])
        if is_own and row["column"] not in ("user_id", "subject_id", "manager_id"):
            continue
        if may_name and name not in declared and name not in records.exempt:
            found.add(name)
    return sorted(found)


async def stale(driver: Driver, records: Records) -> list[str]:
    """Returns declared or exempt columns that are in no table."""
    rows = await driver.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1",
        records.service,
    )
    known = {f"{row['table_name']}.{row['column_name']}" for row in rows}
    named = {
        f"{each.table}.{column}"
        for each in records.collections
        if each.table
        for column in (*each.subjects, *each.blanked, *([each.time] if each.time else []))
    }
    return sorted((named | set(records.exempt)) - known)


async def tables_with(driver: Driver, service: str, text: str) -> list[str]:
    """Returns every table of a service with a row that has the text anywhere, bytes included."""
    tables = await driver.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1", service
    )
    spelled = text.encode().hex()
    found = []
    for (name,) in tables:
        hit = await driver.fetchval(
            f"SELECT EXISTS (SELECT FROM {service}.{name} r"
            " WHERE position($1 in r::text) > 0 OR position($2 in r::text) > 0)",
            text,
            spelled,
        )
        if hit:
            found.append(name)
    return found


@asynccontextmanager
async def serving_records(
    database: Database, records: Records, *, envelope: Envelope | None = None
) -> AsyncIterator[LocalServer]:
    """Serves RecordsService alone over a service's real database."""
    served = serve_records(
        database,
        records,
        envelope or Envelope([]),
        tokens=PageTokens(b"secret of the test's pages"),
        clock=SystemClock(),
    )
    async with serving(served.servicer, database=database, envelope=envelope) as server:
        yield server


def records_stub(
    server: LocalServer, tenant: str
) -> records_service_pb2_grpc.RecordsServiceAsyncStub:
    """Returns a stub of a platform administrator who acts for a tenant."""
    channel: grpc.aio.Channel = server.channel("platform_admin", tenant=tenant, subject="root")
    return records_service_pb2_grpc.RecordsServiceStub(channel)


async def erased(
    stub: records_service_pb2_grpc.RecordsServiceAsyncStub,
    subject_id: str,
    pseudonym: str,
    *,
    dry_run: bool = False,
) -> dict[str, int]:
    """Erases or counts a person, and returns how many records by collection."""
    answer = await stub.EraseSubjectRecords(
        messages.EraseSubjectRecordsRequest(
            subject_id=subject_id, pseudonym=pseudonym, dry_run=dry_run
        )
    )
    return {count.collection: count.record_count for count in answer.counts}


async def exported(
    stub: records_service_pb2_grpc.RecordsServiceAsyncStub, subject_id: str
) -> list[tuple[str, str]]:
    """Returns a person's records: collection and JSON."""
    request = messages.ExportSubjectRecordsRequest(subject_id=subject_id)
    return [
        (answer.collection, answer.record_json)
        async for answer in stub.ExportSubjectRecords(request)
    ]


async def every_statement_runs(
    stub: records_service_pb2_grpc.RecordsServiceAsyncStub, records: Records
) -> None:
    """Exports, counts, erases and removes over every collection, of a tenant without records."""
    nobody = "nobody.at-all_x"
    assert await exported(stub, nobody) == []
    assert await erased(stub, nobody, "erased-nobody", dry_run=True) == {}
    assert await erased(stub, nobody, "erased-nobody") == {}
    before = Timestamp(seconds=1)
    for collection in records.collections:
        if collection.time:
            for dry_run in (True, False):
                answer = await stub.ApplyRetention(
                    messages.ApplyRetentionRequest(
                        collection=collection.name,
                        before_time=before,
                        held_filters=['subject_id = "nobody"'],
                        dry_run=dry_run,
                    )
                )
                assert answer.count.record_count == 0


async def columns_are_declared(owner_url: str, records: Records) -> None:
    """Asserts that every column that may name a person is declared, and no other."""
    service = await migrated(owner_url, records.service)
    async with connection(service.owner_url) as driver:
        assert await undeclared(driver, records) == []
        assert await stale(driver, records) == []


async def collections_that_forget(
    database: Database,
    records: Records,
    tenant: str,
    owner_url: str,
    *,
    feed: str,
    rows: Sequence[str],
) -> set[str]:
    """Erases somebody from rows and from a fact of a feed, and returns in which collections.

    rows: statements that add one, of the tenant $1 and the person $2. Asserts that these are
    exported, that no table of the service has the person afterwards, and that the fact keeps all
    else that it says.
    """
    person, pseudonym = f"u{secrets.token_hex(6)}", f"erased-{secrets.token_hex(6)}"
    fact = '{{"actor": "{0}", "amount": "1.10", "owners": ["eve", "{0}"]}}'
    async with database.system_transaction() as tx:
        for statement in rows:
            await tx.driver.execute(statement, tenant, person)
        await tx.driver.execute(
            f"INSERT INTO {feed} (tenant_id, kind, payload) VALUES ($1, 'x', $2)",
            tenant,
            fact.format(person).encode(),
        )
    async with serving_records(database, records) as server:
        stub = records_stub(server, tenant)
        names = {name for name, _ in await exported(stub, person)}
        changed = await erased(stub, person, pseudonym)
        left = await erased(stub, person, pseudonym, dry_run=True)
    assert names == set(changed)
    assert left == {}
    async with connection(owner_url) as driver:
        assert await tables_with(driver, records.service, person) == []
        payload = await driver.fetchval(f"SELECT payload FROM {feed} WHERE tenant_id = $1", tenant)
    assert payload.decode() == fact.format(pseudonym)
    return names
