"""Versions of dashboards, as the store sees them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Table, Text

from services.reporting.tables import metadata

dashboard_version = Table(
    "dashboard_version",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    # Rises with every change that dashboards depend on, at most once a second.
    Column("version", BigInteger, nullable=False),
    # Until then the version before is in force.
    Column("valid_from", DateTime(timezone=True), nullable=False),
)
