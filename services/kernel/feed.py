"""Facts in the order in which they became visible, for readers that must miss none.

A feed is a table with `tenant_id text`, `transaction_id xid8 DEFAULT pg_current_xact_id()` and
`sequence bigint GENERATED ALWAYS AS IDENTITY`, and whatever columns its facts have. A sequence is
no order to read by alone: a transaction with a lower number may commit after one with a higher. So
a reader takes rows by (transaction, sequence), and only those of transactions older than every one
that is still running: nothing can appear before them any more. The price is that a transaction
that stays open delays all feeds of its server, which its idle and statement timeouts bound.
Positions hold through crashes, fail-over and pg_upgrade, not through a dump and restore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeAlias, TypeVar

import asyncpg

from services.kernel.database import Database, Transaction
from services.kernel.errors import OutOfRange
from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from services.kernel.recent_pages import RecentPages
from services.kernel.telemetry import current_traceparent
from services.kernel.wakeup import EVERYBODY

_F = TypeVar("_F")
Row: TypeAlias = asyncpg.Record

PAGE_SIZE = 500  # facts a read returns at most: a few hundred kilobytes
POLL_SECONDS = 1.0  # how late a fact is seen at worst when its hint was lost
PENDING_POLL_SECONDS = 0.05  # when facts wait for an older transaction, whose end gives no hint
HEARTBEAT_SECONDS = 15.0  # less than the idle timeouts of proxies
TRIM_BATCH = 5_000  # rows deleted in one transaction, so that none holds locks for long


class FeedPositionExpired(OutOfRange):
    """The facts after this position are no longer kept; rebuild from the lists, then watch."""

    reason = "FEED_POSITION_EXPIRED"


class Feed(Generic[_F]):
    """Reads the facts of one table."""

    def __init__(
        self,
        database: Database,
        *,
        table: str,
        columns: Sequence[str],
        decode: Callable[[Row], _F],
        time_column: str | None = None,
        trace_column: str | None = None,
    ) -> None:
        """Takes the table and how a row of the columns becomes a fact.

        The table is indexed by (tenant_id, transaction_id, sequence) and, for workers, by
        (transaction_id, sequence).
        """
        self._database = database
        self._table = table
        self._decode = decode
        self._time_column = time_column
        self._trace_column = trace_column
        extra = [name for name in (time_column, trace_column) if name is not None]
        self._columns = list(dict.fromkeys([*columns, *extra]))
        self.channel = f"feed_{table.replace('.', '_')}"
        self._recent = RecentPages(lambda after, limit: self._read_alone(None, after, limit))

    def announce(self, tx: Transaction, *, tenants: Iterable[str] = ()) -> None:
        """Wakes the readers once the transaction that appended to the table is committed.

        tenants: whose facts, default the transaction's tenant; everybody's for a worker.
        """
        names = set(tenants) or {tx.tenant_id or EVERYBODY}

        async def wake() -> None:
            self.wake(names)

        tx.on_commit(wake)

    def wake(self, tenants: Iterable[str]) -> None:
        """Wakes the readers at once; for facts that a statement by itself has committed."""
        for name in tenants:
            self._database.wakeups.announce(self.channel, name)

    async def read(
        self, tx: Transaction, *, after: FeedPosition, limit: int = PAGE_SIZE
    ) -> FeedPage[_F]:
        """Returns the facts after a position that are certain, of the transaction's tenant or all.

        Raises FeedPositionExpired when facts after the position were trimmed; START never expires.
        """
        rows = await tx.driver.fetch(
            self._query(tx.tenant_id),
            after.transaction_id,
            after.sequence,
            limit,
            self._table,
            *([] if tx.tenant_id is None else [tx.tenant_id]),
        )
        first = rows[0]
        floor = FeedPosition(first["floor_transaction_id"], first["floor_sequence"])
        if START < after < floor:
            raise FeedPositionExpired(position=after, oldest=floor)
        items = [self._item(row) for row in rows if row["transaction_id"] is not None]
        is_full = self._size(items) >= limit
        horizon = FeedPosition(first["horizon"], 0)
        return FeedPage(
            items,
            # Below the horizon everything is read, so the next read may skip to it.
            items[-1].position if is_full else max(after, horizon),
            is_full=is_full,
            is_pending=first["is_pending"],
        )

    async def watch(
        self,
        *,
        after: FeedPosition,
        tenant_id: str | None,
        limit: int = PAGE_SIZE,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> AsyncGenerator[FeedPage[_F], None]:
        """Yields the facts after a position for ever, as they become certain.

        tenant_id: None reads all tenants' as the worker. The first page, and one after each
        heartbeat interval without facts, may be empty: its position is as good to resume from.
        """
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        wakeups = self._database.wakeups
        with wakeups.subscribed(self.channel, tenant_id or EVERYBODY) as woken:
            while True:
                woken.clear()
                # The services follow all tenants' facts side by side; a tenant reads alone.
                page = await (
                    self._recent.read(after, limit)
                    if tenant_id is None
                    else self._read_alone(tenant_id, after, limit)
                )
                after = page.position
                if page.items or loop.time() >= beat_at:
                    yield page
                    beat_at = loop.time() + heartbeat_seconds
                if page.is_full:
                    continue
                wait = PENDING_POLL_SECONDS if page.is_pending else POLL_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, heartbeat_seconds)):
                        await woken.wait()

    async def trim(self, *, older_than: timedelta) -> int:
        """Deletes facts that were certain for longer than that, and returns how many.

        Each call also marks the present place, which is how the next ones know ages: call it as
        often as the retention should be exact.
        """
        async with self._database.system_transaction() as tx:
            await tx.driver.execute(
                """
                INSERT INTO feed_mark (feed, transaction_id)
                VALUES ($1, pg_snapshot_xmin(pg_current_snapshot()))
                """,
                self._table,
            )
            floor = await tx.driver.fetchval(
                """
                WITH old AS (
                    DELETE FROM feed_mark WHERE feed = $1 AND marked_at <= now() - $2::interval
                    RETURNING transaction_id
                )
                INSERT INTO feed_floor AS floor (feed, transaction_id, sequence)
                SELECT $1, max(transaction_id), 0 FROM old HAVING count(*) > 0
                ON CONFLICT (feed) DO UPDATE
                SET transaction_id = GREATEST(floor.transaction_id, EXCLUDED.transaction_id)
                RETURNING transaction_id
                """,
                self._table,
                older_than,
            )
        return 0 if floor is None else await self._delete_below(floor)

    async def _delete_below(self, floor: int) -> int:
        total = 0
        while True:
            async with self._database.system_transaction() as tx:
                status = await tx.driver.execute(
                    f"""
                    DELETE FROM {self._table} WHERE (transaction_id, sequence) IN (
                        SELECT transaction_id, sequence FROM {self._table}
                        WHERE transaction_id < $1 ORDER BY transaction_id, sequence LIMIT $2
                    )
                    """,  # noqa: S608 - the table is named in code
                    floor,
                    TRIM_BATCH,
                )
            deleted = int(status.removeprefix("DELETE "))
            total += deleted
            if deleted < TRIM_BATCH:
                return total

    async def _read_alone(
        self, tenant_id: str | None, after: FeedPosition, limit: int
    ) -> FeedPage[_F]:
        async with (
            self._database.system_transaction()
            if tenant_id is None
            else self._database.read(tenant_id)
        ) as tx:
            return await self.read(tx, after=after, limit=limit)

    def _item(self, row: Row) -> FeedItem[_F]:
        return FeedItem(
            FeedPosition(row["transaction_id"], row["sequence"]),
            row["tenant_id"],
            self._decode(row),
            row[self._time_column] if self._time_column is not None else None,
            row[self._trace_column] if self._trace_column is not None else None,
            self._begin(row),
        )

    def _begin(self, row: Row) -> FeedPosition | None:
        """Returns where the changes begin that a row stands for; None where it is one."""
        del row
        return None

    def _size(self, items: Sequence[FeedItem[_F]]) -> int:
        """Returns how many changes items stand for."""
        return len(items)

    def _source(self, certain: str) -> str:
        """Returns the query of items. certain: the condition on changes; $3: how many at most."""
        columns = "".join(f", {column}" for column in self._columns)
        return f"""
            SELECT transaction_id, sequence, tenant_id{columns} FROM {self._table}
            WHERE {certain} ORDER BY transaction_id, sequence LIMIT $3
        """  # noqa: S608 - the table and its columns are named in code

    def _query(self, tenant_id: str | None) -> str:
        """One statement, hence one snapshot: the horizon and the rows agree. Always has a row."""
        # Row security adds the same condition; said here, it also leads the index.
        own = "" if tenant_id is None else "AND tenant_id = $5"
        certain = (
            "(transaction_id, sequence) > ($1::xid8, $2::bigint)"
            f" AND transaction_id < horizon.horizon {own}"
        )
        return f"""
            SELECT horizon.*, item.* FROM (
                SELECT
                    snapshot.xmin AS horizon,
                    COALESCE(floor.transaction_id, '0'::xid8) AS floor_transaction_id,
                    COALESCE(floor.sequence, 0) AS floor_sequence,
                    COALESCE((
                        -- Not EXISTS: that reads the table until a row fits, all where none does.
                        SELECT transaction_id FROM {self._table} WHERE true {own}
                        ORDER BY transaction_id DESC LIMIT 1
                    ) >= snapshot.xmin, false) AS is_pending
                FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) AS snapshot
                LEFT JOIN feed_floor AS floor ON floor.feed = $4
            ) AS horizon LEFT JOIN LATERAL ({self._source(certain)}) AS item ON true
        """  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class EncodedFact:
    """A fact as bytes, and what kind of fact they are."""

    kind: str
    payload: bytes


class EncodedFeed(Feed[EncodedFact]):
    """A feed of a table that `create_feed_table` made: for facts that come by the dozen."""

    def __init__(self, database: Database, *, table: str) -> None:
        super().__init__(
            database,
            table=table,
            columns=("kind", "payload"),
            decode=_decode,
            time_column="appended_at",
            trace_column="traceparent",
        )

    async def append(
        self, tx: Transaction, fact: EncodedFact, *, tenant_id: str | None = None
    ) -> None:
        """Adds a fact in the transaction that makes it true. tenant_id: the transaction's."""
        owner = tenant_id or tx.tenant_id
        await tx.driver.execute(
            f"INSERT INTO {self._table} (tenant_id, traceparent, kind, payload)"  # noqa: S608 - as above
            " VALUES ($1, $2, $3, $4)",
            owner,
            current_traceparent(),
            fact.kind,
            fact.payload,
        )
        self.announce(tx, tenants=[] if owner is None else [owner])


def _decode(row: Row) -> EncodedFact:
    return EncodedFact(row["kind"], row["payload"])
