"""Applies another service's facts to this one's database, each exactly once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeAlias, TypeVar

import structlog
from opentelemetry import metrics, trace

from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Aborted, OutOfRange, Unavailable
from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from services.kernel.telemetry import link_to

_F = TypeVar("_F")
Source: TypeAlias = Callable[[FeedPosition], AsyncGenerator[FeedPage[_F], None]]

LINKS_MAX = 32  # spans that one batch links to: enough to follow, little to export
RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 15.0

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("finops.feed")
_meter = metrics.get_meter("finops.feed")
_applied = _meter.create_counter(
    "finops_feed_applied_total", description="Facts applied, by consumer."
)
_failures = _meter.create_counter(
    "finops_feed_failures_total", description="Interruptions of consumers, each tried again."
)
_lag = _meter.create_histogram(
    "finops_feed_lag_seconds", unit="s", description="Age of the newest fact of a batch."
)


class FeedGap(Aborted):
    """The stored cursor stands before this batch or inside a fact; read again from the cursor."""

    reason = "FEED_GAP"


class FeedConsumer(Generic[_F]):
    """Stores how far it has come in the transaction that applies the facts.

    So a crash repeats only what left no effect, and of several replicas that receive the same
    fact, one applies it.
    """

    def __init__(
        self,
        database: Database,
        *,
        name: str,
        apply: Callable[[Transaction, Sequence[FeedItem[_F]]], Awaitable[None]],
        clock: Clock | None = None,
    ) -> None:
        """name: of the cursor, unique in the service's schema.

        apply: changes this service's tables, and nothing else, in the worker's transaction.
        """
        self._database = database
        self._name = name
        self._apply = apply
        self._clock = clock or SystemClock()

    async def position(self) -> FeedPosition:
        """Returns how far the facts are applied."""
        async with self._database.system_transaction() as tx:
            text = await tx.driver.fetchval(
                "SELECT position FROM feed_cursor WHERE name = $1", self._name
            )
        return FeedPosition.parse(text or "")

    async def consume(self, page: FeedPage[_F], *, after: FeedPosition) -> int:
        """Applies those facts of a page that were not applied before, and returns how many.

        after: the position that the page was read from. Raises FeedGap.
        """
        links = [link for item in page.items[-LINKS_MAX:] for link in link_to(item.traceparent)]
        with _tracer.start_as_current_span(f"feed {self._name}", links=links):
            return await self._database.run(None, lambda tx: self._consume(tx, page, after))

    async def _consume(self, tx: Transaction, page: FeedPage[_F], after: FeedPosition) -> int:
        text = await tx.driver.fetchval(
            """
            INSERT INTO feed_cursor AS cursor (name, position) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING position
            """,  # an update without a change, to lock the row: replicas take turns
            self._name,
            str(START),
        )
        stored = FeedPosition.parse(text)
        if stored < after:
            raise FeedGap(consumer=self._name, stored=stored, after=after)
        if page.position <= stored:
            return 0
        news = [item for item in page.items if item.position > stored]
        if any(item.is_divided_by(stored) for item in news):
            # Another replica read it in other parts: what is left of it is read by itself.
            raise FeedGap(consumer=self._name, stored=stored, after=after)
        if news:
            await self._apply(tx, news)
        await tx.driver.execute(
            "UPDATE feed_cursor SET position = $2, updated_at = now() WHERE name = $1",
            self._name,
            str(page.position),
        )
        self._measure(news)
        return len(news)

    def _measure(self, news: Sequence[FeedItem[_F]]) -> None:
        attributes = {"consumer": self._name}
        _applied.add(len(news), attributes)
        if news and (appended_at := news[-1].appended_at) is not None:
            age = (self._clock.now() - appended_at).total_seconds()
            _lag.record(max(age, 0), attributes)

    async def skip(
        self,
        lost: FeedPosition,
        position: FeedPosition,
        *,
        instead: Callable[[Transaction], Awaitable[None]],
    ) -> bool:
        """Goes on after a position, because what follows the lost one is no longer kept.

        instead: makes up for the facts between, in the same transaction. Does nothing and returns
        False where the cursor stands elsewhere by now, as another replica has moved it.
        """

        async def work(tx: Transaction) -> bool:
            moved = await tx.driver.execute(
                """
                UPDATE feed_cursor SET position = $3, updated_at = now()
                WHERE name = $1 AND position = $2
                """,
                self._name,
                str(lost),
                str(position),
            )
            if moved != "UPDATE 1":
                return False
            await instead(tx)
            return True

        return await self._database.run(None, work)

    async def run(
        self,
        source: Source[_F],
        *,
        recover: Callable[[FeedPosition], Awaitable[None]] | None = None,
    ) -> None:
        """Follows the source until cancelled, and after failures again from the cursor.

        source: opens a stream of pages after a position. A fact that cannot be applied is tried
        again for ever, because skipping it would lose it: the failures are counted and logged.
        recover: moves the cursor where the facts after it are no longer kept; None raises
        OutOfRange then.
        """
        attempt = 0
        after = START
        while True:
            try:
                after = await self.position()
                async with aclosing(source(after)) as pages:
                    async for page in pages:
                        await self.consume(page, after=after)
                        after, attempt = page.position, 0
            except OutOfRange as error:
                if recover is None:
                    raise
                log.exception("facts no longer kept", consumer=self._name, error=repr(error))
                try:
                    await recover(after)
                except Exception as failed:
                    _failures.add(1, {"consumer": self._name})
                    log.exception("not recovered", consumer=self._name, error=repr(failed))
            except (
                Unavailable
            ) as error:  # as expected while the other service or the database starts
                _failures.add(1, {"consumer": self._name})
                log.warning("feed interrupted", consumer=self._name, error=repr(error))
            except Exception as error:
                _failures.add(1, {"consumer": self._name})
                log.exception("feed interrupted", consumer=self._name, error=repr(error))
            attempt += 1
            bound = min(RETRY_SECONDS * 2**attempt, RETRY_SECONDS_MAX)
            await asyncio.sleep(random.uniform(0, bound))  # noqa: S311 - spreads retries
