"""Imports, the parts of their files and their refused rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from services.kernel.database import Transaction
from services.usage.domain.import_file import ImportFile, ImportState, RefusedRow
from services.usage.tables import import_file, import_part, import_reject

_FIELDS = tuple(name for name in ImportFile.__dataclass_fields__ if name != "state")


def import_of(row: RowMapping) -> ImportFile:
    """Builds the domain's import from a row."""
    fields: dict[str, Any] = {name: row[name] for name in _FIELDS}
    return ImportFile(state=ImportState[row["state"]], **fields)


async def add_import(tx: Transaction, item: ImportFile) -> None:
    """Stores a new import."""
    values = {name: getattr(item, name) for name in _FIELDS}
    await tx.execute(insert(import_file).values(state=item.state.name, **values))


async def find_import(
    tx: Transaction, tenant_id: str, import_id: str, *, is_locked: bool = False
) -> ImportFile | None:
    """Returns an import; locked until the transaction ends where asked."""
    statement = select(import_file).where(
        import_file.c.tenant_id == tenant_id, import_file.c.import_id == import_id
    )
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else import_of(row)


async def save_import(tx: Transaction, item: ImportFile) -> None:
    """Stores what changed of an import."""
    values = {name: getattr(item, name) for name in _FIELDS}
    await tx.execute(
        update(import_file)
        .where(import_file.c.tenant_id == item.tenant_id, import_file.c.import_id == item.import_id)
        .values(state=item.state.name, **values)
    )


async def add_part(tx: Transaction, item: ImportFile, offset: int, content: bytes) -> None:
    """Stores one part of the file."""
    await tx.execute(
        insert(import_part).values(
            tenant_id=item.tenant_id,
            import_id=item.import_id,
            offset_bytes=offset,
            content=content,
        )
    )


async def part_offsets(tx: Transaction, item: ImportFile) -> Sequence[int]:
    """Returns where each part of the file begins, in order."""
    statement = (
        select(import_part.c.offset_bytes)
        .where(import_part.c.tenant_id == item.tenant_id, import_part.c.import_id == item.import_id)
        .order_by(import_part.c.offset_bytes)
    )
    return (await tx.scalars(statement)).all()


async def parts(tx: Transaction, item: ImportFile) -> AsyncIterator[bytes]:
    """Yields the parts of the file in order, one in memory at a time."""
    for offset in await part_offsets(tx, item):
        content = await tx.scalar(
            select(import_part.c.content).where(
                import_part.c.tenant_id == item.tenant_id,
                import_part.c.import_id == item.import_id,
                import_part.c.offset_bytes == offset,
            )
        )
        if content is not None:
            yield content


async def add_bill_columns(tx: Transaction, tenant_id: str, names: Sequence[str]) -> None:
    """Notes the names of columns that rows of bills keep as text."""
    await tx.driver.execute(
        "INSERT INTO usage.bill_column (tenant_id, column_name)"
        " SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
        tenant_id,
        sorted(set(names)),
    )


async def drop_parts(tx: Transaction, item: ImportFile) -> None:
    """Deletes the file once it is not needed any more."""
    await tx.execute(
        delete(import_part).where(
            import_part.c.tenant_id == item.tenant_id, import_part.c.import_id == item.import_id
        )
    )


async def add_refused(tx: Transaction, item: ImportFile, rows: Sequence[RefusedRow]) -> None:
    """Stores refused rows."""
    if not rows:
        return
    await tx.execute(
        insert(import_reject),
        [
            {
                "tenant_id": item.tenant_id,
                "import_id": item.import_id,
                "row_number": row.row_number,
                "field": row.field,
                "reject_reason": row.reason,
                "excerpt": row.excerpt.replace("\x00", "\ufffd"),
            }
            for row in rows
        ],
    )
