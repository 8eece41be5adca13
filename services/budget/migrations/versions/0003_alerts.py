"""Creates alerts, their policies, channels, subscriptions, notifications and deliveries."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import (
    create_data_key_table,
    create_feed_table,
    protect,
    run_script,
)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "budget"

ALERTS = """
CREATE TABLE budget.alert (
    tenant_id text NOT NULL,
    alert_id text NOT NULL,
    -- What is unique in a budget's period: a threshold, or a kind.
    alert_key text NOT NULL,
    budget_id text NOT NULL,
    budget_display_name text NOT NULL,
    department_id text NOT NULL,
    kind text NOT NULL,
    severity smallint NOT NULL,
    state text NOT NULL,
    -- -infinity for what belongs to no period.
    period_start timestamptz NOT NULL,
    period_end timestamptz,
    basis text,
    threshold_ratio numeric(38, 18),
    currency_code text NOT NULL,
    observed numeric(38, 18),
    limit_amount numeric(38, 18),
    message text NOT NULL,
    usage_event_id text NOT NULL,
    feed_sequence text NOT NULL,
    channel_ids text[] NOT NULL,
    recipients text[] NOT NULL,
    escalation_policy_id text NOT NULL,
    escalation_level integer NOT NULL,
    escalation_repeat integer NOT NULL,
    next_escalation_at timestamptz,
    snooze_end_at timestamptz,
    acknowledged_by text NOT NULL,
    suppression_rule_id text NOT NULL,
    fired_at timestamptz NOT NULL,
    -- When its notifications were queued; null until then.
    announced_at timestamptz,
    resolved_at timestamptz,
    revision integer NOT NULL,
    PRIMARY KEY (tenant_id, alert_id)
);
CREATE UNIQUE INDEX ON budget.alert (tenant_id, budget_id, period_start, alert_key);
CREATE INDEX ON budget.alert (tenant_id, fired_at, alert_id);
-- The worker looks across tenants for what time changes.
CREATE INDEX alert_due ON budget.alert (LEAST(next_escalation_at, snooze_end_at))
    WHERE LEAST(next_escalation_at, snooze_end_at) IS NOT NULL;
CREATE INDEX alert_unannounced ON budget.alert (fired_at) WHERE announced_at IS NULL;
CREATE TABLE budget.alert_transition (
    tenant_id text NOT NULL,
    alert_id text NOT NULL,
    revision integer NOT NULL,
    from_state text,
    to_state text NOT NULL,
    actor text NOT NULL,
    note text NOT NULL,
    delivery_ids text[] NOT NULL,
    transitioned_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, alert_id, revision),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES budget.alert ON DELETE CASCADE
);
CREATE TABLE budget.escalation_policy (
    tenant_id text NOT NULL,
    policy_id text NOT NULL,
    display_name text NOT NULL,
    steps jsonb NOT NULL,
    revision integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, policy_id)
);
CREATE TABLE budget.suppression_rule (
    tenant_id text NOT NULL,
    rule_id text NOT NULL,
    display_name text NOT NULL,
    kind text NOT NULL,
    filter text NOT NULL,
    severity_through smallint,
    quiet_hours jsonb,
    window_start_at timestamptz,
    window_end_at timestamptz,
    alert_grouping jsonb,
    is_disabled boolean NOT NULL,
    suppressed_count bigint NOT NULL DEFAULT 0,
    revision integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, rule_id)
);
"""

NOTIFICATIONS = """
CREATE TABLE budget.channel (
    tenant_id text NOT NULL,
    channel_id text NOT NULL,
    display_name text NOT NULL,
    kind text NOT NULL,
    email_addresses text[] NOT NULL,
    address_hint text NOT NULL,
    header_names text[] NOT NULL,
    severity_min smallint NOT NULL,
    is_disabled boolean NOT NULL,
    -- Sealed by kernel.envelope.
    secrets bytea NOT NULL,
    previous_secret bytea,
    previous_secret_expires_at timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error text NOT NULL DEFAULT '',
    consecutive_failures integer NOT NULL DEFAULT 0,
    revision integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, channel_id)
);
CREATE TABLE budget.event_subscription (
    tenant_id text NOT NULL,
    subscription_id text NOT NULL,
    channel_id text NOT NULL,
    event_types text[] NOT NULL,
    filter text NOT NULL,
    is_disabled boolean NOT NULL,
    revision integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES budget.channel ON DELETE CASCADE
);
CREATE TABLE budget.notification (
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    event_type text NOT NULL,
    title text NOT NULL,
    text_body text NOT NULL,
    html_body text NOT NULL,
    payload_json text NOT NULL,
    severity smallint NOT NULL,
    link text NOT NULL,
    deduplication_key text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, notification_id)
);
CREATE UNIQUE INDEX ON budget.notification (tenant_id, deduplication_key)
    WHERE deduplication_key IS NOT NULL;
