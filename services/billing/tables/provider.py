"""Payment providers: settings, steps, payments, the inbox of webhooks, reconciliation."""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from services.billing.tables.base import INSTANT, MONEY, metadata

SELLER_TENANT = "platform"  # whose provider bills the tenants that have none of their own

provider_settings = Table(
    "provider_settings",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("live_mode", Boolean, nullable=False),
    Column("api_key", LargeBinary),
    Column("api_key_hint", Text, nullable=False),
    Column("publishable_key", Text, nullable=False),
    Column("webhook_secret", LargeBinary),
    Column("previous_webhook_secret", LargeBinary),
    Column("api_version", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", INSTANT, nullable=False),
)

provider_object = Table(
    "provider_object",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("local_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("live_mode", Boolean, primary_key=True),
    Column("provider_object_id", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

provider_operation = Table(
    "provider_operation",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("operation_key", Text, primary_key=True),
    Column("step", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_object_id", Text, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("provider_request_id", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("first_sent_at", INSTANT, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("updated_at", INSTANT, nullable=False),
)

payment_method = Table(
    "payment_method",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("payment_method_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("is_detached", Boolean, nullable=False),
    Column("brand", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("expire_month", Integer, nullable=False),
    Column("expire_year", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("reference", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_payment_method_id", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

payment = Table(
    "payment",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("payment_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("refunded", MONEY, nullable=False),
    Column("fee", MONEY),
    Column("reference", Text, nullable=False),
    Column("payment_method_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_payment_id", Text, nullable=False),
    Column("refund_of", Text, nullable=False),
    Column("credit_note_id", Text, nullable=False),
    Column("value_at", INSTANT, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

payment_attempt = Table(
    "payment_attempt",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("attempt_id", Text, primary_key=True),
    Column("invoice_id", Text, nullable=False),
    Column("attempt_number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("payment_method_id", Text, nullable=False),
    Column("decline_code", Text, nullable=False),
    Column("retryable", Boolean, nullable=False),
    Column("attempted_at", INSTANT, nullable=False),
    Column("next_attempt_at", INSTANT),
)

webhook_event = Table(
    "webhook_event",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("webhook_event_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("provider_event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("api_version", Text, nullable=False),
    Column("live_mode", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("body", LargeBinary),
    Column("provider_created_at", INSTANT, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    Column("handled_at", INSTANT),
    Column("next_attempt_at", INSTANT),
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("reconciliation_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("start_at", INSTANT, nullable=False),
    Column("end_at", INSTANT, nullable=False),
    Column("repair", Boolean, nullable=False),
    Column("compared_count", BigInteger, nullable=False),
    Column("total_count", BigInteger, nullable=False),
    Column("diff_count", BigInteger, nullable=False),
    Column("repaired_count", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("ended_at", INSTANT),
)

reconciliation_diff = Table(
    "reconciliation_diff",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("diff_id", Text, primary_key=True),
    Column("reconciliation_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("provider_object_id", Text, nullable=False),
    Column("ours", Text, nullable=False),
    Column("theirs", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("difference", MONEY),
    Column("action", Text, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("resolved_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)
