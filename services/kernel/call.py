"""The one transaction of an idempotent call, left open until the call's answer is stored in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.kernel.pool import Pool
from services.kernel.transaction import Transaction


class Call:
    """An idempotent call in progress; `Database` joins its transactions into one."""

    def __init__(
        self, *, tenant_id: str, request_id: str, claim: Callable[[Transaction], Awaitable[None]]
    ) -> None:
        """claim: run first in the call's transaction; raises when the call was answered before."""
        self.tenant_id = tenant_id
        self.request_id = request_id
        self.claim = claim
        self._held: tuple[Pool, Transaction, AsyncConnection] | None = None

    @property
    def transaction(self) -> Transaction | None:
        """The transaction that the call's changes are in, None before the first."""
        return None if self._held is None else self._held[1]

    def joins(self, tenant_id: str | None) -> bool:
        """Tells whether a transaction over the tenant, None for all, is part of the call's one.

        The first change decides whether the call's transaction is its tenant's or the system's.
        """
        if self.transaction is None:
            return tenant_id in (self.tenant_id, None)
        return tenant_id == self.transaction.tenant_id

    def hold(self, pool: Pool, tx: Transaction, connection: AsyncConnection) -> None:
        """Keeps the transaction open when its block has ended."""
        self._held = (pool, tx, connection)

    def take(self) -> tuple[Pool, Transaction, AsyncConnection] | None:
        """Returns the held transaction and forgets it, None when the call made no change."""
        held, self._held = self._held, None
        return held


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
