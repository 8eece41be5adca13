"""Catalogues, instance types and emission factors as tables."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Integer, Numeric, Table, Text

from services.optimizer.tables import metadata

catalogue = Table(
    "catalogue",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("catalogue_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("type_count", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

instance_type = Table(
    "instance_type",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("catalogue_id", Text, primary_key=True),
    Column("instance_type", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("family", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("vcpus", Numeric, nullable=False),
    Column("memory_gib", Numeric, nullable=False),
    Column("gpus", Numeric, nullable=False),
    Column("gpu_model", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("hourly_price", Numeric(38, 18), nullable=False),
    Column("reserved_hourly_price", Numeric(38, 18)),
    Column("architecture", Text, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("is_burstable", Boolean, nullable=False),
    Column("idle_watts", Numeric),
    Column("busy_watts", Numeric),
)

emission_factor = Table(
    "emission_factor",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("factor", Numeric, nullable=False),
    Column("source", Text, nullable=False),
    Column("valid_from", Text, nullable=False),
)
