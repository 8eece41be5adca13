"""Consumers: every fact takes effect exactly once, whatever is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from functools import partial

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from services.kernel.database import Database, Transaction
from services.kernel.errors import Unavailable
from services.kernel.feed import EncodedFact, EncodedFeed, FeedPositionExpired
from services.kernel.feed_consumer import FeedConsumer, FeedGap
from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from tests.support.notes import beside
from tests.support.waiting import eventually

FACTS = 60


class Ledger:
    """Counts how often each fact of one tenant was applied, in the consumer's own table."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database = database
        self.tenant = tenant
        self.feed = EncodedFeed(database, table="note_feed")
        self.spans: list[trace.Span] = []

    async def append(self, *kinds: str) -> None:
        async with self.database.transaction(self.tenant) as tx:
            for kind in kinds:
                await self.feed.append(tx, EncodedFact(kind, b""))

    async def apply(self, tx: Transaction, items: Sequence[FeedItem[EncodedFact]]) -> None:
        self.spans.append(trace.get_current_span())
        await tx.driver.executemany(
            """INSERT INTO applied VALUES ($1, $2, 1)
            ON CONFLICT (tenant_id, note_id) DO UPDATE SET times = applied.times + 1""",
            [(item.tenant_id, item.fact.kind) for item in items],
        )

    async def applied(self) -> dict[str, int]:
        async with self.database.read(self.tenant) as tx:
            rows = await tx.driver.fetch("SELECT note_id, times FROM applied")
        return {row["note_id"]: row["times"] for row in rows}

    def consumer(self) -> FeedConsumer[EncodedFact]:
        return FeedConsumer(self.database, name=self.tenant, apply=self.apply)

    def source(self, after: FeedPosition) -> AsyncGenerator[FeedPage[EncodedFact], None]:
        return self.feed.watch(after=after, tenant_id=self.tenant, limit=7, heartbeat_seconds=0.05)


@pytest.fixture
def ledger(database: Database, tenant: str) -> Ledger:
    return Ledger(database, tenant)


async def test_a_page_received_twice_takes_effect_once(ledger: Ledger) -> None:
    await ledger.append("a", "b")
    consumer = ledger.consumer()
    async with aclosing(ledger.source(START)) as pages:
        page = await anext(pages)

    assert await consumer.consume(page, after=START) == 2
    assert await consumer.consume(page, after=START) == 0

    assert await ledger.applied() == {"a": 1, "b": 1}
    assert await consumer.position() == page.position


async def test_of_overlapping_pages_only_the_news_takes_effect(ledger: Ledger) -> None:
    await ledger.append("a")
    async with aclosing(ledger.source(START)) as pages:
        short = await anext(pages)
    await ledger.append("b")
    async with aclosing(ledger.source(START)) as pages:
        long = await anext(pages)

    consumer = ledger.consumer()
    counts = [await consumer.consume(page, after=START) for page in (short, long)]

    assert counts == [1, 1]
    assert await ledger.applied() == {"a": 1, "b": 1}


async def test_a_page_beyond_the_cursor_is_refused(ledger: Ledger) -> None:
    await ledger.append("a")
    async with aclosing(ledger.source(START)) as pages:
        first = await anext(pages)

    with pytest.raises(FeedGap) as caught:
        await ledger.consumer().consume(first, after=first.position)

    assert caught.value.reason == "FEED_GAP"
    assert caught.value.metadata == {
        "consumer": ledger.tenant,
        "stored": str(START),
        "after": str(first.position),
    }


async def test_what_fails_to_apply_moves_no_cursor(ledger: Ledger) -> None:
    async def fail(tx: Transaction, items: Sequence[FeedItem[EncodedFact]]) -> None:
        await ledger.apply(tx, items)
        raise ValueError("poison")

    await ledger.append("a")
    async with aclosing(ledger.source(START)) as pages:
        page = await anext(pages)
    consumer = FeedConsumer(ledger.database, name=ledger.tenant, apply=fail)

    with pytest.raises(ValueError, match="poison"):
        await consumer.consume(page, after=START)

    assert await consumer.position() == START
    assert await ledger.applied() == {}


async def test_replicas_that_are_cancelled_and_cut_off_apply_each_fact_once(
    ledger: Ledger,
) -> None:
    cuts = 0

    async def flaky(after: FeedPosition) -> AsyncGenerator[FeedPage[EncodedFact], None]:
        nonlocal cuts
        async with aclosing(ledger.source(after)) as pages:
            async for page in pages:
                yield page
                if len(page.items) % 3 == 0 and page.items:
                    cuts += 1
                    raise Unavailable("the stream was cut")

    async def write() -> None:
        for number in range(FACTS):
            await ledger.append(f"fact-{number}")

    async def applied_at_least(goal: int) -> bool:
        return len(await ledger.applied()) >= goal

    writing = beside(write())
    replicas = [beside(ledger.consumer().run(flaky)) for _ in range(2)]
    for number in range(10):  # a crash at ten different moments
        await eventually(partial(applied_at_least, number * 3))
        replicas.append(beside(ledger.consumer().run(flaky)))
        replicas.pop(0).cancel()
    await writing
    await eventually(partial(applied_at_least, FACTS))
    for replica in replicas:
        replica.cancel()
        with suppress(asyncio.CancelledError):
            await replica

    assert await ledger.applied() == {f"fact-{number}": 1 for number in range(FACTS)}
    assert cuts > 0


async def test_an_expired_position_ends_the_consumer(ledger: Ledger) -> None:
    async def expired(after: FeedPosition) -> AsyncGenerator[FeedPage[EncodedFact], None]:
        raise FeedPositionExpired(position=after)
        yield FeedPage([], after)

    with pytest.raises(FeedPositionExpired):
        await ledger.consumer().run(expired)


async def test_applying_is_linked_to_the_traces_that_made_the_facts(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = TracerProvider().get_tracer("test")
    monkeypatch.setattr("services.kernel.feed_consumer._tracer", tracer)
    with tracer.start_as_current_span("change") as change:
        await ledger.append("traced")
    await ledger.append("untraced")
    async with aclosing(ledger.source(START)) as pages:
        page = await anext(pages)

    await ledger.consumer().consume(page, after=START)

    links = ledger.spans[0].links  # type: ignore[attr-defined]
    assert [link.context.span_id for link in links] == [change.get_span_context().span_id]


async def test_a_fact_of_which_a_part_was_applied_is_not_applied_whole(ledger: Ledger) -> None:
    """Another replica read the same changes in other parts, and stored a cursor between them."""
    consumer = ledger.consumer()
    first = FeedItem(FeedPosition(7, 4), ledger.tenant, EncodedFact("first", b""))
    whole = FeedItem(
        FeedPosition(7, 9),
        ledger.tenant,
        EncodedFact("whole", b""),
        begins=FeedPosition(7, 1),
    )
    await consumer.consume(FeedPage([first], first.position), after=START)

    with pytest.raises(FeedGap):
        await consumer.consume(FeedPage([whole], whole.position), after=START)

    assert await ledger.applied() == {"first": 1}
    assert await consumer.position() == first.position
