"""What the usage service keeps about persons: declared, exported, erased while usage comes in."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from finops.usage.v1 import (
    directory_model_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from services.kernel.cache import Cache
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.database_errors import LockTimeout
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from services.usage import bootstrap
from services.usage.errors import ArchiveIncomplete
from services.usage.service import archive_file, archived_persons
from services.usage.service.archived_persons import ArchivedPersons
from services.usage.service.archiving import Archive
from services.usage.service.tenant_context import TenantContexts
from services.usage.settings import UsageSettings
from services.usage.store import archive
from services.usage.store.records import records_of
from tests.support.database import ServiceDatabase, connection
from tests.support.records import (
    erased,
    every_statement_runs,
    exported,
    records_stub,
    stale,
    tables_with,
    undeclared,
)
from tests.support.server import JWT_SECRET, SERVICE_SECRET, LocalServer, serving

KEY = SecretStr(secrets.token_hex(32))
DECLARED = records_of(Envelope([]), ArchivedPersons(Path("nowhere")))


@dataclass(frozen=True, slots=True)
class Desk:
    """A usage service, its archive's folder, and one tenant's person."""

    server: LocalServer
    folder: Path
    tenant: str
    person: str
    pseudonym: str

    async def record(self, *, user_id: str, at: str = "2026-03-17", **changed: Any) -> int:
        """Records an event and returns its verdict."""
        stamp = Timestamp()
        stamp.FromDatetime(datetime.fromisoformat(at).replace(tzinfo=UTC))
        fields: dict[str, Any] = {
            "event_id": new_id(),
            "source": "tests",
            "start_time": stamp,
            "resource_type": "llm",
            "quantity": "1",
            "unit": "call",
            "cost": usage_model_pb2.UsageCost(currency_code="USD", billed="0.123456789012345678"),
            "user_id": user_id,
        }
        event = usage_model_pb2.UsageEvent(**(fields | changed))
        stub = usage_service_pb2_grpc.UsageServiceStub(self._channel)
        answer = await stub.RecordUsage(usage_service_pb2.RecordUsageRequest(events=[event]))
        return int(answer.statuses[0])

    @property
    def _channel(self) -> Any:
        return self.server.channel("org_admin", tenant=self.tenant, subject="root")


@pytest.fixture
async def desk(usage_database: Database, tenant: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A usage service with an archive of its own."""
    settings = UsageSettings(
        jwt_secret=SecretStr(JWT_SECRET),
        service_token_secret=SecretStr(SERVICE_SECRET),
        encryption_keys=(KEY,),
        archive_dir=tmp_path,
    )
    built = bootstrap.build(
        usage_database, Cache.connect(None, service="usage"), settings, clock=SystemClock()
    )
    async with serving(*built.servicers, database=usage_database) as server:
        person, pseudonym = f"u{secrets.token_hex(6)}", f"erased-{secrets.token_hex(6)}"
        yield Desk(server, tmp_path, tenant, person, pseudonym)


async def billed(database: Database, tenant: str) -> list[tuple[str, int, Any]]:
    """Returns events and cost by user."""
    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch(
            "SELECT user_id, count(*), sum(billed_cost) FROM usage.event"
            " JOIN usage.dimension USING (tenant_id, dimension_id) GROUP BY 1 ORDER BY 1"
        )
    return [tuple(row) for row in rows]


async def test_every_column_that_may_name_a_person_is_declared(
    usage_service: ServiceDatabase,
) -> None:
    async with connection(usage_service.owner_url) as driver:
        assert await undeclared(driver, DECLARED) == []
        assert await stale(driver, DECLARED) == []


async def test_every_collection_is_exported_erased_and_trimmed(desk: Desk) -> None:
    await every_statement_runs(records_stub(desk.server, desk.tenant), DECLARED)


