"""Records with every type, null, edge and oddity that filters meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.kernel.filter import FieldType, FilterField

STATES = {"ACTIVE": 1, "CLOSED": 2}
NAMES = (None, "", "ada", "Ada", "adam", "a*b", "a%b", "a_b", "a\\b", "ä", "z", "𝄞", 'q"u', "1")
AMOUNTS = (None, Decimal(0), Decimal("-5.25"), Decimal("0.000000000000000001"), Decimal("12.5"))
COUNTS = (None, 0, -1, 2**63 - 1)
TIMES = (
    None,
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
)
TAGS: tuple[Mapping[str, str], ...] = (
    {},
    {"env": "prod"},
    {"env": "", "team": "a b"},
    {"app.io/name": "x", "env": "test"},
    {"a'; --": "1"},
)

RECORD = Table(
    "filter_record",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("amount", Numeric(38, 18)),
    Column("count", BigInteger),
    Column("at", DateTime(timezone=True)),
    Column("enabled", Boolean),
    Column("state", SmallInteger),
    Column("tags", JSONB, nullable=False),
    prefixes=["TEMPORARY"],
)

FIELDS = {
    "name": FilterField(FieldType.STRING, RECORD.c.name),
    "amount": FilterField(FieldType.NUMBER, RECORD.c.amount),
    "count": FilterField(FieldType.INTEGER, RECORD.c.count),
    "at": FilterField(FieldType.TIMESTAMP, RECORD.c.at),
    "enabled": FilterField(FieldType.BOOLEAN, RECORD.c.enabled),
    "state": FilterField(FieldType.CHOICE, RECORD.c.state, choices=STATES),
    "tags": FilterField(FieldType.LABELS, RECORD.c.tags),
}

# Cycles of coprime lengths: every value of a column meets others of each other column.
RECORDS: tuple[Mapping[str, object], ...] = tuple(
    dict(zip(FIELDS, values, strict=True))
    for values in itertools.islice(
        zip(
            itertools.cycle(NAMES),
            itertools.cycle(AMOUNTS),
            itertools.cycle(COUNTS),
            itertools.cycle(TIMES),
            itertools.cycle((None, True, False)),
            itertools.cycle((None, *STATES)),
            itertools.cycle(TAGS),
            strict=True,
        ),
        60,
    )
)