CREATE TABLE budget.notification_attachment (
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    place integer NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (tenant_id, notification_id, place),
    FOREIGN KEY (tenant_id, notification_id) REFERENCES budget.notification ON DELETE CASCADE
);
CREATE TABLE budget.delivery (
    tenant_id text NOT NULL,
    delivery_id text NOT NULL,
    message_id text NOT NULL,
    notification_id text NOT NULL,
    -- Empty for a plain mail address, which `mail_to` then holds.
    channel_id text NOT NULL,
    mail_to text NOT NULL,
    receiver_hint text NOT NULL,
    event_type text NOT NULL,
    alert_id text NOT NULL,
    state text NOT NULL,
    attempt_count integer NOT NULL DEFAULT 0,
    -- Attempts of the present round: a replay begins a new one.
    round_count integer NOT NULL DEFAULT 0,
    -- When a worker has to look at it: the next attempt, or the end of a dead worker's lease.
    due_at timestamptz,
    next_attempt_at timestamptz,
    -- What a grouping rule counts it with, and whether it waits for the group's digest.
    digest_key text,
    is_held boolean NOT NULL DEFAULT false,
    digest_delivery_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    PRIMARY KEY (tenant_id, delivery_id),
    FOREIGN KEY (tenant_id, notification_id) REFERENCES budget.notification
);
CREATE INDEX ON budget.delivery (tenant_id, created_at, delivery_id);
CREATE INDEX ON budget.delivery (tenant_id, channel_id, state);
CREATE INDEX ON budget.delivery (tenant_id, alert_id) WHERE alert_id <> '';
CREATE INDEX ON budget.delivery (tenant_id, digest_key, created_at) WHERE digest_key IS NOT NULL;
-- Workers claim across tenants what is due.
CREATE INDEX delivery_due ON budget.delivery (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE budget.delivery_attempt (
    tenant_id text NOT NULL,
    delivery_id text NOT NULL,
    attempt integer NOT NULL,
    attempted_at timestamptz NOT NULL,
    latency interval NOT NULL,
    http_status integer NOT NULL,
    response_excerpt text NOT NULL,
    response_digest text NOT NULL,
    error text NOT NULL,
    signature text NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id, attempt),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES budget.delivery ON DELETE CASCADE
);
"""

TENANT_TABLES = (
    "alert",
    "alert_transition",
    "escalation_policy",
    "suppression_rule",
    "channel",
    "event_subscription",
    "notification",
    "notification_attachment",
    "delivery",
    "delivery_attempt",
)


def upgrade() -> None:
    """Creates the tables, their row-level security, the alert feed and the data keys."""
    run_script(op, ALERTS)
    run_script(op, NOTIFICATIONS)
    for table in TENANT_TABLES:
        protect(op, f"{SCHEMA}.{table}")
    create_feed_table(op, f"{SCHEMA}.alert_change")
    create_data_key_table(op, SCHEMA)
