"""Exports as long-running work, as lists see them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from services.reporting.tables import metadata

_Instant = DateTime(timezone=True)

export = Table(
    "export",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("export_id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("format", Text, nullable=False),
    # The period as it was fixed when the export was asked for; null for what has none.
    Column("start_at", _Instant),
    Column("end_at", _Instant),
    Column("group_by", ARRAY(Text), nullable=False),
    Column("granularity", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("cost_type", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("is_allocated", Boolean, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("done_rows", BigInteger, nullable=False),
    Column("total_rows", BigInteger, nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("error", Text, nullable=False),
    # Tells the worker that makes the file from one that was given up on.
    Column("attempt", Integer, nullable=False),
    Column("begun_at", _Instant),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
    Column("expires_at", _Instant, nullable=False),
)
