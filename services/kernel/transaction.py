"""One database transaction, as a use case sees it."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar, TypeVarTuple, overload

import asyncpg
from sqlalchemy import Executable
from sqlalchemy.engine import CursorResult, Row, ScalarResult
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TypedReturnsRows

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Callback: TypeAlias = Callable[[], Awaitable[None]]
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

STREAM_BATCH = 500  # rows a server-side cursor fetches at once: few round trips, little memory


class Transaction:
    """A transaction that `Database` began and will end; nobody else ends it."""

    def __init__(
        self, connection: AsyncConnection, driver: Driver, *, tenant_id: str | None, read_only: bool
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._callbacks: list[Callback] = []
        self._savepoints = itertools.count(1)
        self.began = time.perf_counter()
        self.tenant_id = tenant_id
        self.read_only = read_only

    @property
    def driver(self) -> Driver:
        """The asyncpg connection inside this transaction, for hot paths.

        Its `transaction()` does not nest here: use `savepoint`. Its errors are asyncpg's own.
        """
        return self._driver

    @overload
    async def execute(
        self, statement: TypedReturnsRows[*_Ts], parameters: Parameters | None = None
    ) -> CursorResult[*_Ts]: ...

    @overload
    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]: ...

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Runs an SQLAlchemy statement, buffers its rows; a list of mappings runs it for each."""
        return await self._connection.execute(statement, parameters)

    async def scalars(
        self, statement: TypedReturnsRows[_T], parameters: Parameters | None = None
    ) -> ScalarResult[_T]:
        """Runs a statement and returns its first column."""
        return await self._connection.scalars(statement, parameters)

    async def scalar(
        self, statement: TypedReturnsRows[_T], parameters: Mapping[str, Any] | None = None
    ) -> _T | None:
        """Returns the first column of the first row, None without a row."""
        return await self._connection.scalar(statement, parameters)

    async def stream(
        self, statement: TypedReturnsRows[*_Ts], parameters: Parameters | None = None
    ) -> AsyncGenerator[Row[*_Ts], None]:
        """Yields rows through a server-side cursor, so that any number fits in memory."""
        async with self._connection.stream(
            statement, parameters, execution_options={"yield_per": STREAM_BATCH}
        ) as rows:
            async for row in rows:
                yield row

    async def notify(self, channel: str, payload: str = "") -> None:
        """Wakes listeners when, and only when, this transaction commits.

        PostgreSQL serializes the commits of notifying transactions, so a path that commits hundreds
        of times a second wakes with `on_commit` instead, as the feed does. payload: < 8,000 bytes.
        """
        await self._driver.execute("SELECT pg_notify($1, $2)", channel, payload)

    def on_commit(self, callback: Callback) -> None:
        """Awaits the callback once the commit is certain; for hints that may be lost in a crash."""
        self._callbacks.append(callback)

    def take_callbacks(self) -> list[Callback]:
        """Returns the callbacks registered so far and forgets them; for `Database`."""
        callbacks, self._callbacks = self._callbacks, []
        return callbacks

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undoes its block, and only its block, when that raises."""
        name = f"savepoint_{next(self._savepoints)}"
        kept = len(self._callbacks)
        await self._driver.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            del self._callbacks[kept:]
            if not self._driver.is_closed():
                await self._driver.execute(f"ROLLBACK TO {name}")
            raise
        await self._driver.execute(f"RELEASE {name}")
