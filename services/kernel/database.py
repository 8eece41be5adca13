"""The only way to the database: tenant-bound, read-only and system transactions.

A service connects as `finops_<service>`, which row-level security binds to the tenant that a
transaction names; a worker connects as `finops_<service>_worker`, which sees every tenant.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal, TypeVar

import asyncpg
import structlog
from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kernel.call import Call, current_call
from services.kernel.database_errors import (
    DatabaseUnavailable,
    TransactionConflict,
    translate,
)
from services.kernel.ids import require_resource_id
from services.kernel.pool import Pool, PoolLimits
from services.kernel.transaction import Driver, Transaction
from services.kernel.wakeup import WakeUps

__all__ = ["Database", "NestedTransaction", "PoolLimits", "Transaction"]

_T = TypeVar("_T")
Isolation = Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]

RUN_ATTEMPTS = 5  # a fifth conflict in a row means contention that retrying only feeds
BACKOFF_SECONDS = 0.01
BACKOFF_SECONDS_MAX = 0.5

log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.database")
_duration = _meter.create_histogram(
    "finops_database_transaction_seconds", unit="s", description="From BEGIN to its end."
)
_retries = _meter.create_counter(
    "finops_database_retries_total", description="Transactions run again after a conflict."
)
_open: ContextVar[Transaction | None] = ContextVar("open_transaction", default=None)


class NestedTransaction(RuntimeError):
    """A transaction was begun inside another of the same task: one use case, one transaction."""


class Database:
    """One service's PostgreSQL, through three bounded pools that open when first needed."""

    def __init__(self, *, api: Pool, read: Pool, worker: Pool) -> None:
        """Takes the pools; `connect` makes them from URLs."""
        self._api = api
        self._read = read
        self._worker = worker
        self.wakeups = WakeUps(lambda: self.dedicated("api"))

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        service: str,
        read_url: str | None = None,
        worker_url: str | None = None,
        limits: PoolLimits | None = None,
    ) -> Database:
        """Prepares the pools without touching the network.

        url: role `finops_<service>`. read_url: a replica, default the same server.
        worker_url: role `finops_<service>_worker`, default `url`, which then sees no row without a
        tenant. limits: of each pool.
        """
        bounds = limits or PoolLimits()

        def pool(target: str, purpose: str, plans: str = "auto") -> Pool:
            return Pool(
                target, service=service, purpose=purpose, limits=bounds, plan_cache_mode=plans
            )

        return cls(
            api=pool(url, "api"),
            # Questions over a day and over years are one statement. Planned for no values at all,
            # as from the sixth time on, a sum over 60,000 rows took 10 s instead of 25 ms.
            read=pool(read_url or url, "read", "force_custom_plan"),
            worker=pool(worker_url or url, "worker"),
        )

    def transaction(
        self,
        tenant_id: str,
        *,
        isolation: Isolation = "READ COMMITTED",
        statement_timeout: timedelta | None = None,
    ) -> AbstractAsyncContextManager[Transaction]:
        """Begins a transaction that sees and writes one tenant's rows; commits at the block's end.

        Any exception rolls back. A failure of the database itself becomes DatabaseUnavailable,
        DatabaseBusy, TransactionConflict, LockTimeout or QueryTimeout, or CommitUnknown when the
        connection broke during the commit. Constraint violations stay SQLAlchemy's or asyncpg's.
        """
        begin = _begin(f"ISOLATION LEVEL {isolation}", tenant_id, statement_timeout)
        call = current_call.get()
        if call is not None and call.joins(tenant_id):
            return self._joined(call, self._api, begin, tenant_id=tenant_id)
        return self._transaction(self._api, begin, tenant_id=tenant_id)

    def read(
        self, tenant_id: str, *, statement_timeout: timedelta | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Begins a read-only transaction over one tenant's rows and one snapshot."""
        mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
        begin = _begin(mode, tenant_id, statement_timeout)
        call = current_call.get()
        if call is not None and call.transaction is not None and call.joins(tenant_id):
            # To see what the call has changed so far.
            return self._joined(call, self._api, begin, tenant_id=tenant_id)
        return self._transaction(self._read, begin, tenant_id=tenant_id, read_only=True)

    def system_transaction(
        self,
        *,
        isolation: Isolation = "READ COMMITTED",
        statement_timeout: timedelta | None = None,
    ) -> AbstractAsyncContextManager[Transaction]:
        """Begins a transaction of the worker role, over every tenant's rows."""
        begin = _begin(f"ISOLATION LEVEL {isolation}", None, statement_timeout)
        call = current_call.get()
        if call is not None and call.joins(None):
            return self._joined(call, self._worker, begin, tenant_id=None)
        return self._transaction(self._worker, begin, tenant_id=None)

    async def system_fetch(self, query: str, *parameters: object) -> list[asyncpg.Record]:
        """Runs one statement as a transaction of the worker role, and returns its rows.

        It commits by itself, in the one round trip it takes: for paths so hot that BEGIN and COMMIT
        would cost as much as the statement. Raises CommitUnknown when the connection broke, else
        what `system_transaction` does.
        """
        _refuse_nesting()
        began = time.perf_counter()
        outcome = "rolled_back"
        try:
            rows = await self._worker.fetch(query, parameters)
            outcome = "committed"
        finally:
            attributes = {"pool": self._worker.purpose, "outcome": outcome}
            _duration.record(time.perf_counter() - began, attributes)
        return rows

    async def run(
        self,
        tenant_id: str | None,
        work: Callable[[Transaction], Awaitable[_T]],
        *,
        attempts: int = RUN_ATTEMPTS,
        isolation: Isolation = "READ COMMITTED",
    ) -> _T:
        """Runs the work in a transaction, again from its beginning while it meets others.

        tenant_id: None runs it as the worker. The work must have no effect outside its transaction.
        Raises TransactionConflict or DatabaseUnavailable after the last attempt; CommitUnknown at
        once, because running again could double the effect.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with (
                    self.system_transaction(isolation=isolation)
                    if tenant_id is None
                    else self.transaction(tenant_id, isolation=isolation)
                ) as tx:
                    return await work(tx)
            except (TransactionConflict, DatabaseUnavailable) as error:
                if attempt == attempts:
                    raise
                _retries.add(1, {"reason": error.reason})
            await asyncio.sleep(_backoff(attempt))
        raise ValueError(f"attempts must be at least 1, not {attempts}")

    @asynccontextmanager
    async def _transaction(
        self, pool: Pool, begin: str, *, tenant_id: str | None, read_only: bool = False
    ) -> AsyncIterator[Transaction]:
        _refuse_nesting()
        connection, driver = await pool.begin(begin)
        tx = Transaction(connection, driver, tenant_id=tenant_id, read_only=read_only)
        async with _block(pool, tx, connection):
            yield tx
        await _finish(pool, tx, connection)

    @asynccontextmanager
    async def _joined(
        self, call: Call, pool: Pool, begin: str, *, tenant_id: str | None
    ) -> AsyncIterator[Transaction]:
        """Begins the call's transaction and leaves it open, or goes on in it."""
        _refuse_nesting()
        if call.transaction is not None:
            with _marked_open(call.transaction):
                async with call.transaction.savepoint():
                    yield call.transaction
            return
        connection, driver = await pool.begin(begin)
        tx = Transaction(connection, driver, tenant_id=tenant_id, read_only=False)
        async with _block(pool, tx, connection):
            await call.claim(tx)
            yield tx
        call.hold(pool, tx, connection)

    def concluding(self, call: Call) -> AbstractAsyncContextManager[Transaction]:
        """Goes on in the call's transaction to store its answer, or begins it over its tenant."""
        tx = call.transaction
        tenant_id = call.tenant_id if tx is None else tx.tenant_id
        begin = "" if tx is not None else _begin("", tenant_id, None)
        return self._joined(call, self._api, begin, tenant_id=tenant_id)

    async def complete(self, call: Call) -> None:
        """Commits what a call left open; as `transaction` at its block's end."""
        held = call.take()
        if held is not None:
            await _finish(*held)

    async def abandon(self, call: Call) -> None:
        """Rolls back what a call left open."""
        held = call.take()
        if held is not None:
            await _abandon(*held)

    async def check(self) -> None:
        """Raises Unavailable unless the service's own role can query."""
        async with self._transaction(self._api, "BEGIN READ ONLY", tenant_id=None, read_only=True):
            return

    async def dedicated(self, role: Literal["api", "worker"]) -> Driver:
        """Opens a connection outside the pools, to listen on for long; the caller closes it."""
        pool = self._api if role == "api" else self._worker
        try:
            return await pool.connect()
        except Exception as error:
            meaning = translate(error, is_lost=True)
            if meaning is None:
                raise
            raise meaning from error

    async def close(self) -> None:
        """Closes the pools; connections in use close when their transactions end."""
        await self.wakeups.close()
        for pool in (self._api, self._read, self._worker):
            await pool.close()


def _begin(mode: str, tenant_id: str | None, statement_timeout: timedelta | None) -> str:
    """Returns one script, because a simple query takes one round trip however long it is."""
    script = f"BEGIN {mode}"
    if statement_timeout is not None:
        milliseconds = round(statement_timeout.total_seconds() * 1000)
        script += f"; SET LOCAL statement_timeout = {milliseconds}"
    if tenant_id is not None:
        # A resource id holds no quote or backslash, so it is its own literal.
        script += f"; SELECT set_config('app.tenant_id', '{require_resource_id(tenant_id)}', true)"
    return script


def _backoff(attempt: int) -> float:
    """Returns a random wait, in seconds, whose bound doubles with each attempt: full jitter."""
    bound = min(BACKOFF_SECONDS * 2**attempt, BACKOFF_SECONDS_MAX)
    return random.uniform(0, bound)  # noqa: S311 - spreads retries, keeps no secret


def _refuse_nesting() -> None:
    if _open.get() is not None:
        raise NestedTransaction("end the open transaction before beginning another")


@contextmanager
def _marked_open(tx: Transaction) -> Iterator[None]:
    """Marks the transaction as the task's own, and translates the error that ends it."""
    _open.set(tx)
    try:
        yield
    except BaseException as error:
        meaning = translate(error, is_lost=tx.driver.is_closed())
        if meaning is None:
            raise
        raise meaning from error
    finally:
        _open.set(None)


@asynccontextmanager
async def _block(pool: Pool, tx: Transaction, connection: AsyncConnection) -> AsyncIterator[None]:
    with _marked_open(tx):
        try:
            yield
        except BaseException:
            await _abandon(pool, tx, connection)
            raise


async def _abandon(pool: Pool, tx: Transaction, connection: AsyncConnection) -> None:
    await pool.abandon(connection, tx.driver)
    _record(pool, tx, "rolled_back")


async def _finish(pool: Pool, tx: Transaction, connection: AsyncConnection) -> None:
    try:
        await pool.finish(connection, tx.driver)
    except BaseException:
        _record(pool, tx, "commit_failed")
        raise
    _record(pool, tx, "committed")
    await _notify_committed(tx)


def _record(pool: Pool, tx: Transaction, outcome: str) -> None:
    _duration.record(time.perf_counter() - tx.began, {"pool": pool.purpose, "outcome": outcome})


async def _notify_committed(tx: Transaction) -> None:
    for callback in tx.take_callbacks():
        try:
            await callback()
        except Exception:
            # The change is committed: a lost hint must not look like a failed change.
            log.exception("a callback after the commit failed")
