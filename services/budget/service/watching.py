"""Follows the changes of budgets, each once, in order, from any position on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

from services.budget.domain.change import BudgetChange
from services.budget.store.changes import BudgetFeed
from services.kernel.feed_page import FeedPage, FeedPosition

ChangePage = FeedPage[BudgetChange]
EVERY_TENANT: Final = "*"
NOW: Final = "now"


class BudgetWatch:
    """The use case of watching."""

    def __init__(self, feed: BudgetFeed) -> None:
        """Takes the feed."""
        self._feed = feed

    async def watch_budgets(
        self, tenant_id: str, *, after: str, budget_ids: Collection[str]
    ) -> AsyncIterator[ChangePage]:
        """Yields pages of changes for ever. tenant_id: `*` for all tenants.

        after: a position, "" for the oldest kept, `now` for what comes. budget_ids: none for all.
        Raises InvalidFeedPosition, FeedPositionExpired.
        """
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        if after == NOW:
            position = await self._feed.horizon(owner)
        else:
            position = FeedPosition.parse(after)
        wanted = frozenset(budget_ids)
        pages = self._feed.watch(after=position, tenant_id=owner)
        try:
            async for page in pages:
                items = [i for i in page.items if not wanted or i.fact.budget_id in wanted]
                if items or not page.items:
                    yield FeedPage(items, page.position)
        finally:
            await pages.aclose()
