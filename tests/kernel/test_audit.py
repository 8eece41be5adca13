"""The audit chain: what is written, what the service may not do, and what verification finds."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider

from services.kernel import audit
from services.kernel.caller import Caller, NoCaller, acting_as
from services.kernel.database import Database
from services.kernel.idempotency import answer_once, request_key
from tests.support.database import KERNEL_SERVICE, ServiceDatabase, connection
from tests.support.notes import beside

ENTRY = f"{KERNEL_SERVICE}.audit_entry"
HEAD = f"{KERNEL_SERVICE}.audit_head"


async def fill(database: Database, tenant: str, entries: int = 5) -> None:
    async with database.transaction(tenant) as tx:
        for number in range(1, entries + 1):
            await audit.append(
                tx,
                action="note.update",
                resource=f"notes/{number}",
                before={"text": "ä\u2028", "cost": Decimal("1.50")},
                after=None if number == 2 else {"text": '"quoted"', "n": number},
                actor="ada",
            )


async def verified(database: Database, tenant: str) -> audit.AuditVerification:
    async with database.read(tenant) as tx:
        return await audit.verify(tx, tenant)


async def tamper(service: ServiceDatabase, *statements: str) -> None:
    """Changes the tables as somebody with the owner's rights would, past every trigger."""
    async with connection(service.owner_url) as owner, owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await owner.execute(statement)


async def test_entries_are_numbered_and_linked(database: Database, tenant: str) -> None:
    await fill(database, tenant)

    async with database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant)]
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_hash for entry in entries] == [
        audit.GENESIS,
        *(entry.hash for entry in entries[:-1]),
    ]
    assert entries[0].before == '{"cost":"1.50","text":"\\u00e4\\u2028"}'
    assert await verified(database, tenant) == audit.AuditVerification(5)


async def test_a_tenant_without_entries_is_whole(database: Database, tenant: str) -> None:
    assert await verified(database, tenant) == audit.AuditVerification(0)


async def test_a_rolled_back_change_leaves_no_gap(database: Database, tenant: str) -> None:
    await fill(database, tenant, 1)
    with pytest.raises(ValueError, match="no"):
        async with database.transaction(tenant) as tx:
            await audit.append(tx, action="note.create", resource="notes/x", actor="ada")
            raise ValueError("no")
    await fill(database, tenant, 1)

    assert await verified(database, tenant) == audit.AuditVerification(2)


async def test_concurrent_changes_make_one_chain(database: Database, tenant: str) -> None:
    await asyncio.gather(*(beside(fill(database, tenant, 3)) for _ in range(10)))

    assert await verified(database, tenant) == audit.AuditVerification(30)


async def test_the_actor_is_the_caller(database: Database, tenant: str) -> None:
    ada = Caller(tenant, "ada", frozenset(), frozenset(), credential_id="key-1")

    with acting_as(ada):
        async with database.transaction(tenant) as tx:
            await audit.append(tx, action="note.create", resource="notes/1")
    with pytest.raises(NoCaller):
        async with database.transaction(tenant) as tx:
            await audit.append(tx, action="note.create", resource="notes/2")

    async with database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant)]
    assert [(entry.actor, entry.credential_id) for entry in entries] == [("ada", "key-1")]


async def test_background_work_names_the_tenant_and_itself(database: Database, tenant: str) -> None:
    async with database.system_transaction() as tx:
        with pytest.raises(ValueError, match="names the tenant"):
            await audit.append(tx, action="note.trim", resource="notes", actor="worker")
        await audit.append(
            tx, action="note.trim", resource="notes", actor="worker", tenant_id=tenant
        )

    async with database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant)]
    assert [(entry.actor, entry.action) for entry in entries] == [("worker", "note.trim")]


async def test_an_entry_knows_its_trace_and_request(database: Database, tenant: str) -> None:
    request = request_key(StringValue(), tenant_id=tenant, method="m", request_id="request-7")

    async def call() -> StringValue:
        await fill(database, tenant, 1)
        return StringValue()

    with TracerProvider().get_tracer("test").start_as_current_span("span") as span:
        await answer_once(database, request, StringValue, call)

    async with database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant)]
    assert entries[0].request_id == "request-7"
    assert entries[0].trace_id == f"{span.get_span_context().trace_id:032x}"


async def test_recorded_lists_what_the_block_added(database: Database, tenant: str) -> None:
    with audit.recorded() as entries:
        await fill(database, tenant, 2)

    assert entries == ["note.update notes/1", "note.update notes/2"]


