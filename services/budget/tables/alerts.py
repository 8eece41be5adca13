"""Alerts, and the policies that govern who is told when."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.budget.tables import metadata

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)

alert = Table(
    "alert",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("alert_key", Text, nullable=False),
    Column("budget_id", Text, nullable=False),
    Column("budget_display_name", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("period_start", _Instant, nullable=False),
    Column("period_end", _Instant),
    Column("basis", Text),
    Column("threshold_ratio", _Money),
    Column("currency_code", Text, nullable=False),
    Column("observed", _Money),
    Column("limit_amount", _Money),
    Column("message", Text, nullable=False),
    Column("usage_event_id", Text, nullable=False),
    Column("feed_sequence", Text, nullable=False),
    # As the budget had them when it fired, so that a reopened alert finds the same people.
    Column("channel_ids", ARRAY(Text), nullable=False),
    Column("recipients", ARRAY(Text), nullable=False),
    Column("escalation_policy_id", Text, nullable=False),
    Column("escalation_level", Integer, nullable=False),
    Column("escalation_repeat", Integer, nullable=False),
    Column("next_escalation_at", _Instant),
    Column("snooze_end_at", _Instant),
    Column("acknowledged_by", Text, nullable=False),
    Column("suppression_rule_id", Text, nullable=False),
    Column("fired_at", _Instant, nullable=False),
    # When its notifications were queued, by a worker right after it fired.
    Column("announced_at", _Instant),
    Column("resolved_at", _Instant),
    Column("revision", Integer, nullable=False),
)

alert_transition = Table(
    "alert_transition",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    # The alert's own after the step.
    Column("revision", Integer, primary_key=True),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("delivery_ids", ARRAY(Text), nullable=False),
    Column("transitioned_at", _Instant, nullable=False),
)

escalation_policy = Table(
    "escalation_policy",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("policy_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("steps", JSONB, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
)

suppression_rule = Table(
    "suppression_rule",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("rule_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("severity_through", SmallInteger),
    Column("quiet_hours", JSONB),
    Column("window_start_at", _Instant),
    Column("window_end_at", _Instant),
    Column("alert_grouping", JSONB),
    Column("is_disabled", Boolean, nullable=False),
    Column("suppressed_count", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
)
