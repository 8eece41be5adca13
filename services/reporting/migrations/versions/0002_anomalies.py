"""Creates watched series, their hours, the anomalies found in them and the feed of those."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import create_feed_table, protect, run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

ANOMALIES = """
CREATE TABLE reporting.watched_series (
    tenant_id text NOT NULL,
    series_key text NOT NULL,
    department text NOT NULL,
    service text NOT NULL,
    resource_type text NOT NULL,
    currency_code text NOT NULL,
    newest_at timestamptz NOT NULL,
    judged_until timestamptz,
    false_alarms integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, series_key)
);
CREATE TABLE reporting.watched_hour (
    tenant_id text NOT NULL,
    series_key text NOT NULL,
    hour_at timestamptz NOT NULL,
    cost numeric(38, 18) NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (tenant_id, series_key, hour_at)
);
CREATE TABLE reporting.anomaly (
    tenant_id text NOT NULL,
    anomaly_id text NOT NULL,
    series_key text NOT NULL,
    department text NOT NULL,
    service text NOT NULL,
    resource_type text NOT NULL,
    currency_code text NOT NULL,
    state smallint NOT NULL,
    severity smallint NOT NULL,
    direction text NOT NULL,
    pattern text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    observed numeric(38, 18) NOT NULL,
    expected numeric(38, 18) NOT NULL,
    expected_lower numeric(38, 18) NOT NULL,
    expected_upper numeric(38, 18) NOT NULL,
    impact numeric(38, 18) NOT NULL,
    score numeric NOT NULL,
    causes jsonb NOT NULL,
    event_count bigint NOT NULL,
    feedback smallint NOT NULL DEFAULT 0,
    feedback_actor text NOT NULL DEFAULT '',
    feedback_note text NOT NULL DEFAULT '',
    detected_at timestamptz NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (tenant_id, anomaly_id),
    CHECK (start_at < end_at)
);
CREATE INDEX ON reporting.anomaly (tenant_id, start_at, anomaly_id);
CREATE INDEX ON reporting.anomaly (tenant_id, series_key, start_at);
"""


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, ANOMALIES)
    for table in ("watched_series", "watched_hour", "anomaly"):
        protect(op, f"{SCHEMA}.{table}")
    create_feed_table(op, f"{SCHEMA}.anomaly_change")
