"""The feed: complete, in order, resumable, and each tenant's own."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import TracerProvider

from services.kernel.database import Database
from services.kernel.feed import EncodedFact, EncodedFeed, Feed, FeedPositionExpired
from services.kernel.feed_page import START, FeedPosition, InvalidFeedPosition
from tests.support.database import KERNEL_SERVICE, ServiceDatabase, connection
from tests.support.notes import beside
from tests.support.waiting import eventually


@pytest.fixture
def feed(database: Database) -> EncodedFeed:
    return EncodedFeed(database, table="note_feed")


async def append(feed: EncodedFeed, database: Database, tenant: str, *kinds: str) -> None:
    async with database.transaction(tenant) as tx:
        for kind in kinds:
            await feed.append(tx, EncodedFact(kind, b"payload"))


async def kinds_after(
    feed: EncodedFeed, database: Database, tenant: str, after: FeedPosition = START
) -> list[str]:
    async with database.read(tenant) as tx:
        return [item.fact.kind for item in (await feed.read(tx, after=after)).items]


def test_the_text_of_positions_sorts_as_they_do() -> None:
    positions = [FeedPosition(2, 10), FeedPosition(10, 9), FeedPosition(10, 10), START]

    assert sorted(map(str, positions)) == [str(position) for position in sorted(positions)]
    assert [FeedPosition.parse(str(position)) for position in positions] == positions
    assert FeedPosition.parse("") == START


@pytest.mark.parametrize("text", ["1-2", "x", "0" * 20 + "-" + "\u0660" * 19, "0" * 41])
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidFeedPosition) as caught:
        FeedPosition.parse(text)

    assert caught.value.reason == "INVALID_FEED_POSITION"
    assert caught.value.metadata == {"position": text}


async def test_facts_come_in_order_and_page_by_page(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    await append(feed, database, tenant, "a", "b", "c")
    await append(feed, database, tenant, "d", "e")

    seen: list[str] = []
    after = START
    async with database.read(tenant) as tx:
        while True:
            page = await feed.read(tx, after=after, limit=2)
            seen += [item.fact.kind for item in page.items]
            after = page.position
            if not page.is_full:
                break

    assert seen == ["a", "b", "c", "d", "e"]
    assert page.items[0].fact == EncodedFact("e", b"payload")
    assert page.items[0].tenant_id == tenant
    assert page.items[0].appended_at is not None


async def test_a_rolled_back_fact_never_was(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    with pytest.raises(ValueError, match="no"):
        async with database.transaction(tenant) as tx:
            await feed.append(tx, EncodedFact("lost", b""))
            raise ValueError("no")

    assert await kinds_after(feed, database, tenant) == []


async def test_a_late_commit_is_not_skipped_though_a_naive_reader_skips_it(
    feed: EncodedFeed, database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    naive = (
        f"SELECT sequence, kind FROM {KERNEL_SERVICE}.note_feed"
        " WHERE tenant_id = $1 AND sequence > $2 ORDER BY sequence"
    )
    insert = (
        f"INSERT INTO {KERNEL_SERVICE}.note_feed (tenant_id, kind, payload) VALUES ($1, $2, '')"
    )
    seen: list[str] = []
    seen_naively: list[str] = []
    async with connection(kernel_service.worker_url) as early:
        transaction = early.transaction()
        await transaction.start()
        await early.execute(insert, tenant, "early")  # the lower transaction and sequence
        await append(feed, database, tenant, "late")  # begins later, commits first

        async with database.read(tenant) as tx:
            page = await feed.read(tx, after=START)
            rows = await tx.driver.fetch(naive, tenant, 0)
        seen += [item.fact.kind for item in page.items]
        seen_naively += [row["kind"] for row in rows]
        assert page.is_pending

        await transaction.commit()

    async with database.read(tenant) as tx:
        page = await feed.read(tx, after=page.position)
        rows = await tx.driver.fetch(naive, tenant, rows[-1]["sequence"])
    seen += [item.fact.kind for item in page.items]
    seen_naively += [row["kind"] for row in rows]

    assert seen == ["early", "late"]
    assert seen_naively == ["late"]  # the fact that a reader by sequence never sees


async def test_readers_beside_many_writers_miss_and_repeat_nothing(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    writers, transactions = 8, 20
    chance = random.Random(7)

    async def write(writer: int) -> None:
        for number in range(transactions):
            async with database.transaction(tenant) as tx:
                await feed.append(tx, EncodedFact(f"{writer}.{number}", b""))
                if chance.random() < 0.5:
                    await tx.driver.execute("SELECT pg_sleep($1)", chance.random() / 200)

    async def follow() -> list[str]:
        kinds: list[str] = []
        async with aclosing(feed.watch(after=START, tenant_id=tenant, limit=7)) as pages:
            async for page in pages:
                kinds += [item.fact.kind for item in page.items]
                if len(kinds) >= writers * transactions:
                    break
        return kinds

    async with asyncio.timeout(30):
        writing = asyncio.gather(*(beside(write(writer)) for writer in range(writers)))
        one, other = await asyncio.gather(beside(follow()), beside(follow()))
        await writing

    assert one == other
    assert len(one) == len(set(one)) == writers * transactions
    for writer in range(writers):
        own = [kind for kind in one if kind.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}" for number in range(transactions)]


async def test_a_tenant_reads_its_own_facts_and_a_worker_all(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    other = f"{tenant}-other"
    await append(feed, database, tenant, "mine")
    await append(feed, database, other, "theirs")

    assert await kinds_after(feed, database, tenant) == ["mine"]
    async with database.system_transaction() as tx:
        page = await feed.read(tx, after=START, limit=100_000)
    owners = {item.tenant_id for item in page.items}
    assert {tenant, other} <= owners


async def test_a_watcher_is_woken_and_resumes_where_it_was(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    await append(feed, database, tenant, "before")

    async with asyncio.timeout(10), aclosing(feed.watch(after=START, tenant_id=tenant)) as pages:
        first = await anext(pages)
        await append(feed, database, tenant, "during")
        second = await anext(pages)
    await append(feed, database, tenant, "away")
    async with (
        asyncio.timeout(10),
        aclosing(feed.watch(after=second.position, tenant_id=tenant)) as pages,
    ):
        third = await anext(pages)

    assert [[item.fact.kind for item in page.items] for page in (first, second, third)] == [
        ["before"],
        ["during"],
        ["away"],
    ]


async def test_another_process_is_woken_long_before_it_would_look_itself(
    feed: EncodedFeed,
    database: Database,
    kernel_service: ServiceDatabase,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.kernel.feed.POLL_SECONDS", 60)
    monkeypatch.setattr("services.kernel.feed.PENDING_POLL_SECONDS", 0.05)
    async with AsyncExitStack() as stack:
        another = kernel_service.connect()
        stack.push_async_callback(another.close)
        watching = EncodedFeed(another, table="note_feed").watch(
            after=START, tenant_id=tenant, heartbeat_seconds=60
        )
        pages = await stack.enter_async_context(aclosing(watching))
        await stack.enter_async_context(asyncio.timeout(10))
        assert (await anext(pages)).items == []
        for number in range(3):
            await append(feed, database, tenant, f"fact-{number}")
            page = await anext(pages)
            assert [item.fact.kind for item in page.items] == [f"fact-{number}"]


async def test_a_lost_connection_of_the_wakeups_is_made_anew(
    feed: EncodedFeed,
    database: Database,
    kernel_service: ServiceDatabase,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.kernel.feed.POLL_SECONDS", 60)
    another = kernel_service.connect()
    listening = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> ALL ($1)
    """
    try:
        async with (
            asyncio.timeout(20),
            connection(kernel_service.owner_url) as owner,
            aclosing(
                EncodedFeed(another, table="note_feed").watch(after=START, tenant_id=tenant)
            ) as pages,
        ):
            known = [row["pid"] for row in await owner.fetch(listening, [])]
            await anext(pages)
            found = await eventually(lambda: owner.fetch(listening, known))
            await owner.execute("SELECT pg_terminate_backend($1, 5000)", found[0]["pid"])
            known.append(found[0]["pid"])
            await eventually(lambda: owner.fetch(listening, known))

            await append(feed, database, tenant, "after")
            page = await anext(pages)

        assert [item.fact.kind for item in page.items] == ["after"]
    finally:
        await another.close()


