"""Anomalies, as lists see them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Numeric, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.reporting.tables import metadata

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)

anomaly = Table(
    "anomaly",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("anomaly_id", Text, primary_key=True),
    Column("series_key", Text, nullable=False),
    Column("department", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("direction", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("start_at", _Instant, nullable=False),
    # First instant after the last unusual hour.
    Column("end_at", _Instant, nullable=False),
    Column("observed", _Money, nullable=False),
    Column("expected", _Money, nullable=False),
    Column("expected_lower", _Money, nullable=False),
    Column("expected_upper", _Money, nullable=False),
    Column("impact", _Money, nullable=False),
    Column("score", Numeric, nullable=False),
    # [{dimensions, contribution}], largest first.
    Column("causes", JSONB, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("feedback", SmallInteger, nullable=False),
    Column("feedback_actor", Text, nullable=False),
    Column("feedback_note", Text, nullable=False),
    Column("detected_at", _Instant, nullable=False),
    Column("closed_at", _Instant),
)
