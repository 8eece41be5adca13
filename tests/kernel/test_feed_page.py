"""Pages of a feed."""

from __future__ import annotations

from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition, joined


def page_of(*numbers: int, is_full: bool) -> FeedPage[int]:
    items = [FeedItem(FeedPosition(number, number), "acme", number) for number in numbers]
    return FeedPage(items, items[-1].position, is_full=is_full)


def test_pages_that_follow_each_other_end_as_the_last_of_them() -> None:
    page = joined([page_of(1, 2, is_full=True), page_of(3, is_full=False)])

    assert page == page_of(1, 2, 3, is_full=False)
