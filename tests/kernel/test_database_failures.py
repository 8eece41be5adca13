"""What the database's failures become, and which transactions are run again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import select

from cli.stack.postgres import EmbeddedPostgres
from services.kernel.database import Database, PoolLimits, Transaction
from services.kernel.database_errors import (
    CommitUnknown,
    DatabaseBusy,
    DatabaseUnavailable,
    LockTimeout,
    QueryTimeout,
    TransactionConflict,
    translate,
)
from services.kernel.errors import Error
from tests.support.database import (
    KERNEL_MIGRATIONS,
    KERNEL_SERVICE,
    ServiceDatabase,
    connection,
    embedded_postgres,
    migrated,
)
from tests.support.notes import NOTE, beside, notes, write


@pytest.mark.parametrize(
    ("error", "is_lost", "meaning"),
    [
        (asyncpg.InternalClientError("cannot switch to state 12"), False, DatabaseUnavailable),
        (asyncpg.CannotConnectNowError("starting up"), False, DatabaseUnavailable),
        (asyncpg.TooManyConnectionsError("sorry"), False, DatabaseBusy),
        (asyncpg.InvalidCachedStatementError("plan is stale"), False, TransactionConflict),
        (asyncpg.InterfaceError("connection is closed"), True, DatabaseUnavailable),
        (asyncpg.InterfaceError("misuse"), False, None),
        (ConnectionResetError(), True, DatabaseUnavailable),
        (FileNotFoundError("not the database's"), False, None),
        (asyncpg.UniqueViolationError("the store's to handle"), False, None),
    ],
)
def test_each_failure_has_one_meaning(
    error: Exception, meaning: type[Error] | None, *, is_lost: bool
) -> None:
    translated = translate(error, is_lost=is_lost)

    assert (None if translated is None else type(translated)) is meaning


async def test_a_full_pool_says_busy(kernel_service: ServiceDatabase, tenant: str) -> None:
    database = kernel_service.connect(PoolLimits(connections=1, wait_seconds=0.05))
    try:
        async with database.transaction(tenant):

            async def second() -> None:
                async with database.transaction(tenant):
                    pytest.fail("got a second connection")

            with pytest.raises(DatabaseBusy) as caught:
                await beside(second())
        assert caught.value.reason == "DATABASE_BUSY"
    finally:
        await database.close()


async def test_a_slow_query_and_a_held_lock_end(
    kernel_service: ServiceDatabase, tenant: str
) -> None:
    database = kernel_service.connect(PoolLimits(lock_seconds=0.1))
    try:
        with pytest.raises(QueryTimeout) as slow:
            async with database.read(tenant, statement_timeout=timedelta(milliseconds=50)) as tx:
                await tx.driver.execute("SELECT pg_sleep(5)")
        assert slow.value.reason == "QUERY_TIMEOUT"

        async with connection(kernel_service.owner_url) as holder, holder.transaction():
            await holder.execute(f"LOCK TABLE {KERNEL_SERVICE}.note")
            with pytest.raises(LockTimeout) as held:
                async with database.transaction(tenant) as tx:
                    await write(tx, "never")
        assert held.value.reason == "LOCK_TIMEOUT"
    finally:
        await database.close()


async def test_run_repeats_a_deadlocked_transaction(database: Database, tenant: str) -> None:
    async with database.transaction(tenant) as tx:
        await write(tx, "a", "")
        await write(tx, "b", "")
    both_hold_one = asyncio.Barrier(2)
    attempts = 0

    async def append(first: str, second: str) -> None:
        waits = True

        async def work(tx: Transaction) -> None:
            nonlocal attempts, waits
            attempts += 1
            update = "UPDATE note SET text = text || 'x' WHERE note_id = $1"
            await tx.driver.execute(update, first)
            if waits:
                waits = False
                await both_hold_one.wait()
            await tx.driver.execute(update, second)

        await database.run(tenant, work)

    await asyncio.gather(append("a", "b"), append("b", "a"))

    async with database.read(tenant) as tx:
        assert set(await tx.scalars(select(NOTE.c.text))) == {"xx"}
    assert attempts == 3


async def test_run_gives_up_after_its_attempts(database: Database, tenant: str) -> None:
    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.driver.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    with pytest.raises(TransactionConflict) as caught:
        await database.run(tenant, work, attempts=3)

    assert attempts == 3
    assert caught.value.reason == "TRANSACTION_CONFLICT"


async def test_run_does_not_repeat_a_commit_of_unknown_outcome(
    database: Database, tenant: str
) -> None:
    attempts = 0

    async def dying(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.driver.execute("INSERT INTO dying VALUES (1)")

    with pytest.raises(CommitUnknown) as caught:
        await database.run(tenant, dying)

    assert attempts == 1
    assert caught.value.reason == "COMMIT_UNKNOWN"


async def test_a_connection_lost_before_the_commit_is_unavailable_and_run_repeats(
    kernel_service: ServiceDatabase, database: Database, tenant: str
) -> None:
    async def cut(tx: Transaction) -> None:
        pid = await tx.driver.fetchval("SELECT pg_backend_pid()")
        async with connection(kernel_service.owner_url) as owner:
            await owner.execute("SELECT pg_terminate_backend($1, 5000)", pid)

    with pytest.raises(DatabaseUnavailable) as caught:
        async with database.transaction(tenant) as tx:
            await write(tx, "lost")
            await cut(tx)
            await write(tx, "lost too")
    assert caught.value.reason == "DATABASE_UNAVAILABLE"

    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await write(tx, f"attempt-{attempts}")
        if attempts == 1:
            await cut(tx)

    await database.run(tenant, work)
    assert await notes(database, tenant) == ["attempt-2"]


@pytest.fixture(scope="module")
async def own_server() -> AsyncIterator[tuple[EmbeddedPostgres, ServiceDatabase]]:
    async with embedded_postgres() as server:
        yield server, await migrated(server.url, KERNEL_SERVICE, KERNEL_MIGRATIONS)


@pytest.mark.fault
async def test_a_restarted_server_is_survived_and_a_stopped_one_is_unavailable(
    own_server: tuple[EmbeddedPostgres, ServiceDatabase], tenant: str
) -> None:
    server, service = own_server
    database = service.connect()
    try:

        async def write_one(number: int) -> None:
            async with database.transaction(tenant) as tx:
                await write(tx, f"note-{number}")

        await asyncio.gather(*(write_one(number) for number in range(5)))
        await server.stop()
        with pytest.raises(DatabaseUnavailable):
            await database.check()
        await server.start()

        await asyncio.gather(*(write_one(number) for number in range(5, 10)))
        await database.check()

        assert len(await notes(database, tenant)) == 10
    finally:
        await database.close()


@pytest.mark.fault
async def test_a_killed_server_ends_the_open_transaction(
    own_server: tuple[EmbeddedPostgres, ServiceDatabase], tenant: str
) -> None:
    server, service = own_server
    database = service.connect()
    try:
        with pytest.raises(DatabaseUnavailable):
            async with database.transaction(tenant) as tx:
                await write(tx, "lost")
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await tx.driver.execute("SELECT pg_sleep(60)")
        await server.stop()
        await server.start()

        assert await notes(database, tenant) == []
    finally:
        await database.close()


async def test_a_statement_by_itself_is_committed_or_of_unknown_outcome(
    kernel_service: ServiceDatabase, database: Database, tenant: str
) -> None:
    rows = await database.system_fetch(
        "INSERT INTO note (tenant_id, note_id, text) VALUES ($1, 'n', 'alone') RETURNING text",
        tenant,
    )
    async with connection(kernel_service.owner_url) as owner:
        running = asyncio.create_task(database.system_fetch("SELECT pg_sleep(30)"))
        ended = 0
        while not ended:
            ended = await owner.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
            )
        with pytest.raises(CommitUnknown):
            await running

    assert [row["text"] for row in rows] == ["alone"]
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.system_fetch("SELECT FROM nowhere")
    async with database.read(tenant) as tx:
        assert await tx.driver.fetchval("SELECT text FROM note") == "alone"
