"""Readers side by side share what is read, and none misses or repeats a fact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from services.kernel.recent_pages import RecentPages

FACTS = [FeedItem(FeedPosition(number, number), "acme", number) for number in range(1, 101)]


class Storage:
    """A feed of a hundred facts, of which the first `certain` can be read."""

    def __init__(self) -> None:
        self.certain = len(FACTS)
        self.reads = 0

    async def read(self, after: FeedPosition, limit: int) -> FeedPage[int]:
        self.reads += 1
        await asyncio.sleep(0)
        horizon = FeedPosition(self.certain + 1, 0)
        items = [item for item in FACTS if after < item.position < horizon][:limit]
        is_full = len(items) == limit
        return FeedPage(items, items[-1].position if is_full else max(after, horizon), is_full)


@pytest.fixture
def storage() -> Storage:
    return Storage()


async def follow(read: Callable[..., object], after: FeedPosition, limit: int) -> list[int]:
    facts: list[int] = []
    while len(FACTS) > (facts[-1] if facts else 0):
        page = await read(after, limit)  # type: ignore[misc]
        facts += [item.fact for item in page.items]
        after = page.position
    return facts


async def test_readers_side_by_side_share_every_page(storage: Storage) -> None:
    pages = RecentPages(storage.read)

    found = await asyncio.gather(*(follow(pages.read, START, 10) for _ in range(4)))

    assert found == [list(range(1, 101))] * 4
    assert storage.reads == 10


async def test_a_reader_within_a_page_gets_the_rest_of_it_and_falls_into_step(
    storage: Storage,
) -> None:
    pages = RecentPages(storage.read)
    await pages.read(START, 10)

    page = await pages.read(FACTS[6].position, 10)

    assert [item.fact for item in page.items] == [8, 9, 10]
    assert page.position == FACTS[9].position
    assert storage.reads == 1


async def test_a_smaller_limit_is_kept(storage: Storage) -> None:
    pages = RecentPages(storage.read)
    await pages.read(START, 10)

    assert [item.fact for item in (await pages.read(START, 3)).items] == [1, 2, 3]
    assert [item.fact for item in (await pages.read(FACTS[3].position, 3)).items] == [5, 6, 7]


async def test_a_reader_behind_what_is_kept_reads_alone(storage: Storage) -> None:
    pages = RecentPages(storage.read, kept=2)
    await follow(pages.read, START, 10)
    storage.reads = 0

    assert await follow(pages.read, START, 10) == list(range(1, 101))
    assert storage.reads == 10


async def test_the_end_is_looked_at_anew_each_time(storage: Storage) -> None:
    storage.certain = 5
    pages = RecentPages(storage.read)
    page = await pages.read(START, 10)
    assert [item.fact for item in page.items] == [1, 2, 3, 4, 5]
    assert (await pages.read(page.position, 10)).items == []

    storage.certain = 7

    assert [item.fact for item in (await pages.read(page.position, 10)).items] == [6, 7]


async def test_a_failed_read_is_every_readers_own(storage: Storage) -> None:
    failures = iter([OSError("down"), OSError("down")])

    async def read(after: FeedPosition, limit: int) -> FeedPage[int]:
        for failure in failures:
            raise failure
        return await storage.read(after, limit)

    pages = RecentPages(read)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            await pages.read(START, 10)
    assert len((await pages.read(START, 10)).items) == 10


async def test_a_reader_within_a_fact_of_several_changes_reads_for_itself() -> None:
    whole = FeedItem(FeedPosition(7, 9), "acme", 7, begins=FeedPosition(7, 1))
    reads: list[FeedPosition] = []

    async def read(after: FeedPosition, limit: int) -> FeedPage[int]:
        del limit
        reads.append(after)
        return FeedPage([whole], whole.position)

    pages = RecentPages(read)
    await pages.read(START, 10)
    await pages.read(FeedPosition(6, 1), 10)

    await pages.read(FeedPosition(7, 4), 10)

    assert reads == [START, FeedPosition(7, 4)]
