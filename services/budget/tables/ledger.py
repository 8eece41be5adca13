"""Authorizations, ledger entries and reconciliations, as lists select them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
)

from services.budget.tables import metadata

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)

spend_authorization = Table(
    "spend_authorization",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("authorization_id", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("expires_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
    Column("request_id", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("budget_ids", ARRAY(Text), nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("held", _Money, nullable=False),
    Column("decision", Text, nullable=False),
    Column("holds", Text, nullable=False),
    Column("usage_source", Text, nullable=False),
    Column("usage_event_id", Text, nullable=False),
    Column("settled_currency", Text, nullable=False),
    Column("settled", _Money),
    Column("excess", _Money, nullable=False),
    Column("is_settled_late", Boolean, nullable=False),
    Column("is_replaced", Boolean, nullable=False),
    Column("claim_at", _Instant),
    Column("end_request_id", Text, nullable=False),
    Column("end_digest", LargeBinary, nullable=False),
    Column("release_reason", Text, nullable=False),
)

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("entry_id", BigInteger, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("period_start", _Instant, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("spent_change", _Money, nullable=False),
    Column("held_change", _Money, nullable=False),
    Column("source_currency", Text, nullable=False),
    Column("source_amount", _Money),
    Column("rate", Numeric),
    Column("rate_date", Text, nullable=False),
    Column("authorization_id", Text, nullable=False),
    Column("usage_event_id", Text, nullable=False),
    Column("feed_sequence", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("reconciliation_id", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("started_by", SmallInteger, nullable=False),
    Column("is_repairing", Boolean, nullable=False),
    # Empty: all budgets of the tenant.
    Column("budget_ids", ARRAY(Text), nullable=False),
    # None: from the start of each budget's previous period.
    Column("start_at", _Instant),
    Column("end_at", _Instant, nullable=False),
    Column("done_units", BigInteger, nullable=False),
    Column("total_units", BigInteger, nullable=False),
    Column("drift_count", Integer, nullable=False),
    Column("repaired_count", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
)

budget_drift = Table(
    "budget_drift",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("reconciliation_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("period_start", _Instant, primary_key=True),
    Column("period_end", _Instant, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("ledger_spent", _Money, nullable=False),
    Column("usage_spent", _Money, nullable=False),
    Column("difference", _Money, nullable=False),
    Column("cause", Text, nullable=False),
    Column("is_repaired", Boolean, nullable=False),
    Column("entry_id", BigInteger),
)
