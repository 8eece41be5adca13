"""The cost change feed: every change of cost, each once, in order, from any position on."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.kernel.database import Database
from services.kernel.feed import Feed
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.usage.domain.cost_change import CostChange
from services.usage.domain.event import Attributes
from services.usage.store import changes

_PageKey = tuple[str | None, FeedPosition, FeedPosition]

EVERY_TENANT = "*"
NOW = "now"
DIMENSIONS_KEPT = 50_000
PAGES_KEPT = 8  # explained pages that several watchers may want
DIMENSION_SECONDS = 5.0  # a user who moves to another department is seen there after so long


@dataclass(frozen=True, slots=True, eq=False)
class ChangePage:
    """Some changes with the attributes of each; none for a heartbeat.

    Watchers in step get the same page, not an equal one, so that it can be converted once.
    """

    items: list[tuple[FeedItem[CostChange], Attributes]]
    position: FeedPosition


class CostFeed(Feed[CostChange]):
    """The feed over usage.cost_change."""

    def __init__(self, database: Database) -> None:
        """Takes the usage service's database."""
        super().__init__(
            database,
            table="usage.cost_change",
            columns=changes.COLUMNS,
            decode=changes.change_of,
            time_column="recorded_at",
            trace_column="traceparent",
        )


class CostWatch:
    """The use case of watching."""

    def __init__(self, database: Database, feed: CostFeed) -> None:
        """Takes the feed."""
        self._database = database
        self._feed = feed
        self._known: dict[tuple[str, int], Attributes] = {}
        self._forget_at = 0.0
        self._pages: OrderedDict[_PageKey, ChangePage] = OrderedDict()

    async def watch_costs(
        self, tenant_id: str, *, after: str, limit: int
    ) -> AsyncIterator[ChangePage]:
        """Yields pages of changes for ever. tenant_id: `*` for all tenants.

        after: a position, "" for the oldest kept, `now` for what comes. Raises
        InvalidFeedPosition, FeedPositionExpired.
        """
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        position = await self._start(owner) if after == NOW else FeedPosition.parse(after)
        pages = self._feed.watch(after=position, tenant_id=owner, limit=limit)
        try:
            async for page in pages:
                yield await self._explain(owner, page)
        finally:
            await pages.aclose()

    def forget(self) -> None:
        """Reads attributes anew from here on, because somebody was erased."""
        self._forget_at = 0.0

    async def _explain(self, owner: str | None, page: FeedPage[CostChange]) -> ChangePage:
        """Adds the attributes of each change."""
        await self._learn(owner, [(i.tenant_id, i.fact.dimension_id) for i in page.items])
        first = page.items[0].position if page.items else page.position
        key = (owner, first, page.position)
        known = self._pages.get(key)
        if known is None:
            items = [
                (item, self._known[item.tenant_id, item.fact.dimension_id]) for item in page.items
            ]
            known = self._pages[key] = ChangePage(items, page.position)
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return known

    async def _start(self, owner: str | None) -> FeedPosition:
        async with (
            self._database.system_transaction() if owner is None else self._database.read(owner)
        ) as tx:
            return FeedPosition(await changes.horizon(tx), 0)

    async def _learn(self, owner: str | None, keys: list[tuple[str, int]]) -> None:
        if time.monotonic() > self._forget_at or len(self._known) > DIMENSIONS_KEPT:
            self._known = {}
            self._pages.clear()
            self._forget_at = time.monotonic() + DIMENSION_SECONDS
        missing = {key for key in keys if key not in self._known}
        if not missing:
            return
        known = self._known
        async with (
            self._database.system_transaction() if owner is None else self._database.read(owner)
        ) as tx:
            found = await changes.dimensions(tx, missing)
        known.update((key, dimension.attributes) for key, dimension in found.items())
        # Another watcher may have begun a new memory meanwhile: give it what this page needs.
        self._known.update((key, known[key]) for key in keys)
