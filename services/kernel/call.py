"""The one transaction of an idempotent call, left open until the call's answer is stored in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from sqlalchemy.ext.asyncio import AsyncConnection

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
        self.connection: AsyncConnection | None = None
        self.transaction: Transaction | None = None

    def hold(self, tx: Transaction, connection: AsyncConnection) -> None:
        """Keeps the transaction open when its block has ended."""
        self.transaction, self.connection = tx, connection

    def take(self) -> tuple[Transaction, AsyncConnection] | None:
        """Returns the held transaction and forgets it, None when the call made no change."""
        held = (self.transaction, self.connection)
        self.transaction = self.connection = None
        tx, connection = held
        return None if tx is None or connection is None else (tx, connection)


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