def test_a_state_has_one_text() -> None:
    state = {"b": Decimal("1E+2"), "a": datetime(2026, 1, 2, tzinfo=UTC), "d": date(2026, 1, 2)}

    assert audit.canonical_json(state) == (
        '{"a":"2026-01-02T00:00:00+00:00","b":"100","d":"2026-01-02"}'
    )
    assert audit.canonical_json(StringValue(value="x")) == '"x"'
    assert audit.canonical_json(None) is None
    with pytest.raises(TypeError, match="cannot hold a set"):
        audit.canonical_json({"a": {1}})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'eve'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_head SET sequence = 1",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES ('{tenant}-x', 0, '')",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_link ON audit_entry",
        "SET session_replication_role = replica",
        "SELECT audit_link()",
    ],
)
@pytest.mark.parametrize("role", ["service", "worker"])
async def test_the_services_roles_cannot_rewrite_history(
    database: Database, tenant: str, statement: str, role: str
) -> None:
    await fill(database, tenant)

    async with (
        database.transaction(tenant) if role == "service" else (database.system_transaction()) as tx
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            async with tx.savepoint():
                await tx.driver.execute(statement.format(tenant=tenant))

    assert await verified(database, tenant) == audit.AuditVerification(5)


async def test_the_service_chooses_neither_place_nor_hash_nor_instant(
    database: Database, tenant: str
) -> None:
    await fill(database, tenant, 2)

    async with database.transaction(tenant) as tx:
        await tx.driver.execute(
            """INSERT INTO audit_entry VALUES
            ($1, 1, '2001-01-01Z', 'ada', '', 'a', 'r', '', '', NULL, NULL, '\\x00', '\\x00')""",
            tenant,
        )

    async with database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant, after=2)]
    assert [entry.sequence for entry in entries] == [3]
    assert entries[0].recorded_at.year > 2001
    assert await verified(database, tenant) == audit.AuditVerification(3)


async def test_even_the_owner_is_refused_an_update(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant)

    async with connection(kernel_service.owner_url) as owner:
        for statement in (f"UPDATE {ENTRY} SET actor = 'eve'", f"DELETE FROM {ENTRY}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(statement)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "'eve'"),
        ("credential_id", "'key'"),
        ("action", "'note.read'"),
        ("resource", "'notes/9'"),
        ("request_id", "'r'"),
        ("trace_id", "'t'"),
        ("recorded_at", "recorded_at + interval '1 microsecond'"),
        ("before", "NULL"),
        ("after", "'{\"n\":1}'"),
        ("hash", "'\\x00'"),
    ],
)
async def test_a_changed_field_is_found(
    database: Database, kernel_service: ServiceDatabase, tenant: str, column: str, value: str
) -> None:
    await fill(database, tenant)

    await tamper(
        kernel_service,
        f"UPDATE {ENTRY} SET {column} = {value} WHERE tenant_id = '{tenant}' AND sequence = 3",
    )

    assert await verified(database, tenant) == audit.AuditVerification(2, 3, "changed")


async def test_a_deleted_entry_is_found(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant)

    await tamper(
        kernel_service, f"DELETE FROM {ENTRY} WHERE tenant_id = '{tenant}' AND sequence = 2"
    )

    assert await verified(database, tenant) == audit.AuditVerification(1, 2, "missing")


async def test_reordered_entries_are_found(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant)

    update = f"UPDATE {ENTRY} SET sequence = {{}} WHERE tenant_id = '{tenant}' AND sequence = {{}}"
    await tamper(kernel_service, update.format(99, 2), update.format(2, 3), update.format(3, 99))

    assert await verified(database, tenant) == audit.AuditVerification(1, 2, "unlinked")


async def test_a_cut_tail_is_found(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant)

    await tamper(
        kernel_service, f"DELETE FROM {ENTRY} WHERE tenant_id = '{tenant}' AND sequence >= 4"
    )

    assert await verified(database, tenant) == audit.AuditVerification(3, 4, "truncated")


async def test_a_head_set_back_is_found(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    await fill(database, tenant)

    await tamper(
        kernel_service,
        f"""UPDATE {HEAD} SET sequence = 3, hash = (
            SELECT hash FROM {ENTRY} WHERE tenant_id = '{tenant}' AND sequence = 3
        ) WHERE tenant_id = '{tenant}'""",
    )

    assert await verified(database, tenant) == audit.AuditVerification(3, 4, "beyond_head")
