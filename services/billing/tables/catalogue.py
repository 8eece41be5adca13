"""What is sold: plans and their versions, coupons, tax rates. The tenant `*` owns them."""

from __future__ import annotations

from sqlalchemy import ARRAY, CHAR, Boolean, Column, Date, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.tables.base import INSTANT, MONEY, metadata

pricing_plan = Table(
    "pricing_plan",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("plan_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("billing_interval", Text, nullable=False),
    Column("rates", JSONB, nullable=False),
    Column("currency_codes", ARRAY(Text), nullable=False),
    Column("trial_days", Integer, nullable=False),
    Column("features", ARRAY(Text), nullable=False),
    Column("restricted", Boolean, nullable=False),
    Column("effective_at", INSTANT, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("revision", Integer, nullable=False),
)

coupon = Table(
    "coupon",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("coupon_id", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("discount_ratio", MONEY),
    Column("amount", MONEY),
    Column("currency_code", CHAR(3)),
    Column("duration_periods", Integer, nullable=False),
    Column("plan_ids", ARRAY(Text), nullable=False),
    Column("redemptions_max", Integer, nullable=False),
    Column("redemption_count", Integer, nullable=False),
    Column("expire_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("created_at", INSTANT, nullable=False),
    Column("revision", Integer, nullable=False),
)

coupon_redemption = Table(
    "coupon_redemption",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("coupon_id", Text, primary_key=True),
    Column("redeemed_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT),
)

tax_rate = Table(
    "tax_rate",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("tax_rate_id", Text, primary_key=True),
    Column("country_code", CHAR(2), nullable=False),
    Column("subdivision_code", Text, nullable=False),
    Column("tax_code", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("rate_ratio", MONEY, nullable=False),
    Column("reverse_charge", Boolean, nullable=False),
    Column("inclusive", Boolean, nullable=False),
    Column("start_date", Date, nullable=False),
    Column("end_date", Date),
    Column("revision", Integer, nullable=False),
)
