"""AuditService: the log of a tenant, page by page, and its chain, verified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import grpc
import pytest
from finops.audit.v1 import audit_service_pb2 as messages
from finops.audit.v1 import audit_service_pb2_grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.wrappers_pb2 import StringValue

from services.kernel import audit
from services.kernel.audit_api import AuditServicer
from services.kernel.audit_log import AuditLog
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from tests.support.database import KERNEL_SERVICE, ServiceDatabase, connection
from tests.support.server import LocalServer, refused, serving

Stub = Any  # the generated stub, whose types are those of synchronous gRPC
ENTRY = f"{KERNEL_SERVICE}.audit_entry"


@pytest.fixture(scope="module")
async def server(database: Database) -> AsyncIterator[LocalServer]:
    log = AuditLog(database, tokens=PageTokens(b"secret of the tests"))
    register = partial(
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server, AuditServicer(log=log)
    )
    async with serving(register, database=database) as running:
        yield running


def stub_of(server: LocalServer, tenant: str, role: str = "org_admin") -> Stub:
    return audit_service_pb2_grpc.AuditServiceStub(server.channel(role, tenant=tenant))


@pytest.fixture
async def stub(server: LocalServer, tenant: str) -> Stub:
    """Somebody who may read the test's own tenant's log."""
    return stub_of(server, tenant)


async def fill(database: Database, tenant: str, entries: int = 5) -> None:
    async with database.transaction(tenant) as tx:
        for number in range(1, entries + 1):
            await audit.append(
                tx,
                action="notes.update" if number % 2 else "notes.create",
                resource=f"notes/{number}",
                before=None if number % 2 == 0 else {"cost": Decimal("1.50"), "tags": ["a"]},
                after={"cost": Decimal("2.50"), "tags": []},
                actor="ada" if number < 4 else "bob",
            )


async def tamper(service: ServiceDatabase, statement: str) -> None:
    """Changes the log as somebody with the owner's rights would, past every trigger."""
    async with connection(service.owner_url) as owner, owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute(statement)


async def test_entries_are_listed_newest_first_page_by_page(
    stub: Stub, database: Database, tenant: str
) -> None:
    await fill(database, tenant)

    page = await stub.ListAuditEntries(messages.ListAuditEntriesRequest(page_size=3))
    rest = await stub.ListAuditEntries(
        messages.ListAuditEntriesRequest(page_size=3, page_token=page.next_page_token)
    )

    assert [entry.sequence for entry in page.entries] == [5, 4, 3]
    assert [entry.sequence for entry in rest.entries] == [2, 1]
    assert rest.next_page_token == ""


async def test_an_entry_shows_who_changed_what_from_what_to_what(
    stub: Stub, database: Database, tenant: str
) -> None:
    began = datetime.now(UTC)
    await fill(database, tenant, 2)

    answer = await stub.ListAuditEntries(messages.ListAuditEntriesRequest(order_by="sequence"))

    first, second = answer.entries
    assert (first.actor, first.action, first.resource) == ("ada", "notes.update", "notes/1")
    assert MessageToDict(first.before) == {"cost": "1.50", "tags": ["a"]}
    assert MessageToDict(first.after) == {"cost": "2.50", "tags": []}
    assert not second.HasField("before")
    assert abs((first.create_time.ToDatetime(tzinfo=UTC) - began).total_seconds()) < 60
    async with database.read(tenant) as tx:
        stored = [entry async for entry in audit.read_entries(tx, tenant)]
    assert [first.entry_hash, second.entry_hash] == [entry.hash.hex() for entry in stored]


