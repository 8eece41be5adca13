"""Files that were made, in chunks, as queries see them."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, LargeBinary, Table, Text

from services.reporting.tables import metadata

file = Table(
    "file",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("file_id", Text, primary_key=True),
    # What the one who downloads it sees.
    Column("file_name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

file_chunk = Table(
    "file_chunk",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("file_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
