"""A consumer that is behind gets several items at once, and one that keeps up waits for none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.kernel.ahead import one_ahead, several_ahead


class Source:
    """Counts what was asked of it, and knows whether it was ended."""

    def __init__(self, count: int, *, fails: bool = False) -> None:
        self.given = 0
        self.is_ended = False
        self._count = count
        self._fails = fails

    async def items(self) -> AsyncGenerator[int, None]:
        """Yields numbers from 1 on."""
        try:
            while self.given < self._count:
                self.given += 1
                yield self.given
            if self._fails:
                raise ValueError("broken")
        finally:
            self.is_ended = True


async def test_items_come_in_order_and_one_is_asked_for_ahead() -> None:
    source = Source(5)
    seen = []

    async with aclosing(one_ahead(source.items())) as items:
        async for item in items:
            await asyncio.sleep(0)
            seen.append((item, source.given))

    assert seen == [(1, 2), (2, 3), (3, 4), (4, 5), (5, 5)]
    assert source.is_ended


async def test_consumer_that_stops_ends_the_source() -> None:
    source = Source(1_000)

    async with aclosing(one_ahead(source.items())) as items:
        assert await anext(items) == 1

    assert source.is_ended
    assert source.given <= 2


async def test_failure_comes_after_the_items_before_it() -> None:
    source = Source(2, fails=True)
    seen = []

    with pytest.raises(ValueError, match="broken"):
        async for item in one_ahead(source.items()):
            seen.append(item)  # noqa: PERF401 - what came before the failure

    assert seen == [1, 2]


async def endless(read: list[int]) -> AsyncGenerator[int, None]:
    while True:
        read.append(len(read) + 1)
        yield read[-1]
        await asyncio.sleep(0)


async def test_items_that_wait_come_together_in_order() -> None:
    async with aclosing(several_ahead(endless([]), most=4)) as items:
        first = await anext(items)
        for _ in range(50):
            await asyncio.sleep(0)  # work on it takes a while
        second = await anext(items)

    assert (first, second) == ([1], [2, 3, 4, 5])


async def test_no_more_is_read_than_may_come_together() -> None:
    read: list[int] = []

    async with aclosing(several_ahead(endless(read), most=4)) as items:
        await anext(items)
        for _ in range(100):
            await asyncio.sleep(0)

    assert read == [1, 2, 3, 4, 5]


async def test_item_with_nothing_behind_it_comes_at_once() -> None:
    async def one() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()

    async with aclosing(several_ahead(one(), most=4)) as items, asyncio.timeout(5):
        assert await anext(items) == [1]