async def test_a_state_that_is_no_object_stands_under_value(
    stub: Stub, database: Database, tenant: str
) -> None:
    async with database.transaction(tenant) as tx:
        await audit.append(
            tx, action="notes.create", resource="n", after=StringValue(value="x"), actor="ada"
        )

    [entry] = (await stub.ListAuditEntries(messages.ListAuditEntriesRequest())).entries

    assert MessageToDict(entry.after) == {"value": "x"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ('actor = "bob"', [5, 4]),
        ('action = "notes.create"', [4, 2]),
        ('resource = "notes/3"', [3]),
        ('resource = "notes/*" AND actor = "ada"', [3, 2, 1]),
        ("create_time < 2026-01-01", []),
        ("create_time > 2026-01-01", [5, 4, 3, 2, 1]),
    ],
)
async def test_entries_are_found_by_who_what_and_when(
    stub: Stub, database: Database, tenant: str, wanted: str, expected: list[int]
) -> None:
    await fill(database, tenant)

    answer = await stub.ListAuditEntries(messages.ListAuditEntriesRequest(filter=wanted))

    assert [entry.sequence for entry in answer.entries] == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (messages.ListAuditEntriesRequest(filter="colour = red"), "UNKNOWN_FILTER_FIELD"),
        (messages.ListAuditEntriesRequest(order_by="actor"), "INVALID_ORDER_BY"),
        (messages.ListAuditEntriesRequest(page_token="x"), "INVALID_PAGE_TOKEN"),
    ],
)
async def test_a_list_that_cannot_be_made_says_why(
    stub: Stub, asked: messages.ListAuditEntriesRequest, reason: str
) -> None:
    refusal = await refused(stub.ListAuditEntries(asked))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == reason


async def test_a_whole_chain_is_intact(stub: Stub, database: Database, tenant: str) -> None:
    await fill(database, tenant)

    answer = await stub.VerifyAuditChain(messages.VerifyAuditChainRequest())

    assert answer == messages.VerifyAuditChainResponse(is_intact=True, entries=5)


async def test_a_tenant_without_entries_is_intact(stub: Stub) -> None:
    answer = await stub.VerifyAuditChain(messages.VerifyAuditChainRequest())

    assert answer == messages.VerifyAuditChainResponse(is_intact=True)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE {} SET actor = 'eve' WHERE {} AND sequence = 3", (3, "was changed")),
        ("DELETE FROM {} WHERE {} AND sequence = 1", (1, "is missing")),
        ("DELETE FROM {} WHERE {} AND sequence > 3", (4, "all after it are missing")),
        ("UPDATE {} SET previous_hash = '\\x00' WHERE {} AND sequence = 2", (2, "not follow")),
    ],
)
async def test_the_first_entry_that_does_not_fit_is_named(
    stub: Stub,
    database: Database,
    kernel_service: ServiceDatabase,
    tenant: str,
    *,
    statement: str,
    found: tuple[int, str],
) -> None:
    sequence, finding = found
    await fill(database, tenant)
    await tamper(kernel_service, statement.format(ENTRY, f"tenant_id = '{tenant}'"))

    answer = await stub.VerifyAuditChain(messages.VerifyAuditChainRequest())

    assert not answer.is_intact
    assert answer.first_broken_sequence == sequence
    assert answer.entries == sequence - 1
    assert finding in answer.finding


async def test_a_head_that_was_set_back_is_found(
    stub: Stub, database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant, 2)
    await tamper(
        kernel_service,
        f"""UPDATE {KERNEL_SERVICE}.audit_head SET sequence = 1, hash = (
            SELECT hash FROM {ENTRY} WHERE tenant_id = '{tenant}' AND sequence = 1
        ) WHERE tenant_id = '{tenant}'""",
    )

    answer = await stub.VerifyAuditChain(messages.VerifyAuditChainRequest())

    assert (answer.first_broken_sequence, answer.is_intact) == (2, False)
    assert "goes on after its recorded end" in answer.finding


async def test_a_log_is_its_own_tenants(
    server: LocalServer, database: Database, tenant: str
) -> None:
    await fill(database, tenant)
    other = stub_of(server, f"{tenant}-other")
    named = messages.ListAuditEntriesRequest(tenant_id=tenant)

    own = await other.ListAuditEntries(messages.ListAuditEntriesRequest())
    listing = await refused(other.ListAuditEntries(named))
    verifying = await refused(
        other.VerifyAuditChain(messages.VerifyAuditChainRequest(tenant_id=tenant))
    )
    platform = stub_of(server, f"{tenant}-other", "platform_admin")

    assert list(own.entries) == []
    for refusal in (listing, verifying):
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.reason == "TENANT_MISMATCH"
    assert len((await platform.ListAuditEntries(named)).entries) == 5


async def test_a_viewer_reads_no_audit_log(server: LocalServer, tenant: str) -> None:
    viewer = stub_of(server, tenant, "viewer")

    refusal = await refused(viewer.ListAuditEntries(messages.ListAuditEntriesRequest()))

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.metadata == {"permission": "audit.read"}
