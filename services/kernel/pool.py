"""A bounded pool of connections of one role, and the beginning and end of transactions on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import asyncpg
import sqlalchemy.ext.asyncio
import structlog
from opentelemetry import metrics
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kernel.database_errors import (
    DRIVER_ERRORS,
    CommitUnknown,
    DatabaseUnavailable,
    TransactionConflict,
    translate,
)
from services.kernel.errors import Error
from services.kernel.transaction import Driver

log = structlog.get_logger(__name__)
_wait = metrics.get_meter("finops.database").create_histogram(
    "finops_database_connection_wait_seconds",
    unit="s",
    description="How long a transaction waited for its connection.",
)

HUNG_SECONDS = 900  # a connection without an answer for so long is dead, whatever TCP believes
ROLLBACK_SECONDS = 5  # beyond, the connection is cut, which rolls back too
RECYCLE_SECONDS = 1800  # a connection's memory in the server grows with its plan cache


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The bounds of one pool; every time in seconds.

    connections: five services of three pools must fit PostgreSQL's default of 100.
    wait_seconds: how long a caller queues for a connection before it is told to come back.
    statement_seconds, lock_seconds, idle_seconds: enforced by the server.
    """

    connections: int = 6
    wait_seconds: float = 5
    connect_seconds: float = 5
    statement_seconds: float = 30
    lock_seconds: float = 10
    idle_seconds: float = 60


class RolledBack(RuntimeError):
    """The block swallowed a database error, so its commit was answered with a rollback."""


