"""What PostgreSQL's failures mean to a caller."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.kernel.errors import Aborted, DeadlineExceeded, Error, Unavailable


class DatabaseUnavailable(Unavailable):
    """The database is not reachable at the moment; nothing was changed, retry with backoff."""

    reason = "DATABASE_UNAVAILABLE"


class DatabaseBusy(Unavailable):
    """The database has no free connection or resources; nothing was changed, retry later."""

    reason = "DATABASE_BUSY"


class CommitUnknown(Unavailable):
    """The connection broke during the commit; retry with the same request_id or event ids."""

    reason = "COMMIT_UNKNOWN"


class TransactionConflict(Aborted):
    """The change met concurrent ones again and again; retry it."""

    reason = "TRANSACTION_CONFLICT"


class LockTimeout(Aborted):
    """Another change holds what this one needs for too long; retry it."""

    reason = "LOCK_TIMEOUT"


class QueryTimeout(DeadlineExceeded):
    """The query took longer than it may; narrow the period, the filter or the grouping."""

    reason = "QUERY_TIMEOUT"


# First match wins. Conflicts are the server's rollback because of others: running the whole
# transaction again is right.
_MEANINGS: tuple[tuple[type[BaseException], type[Error]], ...] = (
    (asyncpg.SerializationError, TransactionConflict),
    (asyncpg.DeadlockDetectedError, TransactionConflict),
    # A migration ran beside us; the plan is made anew on the next attempt.
    (asyncpg.InvalidCachedStatementError, TransactionConflict),
    (asyncpg.LockNotAvailableError, LockTimeout),
    (asyncpg.QueryCanceledError, QueryTimeout),
    (asyncpg.InsufficientResourcesError, DatabaseBusy),  # too many connections, disk, memory
    (PoolTimeout, DatabaseBusy),
    (asyncpg.PostgresConnectionError, DatabaseUnavailable),
    (asyncpg.CannotConnectNowError, DatabaseUnavailable),
    (asyncpg.AdminShutdownError, DatabaseUnavailable),
    (asyncpg.CrashShutdownError, DatabaseUnavailable),
    (asyncpg.IdleInTransactionSessionTimeoutError, DatabaseUnavailable),
    # asyncpg's state when a connection ends in the middle of its own bookkeeping.
    (asyncpg.InternalClientError, DatabaseUnavailable),
)


# What the driver raises by itself, when the connection or the server is to blame.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


def driver_error(error: BaseException) -> BaseException:
    """Returns asyncpg's exception inside an SQLAlchemy one, else the exception itself."""
    return error.driver_exception if isinstance(error, DBAPIError) else error


def translate(error: BaseException, *, is_lost: bool) -> Error | None:
    """Returns the domain error that a failure before the commit means, None if it is not ours.

    is_lost: the connection is closed, so that a bare socket or interface error came from it.
    """
    cause = driver_error(error)
    for kind, meaning in _MEANINGS:
        if isinstance(cause, kind):
            return meaning()
    if is_lost and isinstance(cause, (OSError, asyncpg.InterfaceError)):
        return DatabaseUnavailable()
    return None
