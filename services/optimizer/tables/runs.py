"""Runs of the detectors as a table."""

from __future__ import annotations

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Integer, SmallInteger, Table, Text

from services.optimizer.tables import metadata

_Instant = DateTime(timezone=True)

run = Table(
    "run",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("trigger", SmallInteger, nullable=False),
    Column("detector_ids", ARRAY(Text), nullable=False),
    Column("filter", Text, nullable=False),
    Column("start_at", _Instant, nullable=False),
    Column("end_at", _Instant, nullable=False),
    Column("tenant_count", Integer, nullable=False),
    Column("done_count", Integer, nullable=False),
    Column("failed_count", Integer, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("found_count", Integer, nullable=False),
    Column("refreshed_count", Integer, nullable=False),
    Column("expired_count", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
)
