"""The cost change feed for those who follow all of it: whole transactions, in columns.

A service that keeps up with ingest cannot afford a message a change. So nothing here is done once a
change in Python: columns go from the database to the wire, and attributes of a dimension go once a
stream.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.kernel.database import Database
from services.kernel.feed import Feed, Row
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.usage.domain.cost_block import CostBlock
from services.usage.domain.event import Attributes
from services.usage.service.watching import EVERY_TENANT
from services.usage.store import changes

DIMENSIONS_KEPT: Final = 50_000  # here, and by a stream's reader; some 60 MB
PAGES_KEPT: Final = 16  # like the pages of a feed
FRESH_SECONDS: Final = 5.0  # who was erased or moved to another department is told so after so long

_Told = dict[str, dict[int, Attributes]]
_Known = Mapping[str, Mapping[int, Attributes]]
_PageKey = tuple[str | None, FeedPosition, FeedPosition]


@dataclass(frozen=True, slots=True, eq=False)
class BlockPage:
    """Some blocks; none for a heartbeat. Readers in step get the same one, to convert it once."""

    blocks: Sequence[FeedItem[CostBlock]]
    position: FeedPosition


@dataclass(frozen=True, slots=True)
class Following:
    """What a stream goes on with.

    told: dimensions of each tenant that this reader does not know yet, or not like this.
    is_forgetting: what the stream told before is void.
    """

    told: Mapping[str, Mapping[int, Attributes]]
    page: BlockPage
    is_forgetting: bool


class CostBlocks(Feed[CostBlock]):
    """The feed over usage.cost_change, one item a transaction of a tenant."""

    def __init__(self, database: Database) -> None:
        """Takes the usage service's database."""
        super().__init__(
            database,
            table="usage.cost_change",
            columns=(),
            decode=changes.block_of,
            time_column="recorded_at",
            trace_column="traceparent",
        )

    def _source(self, certain: str) -> str:
        return changes.BLOCKS.format(certain=certain)

    def _size(self, items: Sequence[FeedItem[CostBlock]]) -> int:
        return sum(len(item.fact.numbers) for item in items)

    def _begin(self, row: Row) -> FeedPosition:
        return FeedPosition(row["transaction_id"], row["first_sequence"])


class Dimensions:
    """What is known of the dimensions that a feed names, read again when it may have changed."""

    def __init__(self, database: Database, owner: str | None) -> None:
        """owner: whose dimensions; None for all tenants'."""
        self._database = database
        self._owner = owner
        self._known: dict[str, dict[int, Attributes]] = {}
        self._count = 0
        self._passing: dict[tuple[str, int], Attributes] = {}  # the directory may change these
        self._erasures = (0, 0)
        self._check_at = 0.0
        # One reader at a time: what another drops meanwhile must not come back by this one.
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        """Looks for erasures at the next question."""
        self._check_at = 0.0

    async def of(self, blocks: Sequence[FeedItem[CostBlock]]) -> _Known:
        """Returns the attributes of at least all dimensions that blocks name."""
        async with self._reading:
            if time.monotonic() >= self._check_at or self._count > DIMENSIONS_KEPT:
                await self._check()
            missing = {
                (item.tenant_id, number)
                for item in blocks
                for number in set(item.fact.dimension_ids).difference(
                    self._known.get(item.tenant_id, ())
                )
            }
            if missing:
                await self._read(missing)
            return self._known

    async def _check(self) -> None:
        """Drops what erasures made untrue, and what the directory may have changed."""
        check_at = time.monotonic() + FRESH_SECONDS
        async with (
            self._database.system_transaction()
            if self._owner is None
            else (self._database.read(self._owner)) as tx
        ):
            erasures = await changes.erasures(tx)
        if erasures != self._erasures or self._count > DIMENSIONS_KEPT:
            # Another object, because readers may still look into the one before.
            self._known, self._passing, self._count = {}, {}, 0
        for tenant_id, number in self._passing:
            if self._known[tenant_id].pop(number, None) is not None:
                self._count -= 1
        self._erasures, self._check_at = erasures, check_at

    async def _read(self, missing: set[tuple[str, int]]) -> None:
        async with (
            self._database.system_transaction()
            if self._owner is None
            else (self._database.read(self._owner)) as tx
        ):
            found = await changes.dimensions(tx, missing)
        for key, dimension in found.items():
            attributes = dimension.attributes
            if not dimension.is_lasting:
                # The same object while nothing has changed, so that no stream tells it again.
                before = self._passing.get(key)
                attributes = before if before == attributes and before else attributes
                self._passing[key] = attributes
            self._known.setdefault(key[0], {})[key[1]] = attributes
        self._count += len(found)


class CostFollowing:
    """The use case of following."""

    def __init__(self, database: Database) -> None:
        """Takes the usage service's database."""
        self._database = database
        self._feed = CostBlocks(database)
        self._everybodys = Dimensions(database, None)
        self._pages: OrderedDict[_PageKey, BlockPage] = OrderedDict()

    async def watch_cost_blocks(
        self, tenant_id: str, *, after: str, limit: int
    ) -> AsyncIterator[Following]:
        """Yields changes after a position for ever. tenant_id: `*` for all tenants.

        limit: after so many changes a page ends with the transaction at hand. Raises
        InvalidFeedPosition, FeedPositionExpired.
        """
        owner = None if tenant_id == EVERY_TENANT else tenant_id
        known = self._everybodys if owner is None else Dimensions(self._database, owner)
        told: _Told = {}
        pages = self._feed.watch(after=FeedPosition.parse(after), tenant_id=owner, limit=limit)
        try:
            async for page in pages:
                of = await known.of(page.items)
                news = _news(page.items, of, told)
                is_full = _size(told) + _size(news) > DIMENSIONS_KEPT
                if is_full:
                    told.clear()
                    news = _news(page.items, of, told)
                for tenant, found in news.items():
                    told.setdefault(tenant, {}).update(found)
                yield Following(news, self._shared(owner, page), is_full)
        finally:
            await pages.aclose()

    def forget(self) -> None:
        """Reads attributes anew from here on, because somebody was erased."""
        self._everybodys.forget()

    def _shared(self, owner: str | None, page: FeedPage[CostBlock]) -> BlockPage:
        first = page.items[0].begins if page.items else None
        key = (owner, first or page.position, page.position)
        known = self._pages.get(key)
        if known is None:
            known = self._pages[key] = BlockPage(page.items, page.position)
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return known


def _news(blocks: Sequence[FeedItem[CostBlock]], known: _Known, told: _Told) -> _Told:
    """Returns the dimensions that blocks name and that were not told, or not like this."""
    news: _Told = {}
    for item in blocks:
        of, before = known[item.tenant_id], told.get(item.tenant_id, {})
        found = {
            number: of[number]
            for number in set(item.fact.dimension_ids)
            if before.get(number) is not of[number]
        }
        if found:
            news.setdefault(item.tenant_id, {}).update(found)
    return news


def _size(told: _Told) -> int:
    return sum(map(len, told.values()))
