"""Cases about persons, as queries see them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.reporting.tables import metadata

_Instant = DateTime(timezone=True)

subject_case = Table(
    "subject_case",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subject_case_id", Text, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # Keyed hash of the person: tells that two cases are about the same one, and not about whom.
    Column("pseudonym", Text, nullable=False),
    # The person's id under the case's own key; null once the case has ended.
    Column("sealed_subject", LargeBinary),
    Column("dry_run", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("is_erasing", Boolean, nullable=False),
    Column("message", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("file_id", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
    Column("expires_at", _Instant),
)

subject_step = Table(
    "subject_step",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subject_case_id", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("passes", Integer, nullable=False),
    # Lists of collection, records and held records.
    Column("found", JSONB, nullable=False),
    Column("changed", JSONB, nullable=False),
)
