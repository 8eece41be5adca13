"""Calls with a request_id: one effect, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from pydantic import SecretStr

from services.kernel.database import Database, PoolLimits, Transaction
from services.kernel.database_errors import LockTimeout
from services.kernel.envelope import Envelope
from services.kernel.errors import NotFound
from services.kernel.idempotency import (
    RequestIdReused,
    RequestKey,
    answer_once,
    request_key,
    trim_answers,
)
from tests.support.database import KERNEL_SERVICE, ServiceDatabase, connection
from tests.support.notes import beside, notes, write

METHOD = "/finops.test.v1.NoteService/CreateNote"


def key(tenant: str, request_id: str = "request-1", content: str = "content") -> RequestKey:
    return request_key(
        StringValue(value=content), tenant_id=tenant, method=METHOD, request_id=request_id
    )


def creating(
    database: Database, tenant: str, calls: list[str]
) -> Callable[[], Awaitable[StringValue]]:
    """Returns a call that adds one more note each time it really runs."""

    async def call() -> StringValue:
        note_id = f"note-{len(calls)}"
        calls.append(note_id)
        async with database.transaction(tenant) as tx:
            await write(tx, note_id)
        return StringValue(value=note_id)

    return call


async def test_a_repeated_request_gets_the_first_answer(database: Database, tenant: str) -> None:
    calls: list[str] = []
    call = creating(database, tenant, calls)

    first = await answer_once(database, key(tenant), StringValue, call)
    second = await answer_once(database, key(tenant), StringValue, call)

    assert first.value == second.value == "note-0"
    assert await notes(database, tenant) == ["note-0"]


async def test_sixteen_at_once_take_effect_once(database: Database, tenant: str) -> None:
    calls: list[str] = []
    call = creating(database, tenant, calls)

    answers = await asyncio.gather(
        *(beside(answer_once(database, key(tenant), StringValue, call)) for _ in range(16))
    )

    assert len({answer.value for answer in answers}) == 1
    assert len(await notes(database, tenant)) == 1


async def test_the_same_request_id_with_another_content_is_refused(
    database: Database, tenant: str
) -> None:
    calls: list[str] = []
    call = creating(database, tenant, calls)
    await answer_once(database, key(tenant), StringValue, call)

    with pytest.raises(RequestIdReused) as caught:
        await answer_once(database, key(tenant, content="other"), StringValue, call)

    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert caught.value.metadata == {"request_id": "request-1", "method": METHOD}
    assert await notes(database, tenant) == ["note-0"]


async def test_another_tenant_may_use_the_same_request_id(database: Database, tenant: str) -> None:
    other = f"{tenant}-other"

    for name in (tenant, other):
        calls: list[str] = []
        await answer_once(database, key(name), StringValue, creating(database, name, calls))

    assert await notes(database, tenant) == await notes(database, other) == ["note-0"]


async def test_a_failed_call_leaves_nothing_and_may_be_repeated(
    database: Database, tenant: str
) -> None:
    async def failing() -> StringValue:
        async with database.transaction(tenant) as tx:
            await write(tx, "lost")
        raise NotFound

    with pytest.raises(NotFound):
        await answer_once(database, key(tenant), StringValue, failing)
    assert await notes(database, tenant) == []

    calls: list[str] = []
    await answer_once(database, key(tenant), StringValue, creating(database, tenant, calls))
    assert await notes(database, tenant) == ["note-0"]


async def test_a_cancelled_call_leaves_nothing(database: Database, tenant: str) -> None:
    changed = asyncio.Event()

    async def stuck() -> StringValue:
        async with database.transaction(tenant) as tx:
            await write(tx, "lost")
        changed.set()
        await asyncio.Event().wait()
        return StringValue()

    task = asyncio.create_task(answer_once(database, key(tenant), StringValue, stuck))
    await changed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await notes(database, tenant) == []


async def test_all_transactions_of_a_call_are_one(database: Database, tenant: str) -> None:
    async def call() -> StringValue:
        async with database.transaction(tenant) as tx:
            await write(tx, "first")
        with pytest.raises(ValueError, match="undone"):
            async with database.transaction(tenant) as tx:
                await write(tx, "undone")
                raise ValueError("undone")
        async with database.transaction(tenant) as tx:
            await write(tx, "second")
        # Its own changes are visible to the call, and to nobody else before the answer is stored.
        assert await notes(database, tenant) == ["first", "second"]
        assert await beside(notes(database, tenant)) == []
        return StringValue(value="done")

    await answer_once(database, key(tenant), StringValue, call)

    assert await notes(database, tenant) == ["first", "second"]


async def test_a_change_over_all_tenants_takes_effect_once(database: Database, tenant: str) -> None:
    calls: list[str] = []
    other = f"{tenant}-other"

    async def call() -> StringValue:
        calls.append(f"note-{len(calls)}")
        async with database.system_transaction() as tx:
            await tx.driver.execute("INSERT INTO note VALUES ($1, $2, '')", other, calls[-1])
        # One transaction with the claim and the answer: nobody sees it before they are stored.
        assert await beside(notes(database, other)) == []
        return StringValue(value=calls[-1])

    first = await answer_once(database, key(tenant), StringValue, call)
    second = await answer_once(database, key(tenant), StringValue, call)

    assert first.value == second.value == "note-0"
    assert await notes(database, other) == ["note-0"]


async def test_a_failed_change_over_all_tenants_leaves_nothing(
    database: Database, tenant: str
) -> None:
    async def failing() -> StringValue:
        async with database.system_transaction() as tx:
            await tx.driver.execute("INSERT INTO note VALUES ($1, 'lost', '')", tenant)
        raise NotFound

    with pytest.raises(NotFound):
        await answer_once(database, key(tenant), StringValue, failing)

    assert await notes(database, tenant) == []


async def test_a_call_that_changes_nothing_is_answered_alike_too(
    database: Database, tenant: str
) -> None:
    answers = iter(("one", "two"))

    async def call() -> StringValue:
        return StringValue(value=next(answers))

    first = await answer_once(database, key(tenant), StringValue, call)
    second = await answer_once(database, key(tenant), StringValue, call)

    assert (first.value, second.value) == ("one", "one")


async def test_callbacks_wait_for_the_answer(database: Database, tenant: str) -> None:
    events: list[str] = []

    async def call() -> StringValue:
        async def committed() -> None:
            events.append("committed")

        async with database.transaction(tenant) as tx:
            tx.on_commit(committed)
        events.append("answered")
        return StringValue()

    await answer_once(database, key(tenant), StringValue, call)

    assert events == ["answered", "committed"]


async def test_a_conflict_inside_a_call_is_run_again(database: Database, tenant: str) -> None:
    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await write(tx, f"attempt-{attempts}")
        if attempts == 1:
            await tx.driver.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    async def call() -> StringValue:
        await database.run(tenant, work)
        return StringValue(value="done")

    await answer_once(database, key(tenant), StringValue, call)

    assert await notes(database, tenant) == ["attempt-2"]


async def test_a_repetition_of_a_call_that_does_not_end_is_told_to_retry(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    impatient = kernel_service.connect(PoolLimits(lock_seconds=0.05))
    changed = asyncio.Event()
    go_on = asyncio.Event()

    async def slow() -> StringValue:
        async with database.transaction(tenant) as tx:
            await write(tx, "slow")
        changed.set()
        await go_on.wait()
        return StringValue(value="slow")

    async def repetition() -> StringValue:
        async with impatient.transaction(tenant):
            pytest.fail("ran a second time")

    task = asyncio.create_task(answer_once(database, key(tenant), StringValue, slow))
    await changed.wait()
    try:
        with pytest.raises(LockTimeout):
            await beside(answer_once(impatient, key(tenant), StringValue, repetition))
    finally:
        go_on.set()
        await task
        await impatient.close()


async def test_expired_answers_are_forgotten_and_trimmed(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    calls: list[str] = []
    call = creating(database, tenant, calls)
    for request_id in ("old", "older", "new"):
        await answer_once(database, key(tenant, request_id), StringValue, call)
    async with connection(kernel_service.owner_url) as owner:
        await owner.execute(
            f"""UPDATE {KERNEL_SERVICE}.idempotent_response
            SET created_at = created_at - interval '25 hours'
            WHERE tenant_id = $1 AND request_id LIKE 'old%'""",
            tenant,
        )

    again = await answer_once(database, key(tenant, "old"), StringValue, call)
    trimmed = await trim_answers(database, older_than=timedelta(hours=24))

    assert again.value == "note-3"
    assert trimmed == 1
    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch("SELECT request_id FROM idempotent_response")
    assert {row["request_id"] for row in rows} == {"old", "new"}


async def test_a_kept_answer_is_sealed_and_still_answers_the_repetition(
    database: Database, tenant: str
) -> None:
    envelope = Envelope([SecretStr("ab" * 32)])
    calls: list[str] = []

    async def once() -> StringValue:
        call = creating(database, tenant, calls)
        return await answer_once(database, key(tenant), StringValue, call, envelope=envelope)

    first, second = await once(), await once()

    assert first == second
    assert await notes(database, tenant) == ["note-0"]
    async with database.transaction(tenant) as tx:
        stored = await tx.driver.fetchval("SELECT response FROM idempotent_response")
        # Tests of rotation know only their own master keys.
        await envelope.destroy(tx, tenant)
    assert first.value.encode() not in stored
