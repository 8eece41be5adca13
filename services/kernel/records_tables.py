"""How the tables of records really are, read from the catalogue once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, DateTime, Numeric, Text, literal, or_
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.filter import FieldType, FilterField, FilterValue
from services.kernel.filter.syntax import Comparator
from services.kernel.records import Collection, Form
from services.kernel.transaction import Transaction

_TYPES: Final[Mapping[str, tuple[FieldType, Any]]] = {
    "text": (FieldType.STRING, Text()),
    "boolean": (FieldType.BOOLEAN, Boolean()),
    "smallint": (FieldType.INTEGER, BigInteger()),
    "integer": (FieldType.INTEGER, BigInteger()),
    "bigint": (FieldType.INTEGER, BigInteger()),
    "numeric": (FieldType.NUMBER, Numeric()),
    "timestamp with time zone": (FieldType.TIMESTAMP, DateTime(timezone=True)),
}
SUBJECT_FIELD: Final = "subject_id"


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table's columns with their types, and whether it is in partitions."""

    columns: Mapping[str, str]
    is_partitioned: bool

    def subjects(self, collection: Collection) -> dict[str, tuple[Form, str]]:
        """Returns the columns that name a person, with form and type."""
        return {name: (form, self.columns[name]) for name, form in collection.subjects.items()}

    def bytes_columns(self) -> list[str]:
        """Returns the columns that an export leaves out, as nobody can read them."""
        return [name for name, kind in self.columns.items() if kind == "bytea"]


async def shape_of(tx: Transaction, schema: str, table: str) -> TableShape:
    """Reads a table's columns; types as PostgreSQL names them, without their bounds."""
    rows = await tx.driver.fetch(
        """
        SELECT a.attname, split_part(format_type(a.atttypid, NULL), '(', 1) AS kind, c.relkind
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = $1::regnamespace AND c.relname = $2 AND a.attnum > 0
        AND NOT a.attisdropped ORDER BY a.attnum
        """,
        schema,
        table,
    )
    if not rows:
        raise LookupError(f"there is no table {schema}.{table}")
    # asyncpg gives PostgreSQL's internal "char" as bytes.
    return TableShape({row["attname"]: row["kind"] for row in rows}, rows[0]["relkind"] == b"p")


def filter_fields(collection: Collection, shape: TableShape) -> dict[str, FilterField]:
    """Returns what a hold or a policy may filter records by: columns, and `subject_id`."""
    fields = {}
    for name, kind in shape.columns.items():
        known = _TYPES.get(kind)
        if known is not None:
            fields[name] = FilterField(known[0], sql_column(name, known[1]))
    names = list(collection.subjects.items())

    def is_about(comparator: Comparator, value: FilterValue) -> Any:
        if comparator is not Comparator.EQUAL or not isinstance(value, str):
            return None
        found = [
            sql_column(name, Text()) == value
            if form is Form.ID
            else literal(value, Text()) == sql_column(name, ARRAY(Text())).any_()
            for name, form in names
            if form in (Form.ID, Form.LIST)
        ]
        return or_(literal(value="") == literal(value="x"), *found)

    fields[SUBJECT_FIELD] = FilterField(FieldType.STRING, meaning=is_about)
    return fields
