"""Settings of the detection, and maintenance windows."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
)

from services.reporting.tables import metadata

_Instant = DateTime(timezone=True)

anomaly_settings = Table(
    "anomaly_settings",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("is_disabled", Boolean, nullable=False),
    Column("sensitivity", Numeric, nullable=False),
    Column("impact_min", Numeric(38, 18), nullable=False),
    Column("group_by", ARRAY(Text), nullable=False),
    Column("grace_hours", Integer, nullable=False),
    Column("severity_min", SmallInteger, nullable=False),
    Column("channel_ids", ARRAY(Text), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", _Instant, nullable=False),
)
maintenance_window = Table(
    "maintenance_window",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("window_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("start_at", _Instant, nullable=False),
    # First instant after it.
    Column("end_at", _Instant, nullable=False),
    Column("filter", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
)
