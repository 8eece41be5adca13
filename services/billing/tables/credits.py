"""Prepaid credit and its movements, and the time line of an account."""

from __future__ import annotations

from sqlalchemy import ARRAY, CHAR, Boolean, Column, Integer, Table, Text

from services.billing.tables.base import INSTANT, MONEY, metadata

credit_grant = Table(
    "credit_grant",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("credit_grant_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("remaining", MONEY, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("start_at", INSTANT, nullable=False),
    Column("expire_at", INSTANT),
    Column("paid", Boolean, nullable=False),
    Column("charge_ids", ARRAY(Text), nullable=False),
    Column("voided_at", INSTANT),
    Column("void_reason", Text, nullable=False),
    Column("expired_at", INSTANT),
    Column("created_at", INSTANT, nullable=False),
)

credit_transaction = Table(
    "credit_transaction",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("credit_grant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("balance", MONEY, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

billing_history = Table(
    "billing_history",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("entry_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("amount", MONEY),
    Column("balance", MONEY, nullable=False),
    Column("state", Text, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
)
