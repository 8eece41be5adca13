"""Billing accounts, and when they are billed by themselves."""

from __future__ import annotations

from sqlalchemy import CHAR, Boolean, Column, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.tables.base import INSTANT, MONEY, metadata

account = Table(
    "account",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("collection_method", Text, nullable=False),
    Column("payment_terms_days", Integer, nullable=False),
    Column("rounding_mode", Text, nullable=False),
    Column("tax_mode", Text, nullable=False),
    Column("dunning", JSONB, nullable=False),
    Column("credit_approval_limit", MONEY),
    Column("particulars", LargeBinary),
    Column("state", Text, nullable=False),
    Column("open_balance", MONEY, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
)

automated_billing = Table(
    "automated_billing",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("billing_day", Integer, nullable=False),
    Column("include_usage", Boolean, nullable=False),
    Column("auto_payment", Boolean, nullable=False),
    Column("send_notifications", Boolean, nullable=False),
    Column("grace_hours", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
)
