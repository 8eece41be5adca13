"""A consumer that is behind applies several pages at once, and one that keeps up waits for none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.budget.service.reading_ahead import read_ahead
from services.kernel.errors import Unavailable
from services.kernel.feed import FeedItem, FeedPage, FeedPosition

Page = FeedPage[str]


def page_of(number: int) -> Page:
    position = FeedPosition(number, number)
    return FeedPage([FeedItem(position, "acme", f"fact {number}")], position, is_full=True)


async def endless(read: list[int]) -> AsyncGenerator[Page, None]:
    number = 0
    while True:
        number += 1
        read.append(number)
        yield page_of(number)
        await asyncio.sleep(0)


async def test_pages_that_wait_are_applied_as_one_in_order() -> None:
    async with aclosing(read_ahead(endless([]), together_max=4)) as pages:
        first = await anext(pages)
        for _ in range(50):
            await asyncio.sleep(0)  # applying takes a while
        second = await anext(pages)

    assert [item.fact for item in first.items] == ["fact 1"]
    assert [item.fact for item in second.items] == [f"fact {n}" for n in range(2, 6)]
    assert second.position == FeedPosition(5, 5)


async def test_no_more_is_read_than_is_applied_at_once() -> None:
    read: list[int] = []

    async with aclosing(read_ahead(endless(read), together_max=4)) as pages:
        await anext(pages)
        for _ in range(100):
            await asyncio.sleep(0)

    assert len(read) <= 1 + 4 + 1


async def test_a_full_page_with_nothing_behind_it_is_given_at_once() -> None:
    async def one() -> AsyncGenerator[Page, None]:
        yield page_of(1)
        await asyncio.Event().wait()

    async with aclosing(read_ahead(one())) as pages, asyncio.timeout(5):
        page = await anext(pages)

    assert page.position == FeedPosition(1, 1)


async def test_what_came_before_a_failure_is_given_before_it() -> None:
    async def failing() -> AsyncGenerator[Page, None]:
        yield page_of(1)
        yield page_of(2)
        raise Unavailable

    given: list[str] = []
    with pytest.raises(Unavailable):
        async for page in read_ahead(failing()):
            given += [item.fact for item in page.items]

    assert given == ["fact 1", "fact 2"]