async def test_a_person_is_erased_while_their_usage_comes_in(
    desk: Desk, usage_database: Database, usage_service: ServiceDatabase
) -> None:
    stub = records_stub(desk.server, desk.tenant)
    await desk.record(user_id=desk.person, tags={"owner": desk.person, "other": f"{desk.person}x"})
    sent = 1
    done = asyncio.Event()

    async def load() -> int:
        count = 0
        while not done.is_set() or count < 20:
            # A new combination each time, so that each has to be interned.
            await desk.record(user_id=desk.person, resource_id=f"r{count}")
            count += 1
        return count

    running = asyncio.create_task(load())
    await desk.record(user_id="eve", tags={"by": "eve"})
    await erased(stub, desk.person, desk.pseudonym)
    done.set()
    sent += await running

    assert await erased(stub, desk.person, desk.pseudonym, dry_run=True) == {}
    [eve, other] = sorted(await billed(usage_database, desk.tenant), key=lambda row: row[1])
    assert (eve[0], eve[1]) == ("eve", 1)
    assert (other[0], other[1], other[2] / sent) == (desk.pseudonym, sent, eve[2])
    async with usage_database.read(desk.tenant) as tx:
        tags = await tx.driver.fetchval(
            "SELECT tags::text FROM usage.dimension WHERE tags ? 'owner'"
        )
    assert json.loads(tags) == {"owner": desk.pseudonym, "other": f"{desk.person}x"}
    async with connection(usage_service.owner_url) as driver:
        await driver.execute(
            "UPDATE usage.dimension SET tags = tags - 'other' WHERE tenant_id = $1", desk.tenant
        )
        assert await tables_with(driver, "usage", desk.person) == []


async def test_an_event_sent_again_after_an_erasure_is_still_known(desk: Desk) -> None:
    event_id = new_id()
    first = await desk.record(user_id=desk.person, event_id=event_id)
    await erased(records_stub(desk.server, desk.tenant), desk.person, desk.pseudonym)

    again = await desk.record(user_id=desk.person, event_id=event_id)

    assert first == usage_model_pb2.RECORD_STATUS_ACCEPTED
    assert again == usage_model_pb2.RECORD_STATUS_DUPLICATE


async def test_an_erased_user_stays_in_the_line_without_name_and_mail(
    desk: Desk, usage_database: Database, usage_service: ServiceDatabase
) -> None:
    stub = directory_service_pb2_grpc.DirectoryServiceStub(
        desk.server.channel("org_admin", tenant=desk.tenant, subject="root")
    )
    for user_id, manager_id in ((desk.person, ""), ("ben", desk.person)):
        user = directory_model_pb2.User(
            user_id=user_id,
            display_name=f"Ann {user_id}",
            email=f"{user_id}@example.com",
            manager_id=manager_id,
        )
        request = directory_service_pb2.CreateUserRequest(user=user, request_id=new_id())
        await stub.CreateUser(request)
    records = records_stub(desk.server, desk.tenant)

    found = await exported(records, desk.person)
    await erased(records, desk.person, desk.pseudonym)

    names = [json.loads(content)["display_name"] for _, content in found]
    assert names == [f"Ann {desk.person}", "Ann ben"]
    async with usage_database.read(desk.tenant) as tx:
        rows = await tx.driver.fetch(
            "SELECT user_id, display_name, email, manager_id FROM usage.directory_user ORDER BY 1"
        )
    assert [tuple(row) for row in rows] == [
        ("ben", "Ann ben", "ben@example.com", desk.pseudonym),
        (desk.pseudonym, "", "", ""),
    ]
    async with connection(usage_service.owner_url) as driver:
        assert await tables_with(driver, "usage", desk.person) == []


async def test_an_archived_person_is_replaced_and_every_other_text_stays(
    desk: Desk, usage_database: Database
) -> None:
    await desk.record(user_id=desk.person, at="1997-05-02")
    await desk.record(user_id="eve", at="1997-05-03")
    path = desk.folder / "usage-events-1997-05-20260101T000000.parquet"
    async with usage_database.system_transaction() as tx:
        month = date(1997, 5, 1)
        await archive_file.write(path, archive.COLUMNS, archive.month_rows(tx, month))
    before = path.read_bytes()
    stub = records_stub(desk.server, desk.tenant)

    found = await exported(stub, desk.person)
    counts = await erased(stub, desk.person, desk.pseudonym)

    assert [name for name, _ in found] == ["usage.archive", "usage.event"]
    assert counts["usage.archive"] == 1
    assert archive_file.count_rows(path) == 2
    rewritten = json.dumps(pq.read_table(path).to_pylist())
    assert path.read_bytes() != before
    assert desk.person not in rewritten
    assert desk.pseudonym in rewritten
    assert rewritten.count("0.123456789012345678") >= 2
    assert [each.name for each in desk.folder.iterdir()] == [path.name]


