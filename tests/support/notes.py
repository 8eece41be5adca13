"""A note: the smallest tenant-bound row there is, for tests of what surrounds a change."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy import Column, MetaData, Table, Text, insert, select

from services.kernel.database import Database, Transaction

_T = TypeVar("_T")

NOTE = Table(
    "note",
    MetaData(),
    Column("tenant_id", Text, primary_key=True),
    Column("note_id", Text, primary_key=True),
    Column("text", Text, nullable=False),
)


async def write(tx: Transaction, note_id: str, text: str = "text") -> None:
    """Adds a note to the transaction's tenant."""
    await tx.execute(insert(NOTE), {"tenant_id": tx.tenant_id, "note_id": note_id, "text": text})


async def notes(database: Database, tenant: str) -> list[str]:
    """Returns the ids of a tenant's committed notes, sorted."""
    async with database.read(tenant) as tx:
        return list(await tx.scalars(select(NOTE.c.note_id).order_by(NOTE.c.note_id)))


def beside(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Runs the work as another caller would: a task that inherits no open transaction."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())
