"""Reads whole periods in constant memory: every entry of usage, or every row of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from services.kernel.ahead import one_ahead
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.filter import parse_order
from services.kernel.pagination import PAGE_SIZE_MAX
from services.kernel.period import Period
from services.usage.domain.answer import GroupOrder
from services.usage.domain.question import CostQuestion, read_period
from services.usage.errors import BulkReadersBusy, UsageArchived
from services.usage.service.costs import CostPage, CostQueries
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import reading

# Each holds a connection and a snapshot for minutes; two leave the pool to questions.
READERS_MAX: Final = 2
TURN_SECONDS: Final = 30.0  # how long a reader waits for its turn
DIMENSIONS_KEPT_MAX: Final = 50_000  # of one reader: some 10 MB
PART_BYTES: Final = 512 << 10  # larger ones cost memory, smaller ones time
# Threads of their own, because each that ever worked on a page keeps some memory of it.
_threads: Final = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="arrow")


class EventsHead(NamedTuple):
    """What holds for all entries of an answer. bill_columns: names they may have."""

    bill_columns: Sequence[str]
    time_zone: str


class EventsPart(NamedTuple):
    """A part of a page of Arrow. rows: of the page, with its last part, else 0."""

    arrow: bytes
    ends_page: bool
    rows: int


class BulkReading:
    """The use cases of reading in bulk."""

    def __init__(
        self, database: Database, contexts: TenantContexts, costs: CostQueries, *, clock: Clock
    ) -> None:
        """Takes the tenants' contexts for their zones, and what answers questions about cost."""
        self._database = database
        self._contexts = contexts
        self._costs = costs
        self._clock = clock
        self._readers = asyncio.Semaphore(READERS_MAX)
        self._of_tenants: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read_events(
        self, tenant_id: str, *, start: str, end: str, filter_text: str
    ) -> AsyncIterator[EventsHead | EventsPart]:
        """Yields a head, then the entries of a period, oldest first, from one snapshot.

        Raises UsageArchived, BulkReadersBusy, InvalidFilter, InvalidInstant, InvalidPeriod.
        """
        tz = (await self._contexts.frame(tenant_id)).tz
        period = read_period(start, end, tz, now=self._clock.now())
        async with self._turn(tenant_id), self._database.read(tenant_id) as tx:
            archived = await reading.archived_months(tx, period)
            if archived:
                months = ", ".join(f"{month:%Y-%m}" for month in archived)
                raise UsageArchived(months=months)
            await reading.hold_snapshot(tx)
            yield EventsHead(await reading.bill_column_names(tx, tenant_id), tz.key)
            async with aclosing(_pages(tx, tenant_id, period, filter_text)) as pages:
                async for page, rows in pages:
                    for begin in range(0, len(page), PART_BYTES):
                        ends_page = begin + PART_BYTES >= len(page)
                        part = page[begin : begin + PART_BYTES]
                        yield EventsPart(part, ends_page, rows if ends_page else 0)

    @asynccontextmanager
    async def _turn(self, tenant_id: str) -> AsyncIterator[None]:
        """Waits until this may read: one reader of a tenant, so that others have room, too."""
        own = self._of_tenants.setdefault(tenant_id, asyncio.Lock())
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await held.enter_async_context(own)
                    await held.enter_async_context(self._readers)
            except TimeoutError:
                raise BulkReadersBusy(
                    retry_after=timedelta(seconds=TURN_SECONDS), readers_max=READERS_MAX
                ) from None
            yield

    async def read_costs(
        self, question: CostQuestion, *, order_by: str, page_size: int
    ) -> AsyncIterator[CostPage]:
        """Yields all rows of an answer in pages; one page where there are no rows.

        Raises TooManyGroups, MissingRate, InvalidFilter, InvalidOrder.
        """
        allowed = {"amount", "start_time", *question.group_by}
        terms = parse_order(order_by, allowed, default="amount desc", tie_break="amount")
        order = GroupOrder([(term.field, term.is_descending) for term in terms], question.group_by)
        answer = await self._costs.answer(question)
        groups = order.sort(answer.groups)
        size = page_size or PAGE_SIZE_MAX
        for begin in range(0, max(len(groups), 1), size):
            yield CostPage(answer, groups[begin : begin + size], "")


async def _pages(
    tx: Transaction, tenant_id: str, period: Period, filter_text: str
) -> AsyncGenerator[tuple[bytes, int], None]:
    """Yields each page as Arrow, and how many entries it has."""
    # Its library takes 40 MB, so it is loaded only when somebody reads in bulk.
    from services.usage.service import arrow_pages  # noqa: PLC0415 - as said

    run = partial(asyncio.get_running_loop().run_in_executor, _threads)
    turns = asyncio.Lock()  # a connection answers one statement at a time
    known = arrow_pages.NO_ATTRIBUTES
    # The database works on the next page while one is written and sent.
    async with aclosing(one_ahead(_texts(tx, tenant_id, period, filter_text, turns))) as texts:
        async for text in texts:
            page = await run(arrow_pages.read_page, text)
            if known.num_rows > DIMENSIONS_KEPT_MAX:
                known = arrow_pages.NO_ATTRIBUTES
            if missing := arrow_pages.missing(page, known):
                async with turns:
                    found = await reading.attributes_csv(tx, tenant_id, missing)
                known = arrow_pages.with_more(known, found)
            yield await run(arrow_pages.write_page, page, known), page.table.num_rows


async def _texts(
    tx: Transaction, tenant_id: str, period: Period, filter_text: str, turns: asyncio.Lock
) -> AsyncGenerator[bytes, None]:
    """Yields each page as CSV."""
    after: reading.Position | None = None
    while True:
        async with turns:
            text = await reading.page_csv(
                tx, tenant_id, period, filter_text=filter_text, after=after
            )
        if not text:
            return
        yield text
        after = reading.last_position(text)
