"""Billing runs and their items."""

from __future__ import annotations

from sqlalchemy import ARRAY, CHAR, Boolean, Column, Table, Text

from services.billing.tables.base import INSTANT, MONEY, metadata

billing_run = Table(
    "billing_run",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("finalize", Boolean, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("started_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("department_ids", ARRAY(Text), nullable=False),
    Column("send_notifications", Boolean, nullable=False),
)

billing_run_item = Table(
    "billing_run_item",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("item_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("currency_code", CHAR(3)),
    Column("total", MONEY),
    Column("error", Text, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
)