async def archived(desk: Desk, database: Database, name: str = "20260101T000000") -> Path:
    """Writes what happened in May 1997 to an archive file."""
    path = desk.folder / f"usage-events-1997-05-{name}.parquet"
    async with database.system_transaction() as tx:
        rows = archive.month_rows(tx, date(1997, 5, 1))
        await archive_file.write(path, archive.COLUMNS, rows)
    return path


async def test_a_person_in_tags_within_a_text_of_a_bill_is_found_and_erased(
    desk: Desk, usage_database: Database, usage_service: ServiceDatabase
) -> None:
    await desk.record(user_id="eve", at="1997-05-02")
    columns = {"Tags": json.dumps({"user": desk.person, "other": f"{desk.person}x"})}
    async with connection(usage_service.owner_url) as driver:
        await driver.execute(
            "UPDATE usage.event SET bill_columns = $2 WHERE tenant_id = $1",
            desk.tenant,
            json.dumps(columns),
        )
    path = await archived(desk, usage_database)
    stub = records_stub(desk.server, desk.tenant)

    counts = await erased(stub, desk.person, desk.pseudonym, dry_run=True)
    changed = await erased(stub, desk.person, desk.pseudonym)

    assert counts == changed == {"usage.archive": 1, "usage.bill_row": 1}
    expected = {"user": desk.pseudonym, "other": f"{desk.person}x"}
    async with usage_database.read(desk.tenant) as tx:
        stored = await tx.driver.fetchval("SELECT bill_columns::text FROM usage.event")
    written = [
        row["bill_columns"]
        for row in pq.read_table(path).to_pylist()
        if row["tenant_id"] == desk.tenant
    ]
    assert [json.loads(json.loads(each)["Tags"]) for each in (stored, *written)] == [expected] * 2


async def test_archives_are_written_by_one_at_a_time_however_long_it_takes(
    desk: Desk, usage_database: Database, usage_service: ServiceDatabase
) -> None:
    await desk.record(user_id=desk.person, at="1997-05-02")
    path = await archived(desk, usage_database)
    persons = ArchivedPersons(desk.folder)

    async with connection(usage_service.owner_url) as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('usage archive', 0))")
        with pytest.raises(LockTimeout):
            async with usage_database.system_transaction() as tx:
                await tx.driver.execute("SET LOCAL lock_timeout = '50ms'")
                await persons.erase(tx, desk.tenant, desk.person, desk.pseudonym)
    async with usage_database.system_transaction() as tx:
        assert await persons.erase(tx, desk.tenant, desk.person, desk.pseudonym) == 1
        pause = await tx.driver.fetchval("SHOW idle_in_transaction_session_timeout")

    assert pause == "0"
    assert desk.person not in json.dumps(pq.read_table(path).to_pylist())


async def test_an_archive_that_was_not_written_whole_is_none(
    desk: Desk, usage_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.record(user_id=desk.person, at="1997-05-02")
    monkeypatch.setattr(archive_file, "count_rows", lambda _: -1)
    archiving = Archive(
        usage_database,
        TenantContexts(usage_database),
        folder=desk.folder,
        retention_months=0,
        clock=SystemClock(),
    )

    with pytest.raises(ArchiveIncomplete):
        await archiving.archive_usage(date(1997, 6, 1), is_dry_run=False)

    assert list(desk.folder.iterdir()) == []
    counts = await erased(records_stub(desk.server, desk.tenant), desk.person, desk.pseudonym)
    assert counts == {"usage.event": 1}


async def test_an_archived_person_is_exported_in_parts(
    desk: Desk, usage_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("02", "03", "04"):
        await desk.record(user_id=desk.person, at=f"1997-05-{day}")
    await archived(desk, usage_database)
    monkeypatch.setattr(archived_persons, "ROWS_AT_ONCE", 2)

    found = await exported(records_stub(desk.server, desk.tenant), desk.person)

    names = [name for name, _ in found]
    assert names == ["usage.archive"] * 3 + ["usage.event"] * 3
