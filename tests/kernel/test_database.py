"""Transactions: their tenant, their parts and their end."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import Integer, column, select, text

from services.kernel.database import Database, NestedTransaction, PoolLimits
from services.kernel.ids import InvalidResourceId
from services.kernel.pool import RolledBack
from tests.support.database import (
    ServiceDatabase,
)
from tests.support.notes import NOTE, beside, notes, write


async def test_a_block_that_ends_commits(database: Database, tenant: str) -> None:
    async with database.transaction(tenant) as tx:
        await write(tx, "kept")

    assert await notes(database, tenant) == ["kept"]


async def test_a_block_that_raises_rolls_back_and_raises_the_same(
    database: Database, tenant: str
) -> None:
    error = ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        async with database.transaction(tenant) as tx:
            await write(tx, "lost")
            raise error

    assert caught.value is error
    assert await notes(database, tenant) == []


async def test_core_and_driver_share_the_transaction(database: Database, tenant: str) -> None:
    async with database.transaction(tenant) as tx:
        await write(tx, "core")
        await tx.driver.execute("INSERT INTO note VALUES ($1, 'driver', 'text')", tenant)

        ids = await tx.scalars(select(NOTE.c.note_id).order_by(NOTE.c.note_id))
        assert ids.all() == ["core", "driver"]
        assert await tx.scalar(select(NOTE.c.text).where(NOTE.c.note_id == "none")) is None


async def test_rows_stream_through_a_cursor(database: Database, tenant: str) -> None:
    async with database.read(tenant) as tx:
        series = select(column("number", Integer)).select_from(
            text("generate_series(1, 1200) AS series(number)")
        )
        numbers = [row.number async for row in tx.stream(series)]

    assert numbers == list(range(1, 1201))


async def test_an_abandoned_stream_leaves_the_connection_usable(
    database: Database, tenant: str
) -> None:
    series = select(column("number", Integer)).select_from(
        text("generate_series(1, 100000) AS series(number)")
    )
    async with database.read(tenant) as tx:
        rows = tx.stream(series)
        async for row in rows:
            assert row.number == 1
            break
        await rows.aclose()

        assert await tx.driver.fetchval("SELECT 1") == 1


async def test_reads_are_planned_for_the_values_at_hand(database: Database, tenant: str) -> None:
    async with database.read(tenant) as tx:
        of_reads = await tx.driver.fetchval("SHOW plan_cache_mode")
    async with database.transaction(tenant) as tx:
        of_changes = await tx.driver.fetchval("SHOW plan_cache_mode")

    assert (of_reads, of_changes) == ("force_custom_plan", "auto")


async def test_a_read_cannot_write_and_sees_one_snapshot(database: Database, tenant: str) -> None:
    async with database.read(tenant) as tx:
        assert await tx.driver.fetchval("SELECT count(*) FROM note") == 0

        async def write_beside() -> None:
            async with database.transaction(tenant) as other:
                await write(other, "later")

        await beside(write_beside())

        assert await tx.driver.fetchval("SELECT count(*) FROM note") == 0
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with tx.savepoint():
                await tx.driver.execute("INSERT INTO note VALUES ($1, 'n', '')", tenant)


async def test_the_tenant_ends_with_its_transaction(
    tenant: str, kernel_service: ServiceDatabase
) -> None:
    database = kernel_service.connect(PoolLimits(connections=1))
    try:
        async with database.transaction(tenant) as tx:
            setting = "SELECT current_setting('app.tenant_id', true)"
            assert await tx.driver.fetchval(setting) == tenant
            driver = tx.driver
        async with database.transaction("another") as tx:
            assert tx.driver is driver
            assert await tx.driver.fetchval(setting) == "another"
        assert await driver.fetchval(setting) == ""
    finally:
        await database.close()


async def test_a_tenant_id_cannot_carry_sql(database: Database) -> None:
    with pytest.raises(InvalidResourceId):
        database.transaction("x', true); DROP TABLE note; --")


async def test_a_transaction_inside_another_is_an_error(database: Database, tenant: str) -> None:
    async with database.transaction(tenant):
        with pytest.raises(NestedTransaction):
            async with database.read(tenant):
                pytest.fail("began a second transaction")

    assert await notes(database, tenant) == []


async def test_a_savepoint_undoes_only_its_block(database: Database, tenant: str) -> None:
    async with database.transaction(tenant) as tx:
        await write(tx, "kept")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with tx.savepoint():
                await tx.driver.execute("INSERT INTO note VALUES ($1, 'kept', '')", tenant)
        async with tx.savepoint():
            await write(tx, "kept too")

    assert await notes(database, tenant) == ["kept", "kept too"]


async def test_a_swallowed_database_error_does_not_look_committed(
    database: Database, tenant: str
) -> None:
    with pytest.raises(RolledBack):
        async with database.transaction(tenant) as tx:
            await write(tx, "one")
            with pytest.raises(asyncpg.UndefinedTableError):
                await tx.driver.execute("SELECT * FROM missing")

    assert await notes(database, tenant) == []


async def test_callbacks_run_after_the_commit_and_only_then(
    database: Database, tenant: str
) -> None:
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append(await notes(database, tenant))

    async def fail() -> None:
        raise RuntimeError("a lost hint")

    with pytest.raises(ValueError, match="no"):
        async with database.transaction(tenant) as tx:
            tx.on_commit(look)
            raise ValueError("no")
    assert seen == []

    async with database.transaction(tenant) as tx:
        tx.on_commit(fail)
        tx.on_commit(look)
        await write(tx, "kept")
        with pytest.raises(ValueError, match="undone"):
            async with tx.savepoint():
                tx.on_commit(look)
                raise ValueError("undone")
    assert seen == [["kept"]]


async def test_a_notification_arrives_with_the_commit(database: Database, tenant: str) -> None:
    received: asyncio.Queue[str] = asyncio.Queue()
    listener = await database.dedicated("api")
    try:
        await listener.add_listener(
            "kernel_notes",
            lambda _connection, _pid, _channel, payload: received.put_nowait(payload),
        )
        async with database.transaction(tenant) as tx:
            await tx.notify("kernel_notes", "one")
            assert received.empty()

        async with asyncio.timeout(5):
            assert await received.get() == "one"
    finally:
        await listener.close()


async def test_a_cancelled_block_rolls_back_and_gives_the_connection_back(
    kernel_service: ServiceDatabase, tenant: str
) -> None:
    database = kernel_service.connect(PoolLimits(connections=1, wait_seconds=2))
    inside = asyncio.Event()

    async def stuck() -> None:
        async with database.transaction(tenant) as tx:
            await write(tx, "lost")
            inside.set()
            await tx.driver.execute("SELECT pg_sleep(60)")

    try:
        task = asyncio.create_task(stuck())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await notes(database, tenant) == []
    finally:
        await database.close()


async def test_a_cancellation_during_the_commit_waits_for_its_outcome(
    database: Database, tenant: str
) -> None:
    task: asyncio.Task[None] | None = None

    async def committing() -> None:
        async with database.transaction(tenant) as tx:
            await write(tx, "kept")
            assert task is not None
            # Delivered at the next await, which is the commit's.
            task.get_loop().call_soon(task.cancel)

    task = asyncio.create_task(committing())
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await notes(database, tenant) == ["kept"]