async def test_a_quiet_feed_beats_with_a_position_to_resume_from(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    await append(feed, database, tenant, "a")

    async with (
        asyncio.timeout(10),
        aclosing(feed.watch(after=START, tenant_id=tenant, heartbeat_seconds=0.02)) as pages,
    ):
        first = await anext(pages)
        await append(feed, database, f"{tenant}-other", "elsewhere")
        beat = await anext(pages)

    assert [item.fact.kind for item in first.items] == ["a"]
    assert beat.items == []
    assert beat.position >= first.position > first.items[-1].position
    await append(feed, database, tenant, "b")
    assert await kinds_after(feed, database, tenant, beat.position) == ["b"]


async def test_trimmed_facts_are_gone_and_their_positions_expired(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    async with connection(kernel_service.owner_url) as owner:
        await owner.execute(
            f"CREATE TABLE {KERNEL_SERVICE}.trim_feed (LIKE"
            f" {KERNEL_SERVICE}.note_feed INCLUDING ALL)"
        )
    feed = EncodedFeed(database, table="trim_feed")
    await append(feed, database, tenant, "old", "old too")
    async with database.system_transaction() as tx:
        old = (await feed.read(tx, after=START)).items[0].position

    assert await feed.trim(older_than=timedelta(hours=1)) == 0  # marks where "old" ends
    async with database.system_transaction() as tx:
        await tx.driver.execute("UPDATE feed_mark SET marked_at = marked_at - interval '2 hours'")
    await append(feed, database, tenant, "new")
    trimmed = await feed.trim(older_than=timedelta(hours=1))

    assert trimmed == 2
    assert await kinds_after(feed, database, tenant) == ["new"]
    with pytest.raises(FeedPositionExpired) as caught:
        await kinds_after(feed, database, tenant, old)
    assert caught.value.reason == "FEED_POSITION_EXPIRED"
    oldest = FeedPosition.parse(caught.value.metadata["oldest"])
    assert caught.value.metadata["position"] == str(old)
    assert await kinds_after(feed, database, tenant, oldest) == ["new"]
    async with connection(kernel_service.owner_url) as owner:
        # Other tests look at every table of the schema, and this one has no row-level security.
        await owner.execute(f"DROP TABLE {KERNEL_SERVICE}.trim_feed")


async def test_any_table_with_the_three_columns_is_a_feed(
    database: Database, kernel_service: ServiceDatabase, tenant: str
) -> None:
    async with connection(kernel_service.owner_url) as owner:
        await owner.execute(f"""
            CREATE TABLE {KERNEL_SERVICE}.cost_change (
                tenant_id text NOT NULL,
                transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
                sequence bigint GENERATED ALWAYS AS IDENTITY,
                cost numeric NOT NULL,
                PRIMARY KEY (tenant_id, transaction_id, sequence)
            )""")
    feed = Feed(database, table="cost_change", columns=("cost",), decode=lambda row: row["cost"])

    async with database.transaction(tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO cost_change (tenant_id, cost) SELECT $1, n FROM generate_series(1, 3) n",
            tenant,
        )
        feed.announce(tx)

    async with database.read(tenant) as tx:
        page = await feed.read(tx, after=START)
    async with connection(kernel_service.owner_url) as owner:
        # Dropped for the same reason as trim_feed.
        await owner.execute(f"DROP TABLE {KERNEL_SERVICE}.cost_change")
    assert [item.fact for item in page.items] == [1, 2, 3]
    assert page.items[0].appended_at is None


async def test_a_fact_carries_the_trace_that_made_it(
    feed: EncodedFeed, database: Database, tenant: str
) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("span") as span:
        await append(feed, database, tenant, "traced")
    await append(feed, database, tenant, "untraced")

    async with database.read(tenant) as tx:
        traced, untraced = (await feed.read(tx, after=START)).items
    assert traced.traceparent is not None
    assert traced.traceparent.split("-")[1] == f"{span.get_span_context().trace_id:032x}"
    assert untraced.traceparent is None
