"""Retention policies, legal holds and removals, as queries see them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from services.reporting.tables import metadata

_Instant = DateTime(timezone=True)

retention_policy = Table(
    "retention_policy",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("policy_id", Text, primary_key=True),
    Column("collection", Text, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("filter", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
)

legal_hold = Table(
    "legal_hold",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("legal_hold_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    # Empty: all collections.
    Column("collections", ARRAY(Text), nullable=False),
    # Empty: anybody. In clear while the hold is in force, for it is what the hold is about.
    Column("subject_id", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("release_reason", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("released_at", _Instant),
)

retention_run = Table(
    "retention_run",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("evidence_hash", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
)

retention_step = Table(
    "retention_step",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("service", Text, nullable=False),
    # As the policy was when the run began.
    Column("policy_id", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("before_at", _Instant, nullable=False),
    # Whether a service may be removing at this moment; a legal hold waits for it.
    Column("is_removing", Boolean, nullable=False),
    Column("is_done", Boolean, nullable=False),
    # The legal holds that were in force when it began.
    Column("legal_hold_ids", ARRAY(Text), nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("held_count", BigInteger, nullable=False),
)
