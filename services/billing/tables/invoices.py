"""Invoices, their lines and what happened to them."""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Date,
    Identity,
    Integer,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.tables.base import INSTANT, MONEY, metadata

EXACT = Numeric()  # a sum or product, kept whole

number_series = Table(
    "number_series",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)

invoice = Table(
    "invoice",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("blocked_from", Text, nullable=False),
    Column("period_start_at", INSTANT, nullable=False),
    Column("period_end_at", INSTANT, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("subtotal", MONEY, nullable=False),
    Column("discount_total", MONEY, nullable=False),
    Column("credit_total", MONEY, nullable=False),
    Column("tax_total", MONEY, nullable=False),
    Column("total", MONEY, nullable=False),
    Column("amount_paid", MONEY, nullable=False),
    Column("amount_credited", MONEY, nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("unpriced_events", BigInteger, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("provider_invoice_id", Text, nullable=False),
    Column("hosted_url", Text, nullable=False),
    Column("block_reason", Text, nullable=False),
    Column("void_reason", Text, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("content_hash", Text, nullable=False),
    Column("usage_as_of_at", INSTANT),
    Column("revision", Integer, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("grace_end_at", INSTANT),
    Column("issued_at", INSTANT),
    Column("due_at", INSTANT),
    Column("paid_at", INSTANT),
    Column("issued_order", INSTANT, nullable=False),
    Column("due_order", INSTANT, nullable=False),
)

invoice_line = Table(
    "invoice_line",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("line_id", Text, primary_key=True),
    Column("line_key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("period_start_at", INSTANT, nullable=False),
    Column("period_end_at", INSTANT, nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("quantity", MONEY),
    Column("included_quantity", MONEY),
    Column("unit", Text, nullable=False),
    Column("tiers", JSONB, nullable=False),
    Column("unit_price", MONEY),
    Column("source_currency", CHAR(3)),
    Column("source_amount", EXACT),
    Column("exact_amount", EXACT, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("tax_amount", MONEY, nullable=False),
    Column("tax_rate_id", Text, nullable=False),
    Column("proration_of", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("credited", MONEY, nullable=False),
    Column("tax_credited", MONEY, nullable=False),
)

invoice_line_usage = Table(
    "invoice_line_usage",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("line_id", Text, primary_key=True),
    Column("dimension_id", Text, primary_key=True),
    Column("quantity", EXACT, nullable=False),
    Column("cost", EXACT, nullable=False),
    Column("events", BigInteger, nullable=False),
)

invoice_tax = Table(
    "invoice_tax",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("tax_rate_id", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("rate_ratio", MONEY, nullable=False),
    Column("taxable", MONEY, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("reverse_charge", Boolean, nullable=False),
)

invoice_exchange_rate = Table(
    "invoice_exchange_rate",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("from_currency", Text, primary_key=True),
    Column("to_currency", Text, primary_key=True),
    Column("rate", EXACT, nullable=False),
    Column("rate_date", Date, nullable=False),
    Column("source", Text, nullable=False),
)

invoice_event = Table(
    "invoice_event",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("operation_key", Text, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
)
