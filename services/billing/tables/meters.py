"""Usage that a provider's meters price: from when to when, and what it invoiced."""

from __future__ import annotations

from sqlalchemy import CHAR, Column, Integer, Table, Text

from services.billing.tables.base import INSTANT, MONEY, metadata

meter_route = Table(
    "meter_route",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("route_id", Text, primary_key=True),
    Column("subscription_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("starts_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT),
    Column("customer_id", Text, nullable=False),
    Column("provider_subscription_id", Text, nullable=False),
    Column("report_count", Integer, nullable=False),
    Column("opened_at", INSTANT),
    Column("error", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

metered_invoice = Table(
    "metered_invoice",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("provider_invoice_id", Text, primary_key=True),
    Column("route_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("start_at", INSTANT, nullable=False),
    Column("end_at", INSTANT, nullable=False),
    Column("subtotal", MONEY, nullable=False),
    Column("rated", MONEY, nullable=False),
    Column("total", MONEY, nullable=False),
    Column("amount_paid", MONEY, nullable=False),
    Column("hosted_url", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("seen_at", INSTANT, nullable=False),
)
