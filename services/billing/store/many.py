"""Many rows in one statement: a column is an array, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, Table
from sqlalchemy.dialects.postgresql import JSONB

from services.kernel.transaction import Transaction

# COPY would be faster still, but is refused where row-level security binds the writer.
_TYPES: tuple[tuple[type[Any], str], ...] = (
    (DateTime, "timestamptz"),
    (Date, "date"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (Boolean, "boolean"),
    (Numeric, "numeric"),
    (JSONB, "jsonb"),
)


async def insert_many(
    tx: Transaction, table: Table, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> None:
    """Inserts rows, each with one value a column; JSON as text. Nothing for no rows."""
    if rows:
        await tx.driver.execute(_insert(table, columns), *zip(*rows, strict=True))


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    types = [_type(table.c[name].type) for name in columns]
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, start=1))
    return f"INSERT INTO {table.fullname} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"


def _type(column_type: object) -> str:
    return next((name for kind, name in _TYPES if isinstance(column_type, kind)), "text")