class Pool:
    """Connections to one URL; opened when first needed, re-opened when they break."""

    def __init__(
        self,
        url: str,
        *,
        service: str,
        purpose: str,
        limits: PoolLimits,
        plan_cache_mode: str = "auto",
    ) -> None:
        """Takes any libpq URL. purpose: shown as application_name and on metrics.

        plan_cache_mode: PostgreSQL's, whether a plan is made for the values at hand or for any.
        """
        self.purpose = purpose
        self._url = url
        self._limits = limits
        self._settings = {
            "application_name": f"finops-{service}-{purpose}",
            "search_path": service,
            "plan_cache_mode": plan_cache_mode,
            "timezone": "UTC",
            "statement_timeout": _milliseconds(limits.statement_seconds),
            "lock_timeout": _milliseconds(limits.lock_seconds),
            "idle_in_transaction_session_timeout": _milliseconds(limits.idle_seconds),
        }
        # Called through the module, because telemetry instruments that attribute.
        self._engine = sqlalchemy.ext.asyncio.create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            # SQLAlchemy must not begin: `begin` does it, with the tenant, in one round trip.
            isolation_level="AUTOCOMMIT",
            pool_size=limits.connections,
            max_overflow=0,
            pool_timeout=limits.wait_seconds,
            pool_recycle=RECYCLE_SECONDS,
        )

    async def connect(self) -> Driver:
        """Opens a connection outside the pool, with the pool's settings; the caller closes it."""
        return await asyncpg.connect(
            self._url,
            timeout=self._limits.connect_seconds,
            command_timeout=HUNG_SECONDS,
            server_settings=self._settings,
        )

    async def begin(self, statement: str) -> tuple[AsyncConnection, Driver]:
        """Takes a connection and runs a BEGIN on it.

        A connection that broke while it was idle, as all do when PostgreSQL restarts, is replaced:
        nothing has happened on it yet. Raises DatabaseUnavailable, DatabaseBusy.
        """
        for _ in range(self._limits.connections + 1):
            started = time.perf_counter()
            connection, driver = await self._acquire()
            _wait.record(time.perf_counter() - started, {"pool": self.purpose})
            try:
                await driver.execute(statement)
            except DRIVER_ERRORS as error:
                is_lost = _is_lost(driver, error)
                await self._discard(connection)
                if not is_lost:
                    _raise_meaning(error)
            except BaseException:
                await self._discard(connection)
                raise
            else:
                return connection, driver
        raise DatabaseUnavailable

    async def fetch(self, query: str, parameters: Sequence[object]) -> list[asyncpg.Record]:
        """Runs one statement outside of any transaction: it commits by itself, before its rows.

        Raises CommitUnknown when the connection broke meanwhile, else as `begin` and the database.
        """
        for _ in range(self._limits.connections + 1):
            connection, driver = await self._acquire()
            if driver.is_closed():
                await self._discard(connection)  # broken while it was idle; nothing was sent
                continue
            try:
                rows = await driver.fetch(query, *parameters)
            except (*DRIVER_ERRORS, TimeoutError) as error:
                meaning = translate(error, is_lost=_is_lost(driver, error))
                # A server that says goodbye may have committed before.
                if meaning is None and not isinstance(error, (OSError, TimeoutError)):
                    await connection.close()
                    raise
                if meaning is None or isinstance(meaning, DatabaseUnavailable):
                    await self._discard(connection)
                    raise CommitUnknown from error
                await connection.close()
                raise meaning from error
            except BaseException:
                await self._discard(connection)
                raise
            await connection.close()
            return rows
        raise DatabaseUnavailable

    async def _acquire(self) -> tuple[AsyncConnection, Driver]:
        try:
            connection = await self._engine.connect()
        except TimeoutError as error:
            raise DatabaseUnavailable from error
        except (SQLAlchemyError, *DRIVER_ERRORS) as error:
            _raise_meaning(error)
        driver = (await connection.get_raw_connection()).driver_connection
        if driver is None:
            raise DatabaseUnavailable
        return connection, driver

    async def finish(self, connection: AsyncConnection, driver: Driver) -> None:
        """Commits and gives the connection back, even while the caller is being cancelled.

        Raises CommitUnknown when the connection broke, TransactionConflict, RolledBack, and the
        database's own error when a deferred constraint is violated.
        """
        await _settled(self._commit(connection, driver))

    async def abandon(self, connection: AsyncConnection, driver: Driver) -> None:
        """Rolls back and gives the connection back, even while the caller is being cancelled."""
        await _settled(self._rollback(connection, driver))

    async def _commit(self, connection: AsyncConnection, driver: Driver) -> None:
        if driver.is_closed():
            # Broken before the commit was sent: certainly rolled back, so this is not unknown.
            await self._discard(connection)
            raise DatabaseUnavailable
        try:
            status = await driver.execute("COMMIT")
        except BaseException as error:
            is_lost = _is_lost(driver, error)
            await self._rollback(connection, driver)
            meaning = _commit_meaning(error, is_lost=is_lost)
            if meaning is None:
                raise
            raise meaning from error
        await connection.close()
        if status != "COMMIT":
            raise RolledBack("a database error was swallowed inside the transaction")

    async def _rollback(self, connection: AsyncConnection, driver: Driver) -> None:
        try:
            if driver.is_in_transaction():
                async with asyncio.timeout(ROLLBACK_SECONDS):
                    await driver.execute("ROLLBACK")
            await connection.close()
        except (*DRIVER_ERRORS, TimeoutError) as error:
            log.warning("rollback cut the connection", pool=self.purpose, error=repr(error))
            await self._discard(connection)

    async def _discard(self, connection: AsyncConnection) -> None:
        await connection.invalidate()
        await connection.close()

    @property
    def connections_in_use(self) -> int:
        """How many connections callers hold at the moment."""
        in_use: int = self._engine.pool.checkedout()  # type: ignore[attr-defined]
        return in_use

    async def close(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        await self._engine.dispose()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _raise_meaning(error: Exception) -> NoReturn:
    meaning = translate(error, is_lost=True)
    if meaning is None:
        raise error
    raise meaning from error


def _is_lost(driver: Driver, error: BaseException) -> bool:
    return driver.is_closed() or isinstance(error, asyncpg.InternalClientError)


def _commit_meaning(error: BaseException, *, is_lost: bool) -> Error | None:
    if is_lost and isinstance(error, DRIVER_ERRORS):
        return CommitUnknown()
    meaning = translate(error, is_lost=is_lost)
    return meaning if isinstance(meaning, TransactionConflict) else None


async def _settled(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work to its end, and lets a cancellation through only afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            log.warning("a cancelled transaction failed to end", error=repr(task.exception()))
        raise
