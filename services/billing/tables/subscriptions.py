"""Subscriptions, their phases and events, and the lines that wait for a next invoice."""

from __future__ import annotations

from sqlalchemy import CHAR, BigInteger, Boolean, Column, Date, Identity, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.tables.base import INSTANT, MONEY, metadata

subscription = Table(
    "subscription",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("trial_end_at", INSTANT),
    Column("trial_end_behavior", Text, nullable=False),
    Column("billing_interval", Text, nullable=False),
    Column("billing_day", Integer, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("anchored_on", Date, nullable=False),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("discounts", JSONB, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("period_start_at", INSTANT, nullable=False),
    Column("period_end_at", INSTANT, nullable=False),
    Column("paused_at", INSTANT),
    Column("resume_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("next_plan_id", Text),
    Column("next_plan_version", Integer),
    Column("next_quantity", MONEY),
    Column("provider_subscription_id", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
)

subscription_event = Table(
    "subscription_event",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
)

subscription_phase = Table(
    "subscription_phase",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("start_at", INSTANT, primary_key=True),
    Column("end_at", INSTANT),
    Column("plan_id", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("mode", Text, nullable=False),
)

subscription_preview = Table(
    "subscription_preview",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("preview_id", Text, primary_key=True),
    Column("subscription_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("request", JSONB, nullable=False),
    Column("total", MONEY, nullable=False),
    Column("effective_at", INSTANT, nullable=False),
    Column("expire_at", INSTANT, nullable=False),
)

pending_line = Table(
    "pending_line",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("line_key", Text, primary_key=True),
    Column("subscription_id", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("line", JSONB, nullable=False),
    Column("invoice_id", Text),
    Column("created_at", INSTANT, nullable=False),
)
