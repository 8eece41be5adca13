"""Channels, subscriptions, notifications and their deliveries."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from services.budget.tables import metadata

_Instant = DateTime(timezone=True)

channel = Table(
    "channel",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("channel_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("email_addresses", ARRAY(Text), nullable=False),
    Column("address_hint", Text, nullable=False),
    Column("header_names", ARRAY(Text), nullable=False),
    Column("severity_min", SmallInteger, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    # Address, signing secret and headers as JSON, and the secret before: both sealed.
    Column("secrets", LargeBinary, nullable=False),
    Column("previous_secret", LargeBinary),
    Column("previous_secret_expires_at", _Instant),
    Column("last_success_at", _Instant),
    Column("last_failure_at", _Instant),
    Column("last_error", Text, nullable=False),
    Column("consecutive_failures", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
)

event_subscription = Table(
    "event_subscription",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("filter", Text, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

notification = Table(
    "notification",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("notification_id", Text, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text_body", Text, nullable=False),
    Column("html_body", Text, nullable=False),
    Column("payload_json", Text, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("link", Text, nullable=False),
    Column("deduplication_key", Text),
    Column("created_at", _Instant, nullable=False),
)

notification_attachment = Table(
    "notification_attachment",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("notification_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("notification_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("mail_to", Text, nullable=False),
    Column("receiver_hint", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("round_count", Integer, nullable=False),
    Column("due_at", _Instant),
    Column("next_attempt_at", _Instant),
    Column("digest_key", Text),
    Column("is_held", Boolean, nullable=False),
    Column("digest_delivery_id", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("delivered_at", _Instant),
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("attempted_at", _Instant, nullable=False),
    Column("latency", Interval, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("response_excerpt", Text, nullable=False),
    Column("response_digest", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
