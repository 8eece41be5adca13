"""Files that were made, in chunks, so that nobody holds a whole one in memory.

A file is made by one writer: `create` and `append` in its transactions, each chunk once. A reader
takes a chunk a transaction, so that a slow one holds no snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import func, select

from services.kernel.database import Database, Transaction
from services.reporting.domain.stored_file import StoredFile
from services.reporting.errors import FileGone
from services.reporting.tables.files import file, file_chunk

CHUNK_BYTES: Final = 1 << 20  # a message of a download stays far below gRPC's 4 MB


async def create(
    tx: Transaction, tenant_id: str, file_id: str, *, file_name: str, media_type: str
) -> None:
    """Begins an empty file; one of the same id, with what it held, is replaced."""
    await delete(tx, tenant_id, file_id)
    await tx.driver.execute(
        "INSERT INTO reporting.file (tenant_id, file_id, file_name, media_type)"
        " VALUES ($1, $2, $3, $4)",
        tenant_id,
        file_id,
        file_name,
        media_type,
    )


async def append(tx: Transaction, tenant_id: str, file_id: str, chunk: bytes) -> None:
    """Adds bytes, of any number, to the end of a file that `create` began."""
    view = memoryview(chunk)
    for start in range(0, len(view), CHUNK_BYTES):
        await tx.driver.execute(
            """
            INSERT INTO reporting.file_chunk (tenant_id, file_id, place, content)
            SELECT $1, $2, COALESCE(max(place) + 1, 0), $3 FROM reporting.file_chunk
            WHERE tenant_id = $1 AND file_id = $2
            """,
            tenant_id,
            file_id,
            bytes(view[start : start + CHUNK_BYTES]),
        )


async def find(tx: Transaction, tenant_id: str, file_id: str) -> StoredFile | None:
    """Returns a file without its content, None where there is none."""
    statement = select(file).where(file.c.tenant_id == tenant_id, file.c.file_id == file_id)
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else StoredFile(**row)


async def read(database: Database, tenant_id: str, file_id: str) -> AsyncIterator[bytes]:
    """Yields the content, at most CHUNK_BYTES at a time. Raises FileGone, also half-way."""
    async with database.read(tenant_id) as tx:
        known = await find(tx, tenant_id, file_id)
        statement = select(func.count()).where(
            file_chunk.c.tenant_id == tenant_id, file_chunk.c.file_id == file_id
        )
        count = await tx.scalar(statement) or 0
    if known is None:
        raise FileGone(file_id=file_id)
    for place in range(count):
        async with database.read(tenant_id) as tx:
            content: bytes | None = await tx.driver.fetchval(
                "SELECT content FROM reporting.file_chunk"
                " WHERE tenant_id = $1 AND file_id = $2 AND place = $3",
                tenant_id,
                file_id,
                place,
            )
        if content is None:
            raise FileGone(file_id=file_id)
        yield content


async def delete(tx: Transaction, tenant_id: str, file_id: str) -> bool:
    """Deletes a file with its content; False where there is none."""
    status = await tx.driver.execute(
        "DELETE FROM reporting.file WHERE tenant_id = $1 AND file_id = $2", tenant_id, file_id
    )
    return bool(status != "DELETE 0")
