"""Usage as it comes in from the cost change feed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.tables.base import INSTANT, metadata

EXACT = Numeric()  # a sum or product, kept whole

metering = Table(
    "metering",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("billed_until", INSTANT, nullable=False),
    Column("as_of_sequence", Text, nullable=False),
    Column("as_of_at", INSTANT),
)

metered_dimension = Table(
    "metered_dimension",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("dimension_id", Text, primary_key=True),
    Column("resource_type", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("department", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("service_category", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("sub_account_id", Text, nullable=False),
    Column("charge_category", Text, nullable=False),
    Column("tags", JSONB, nullable=False),
)

metered_usage = Table(
    "metered_usage",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("hour_at", INSTANT, primary_key=True),
    Column("dimension_id", Text, primary_key=True),
    Column("quantity", EXACT, nullable=False),
    Column("cost", EXACT, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("unpriced_events", BigInteger, nullable=False),
)

late_usage = Table(
    "late_usage",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("hour_at", INSTANT, primary_key=True),
    Column("dimension_id", Text, primary_key=True),
    Column("quantity", EXACT, nullable=False),
    Column("cost", EXACT, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("unpriced_events", BigInteger, nullable=False),
)
