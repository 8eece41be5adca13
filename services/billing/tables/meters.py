"""Usage that a provider's meters price: what it invoiced of it."""

from __future__ import annotations

from sqlalchemy import CHAR, Column, Table, Text

from services.billing.tables.base import INSTANT, MONEY, metadata

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
