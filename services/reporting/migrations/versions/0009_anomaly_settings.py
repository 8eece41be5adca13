"""Keeps how anomalies are looked for, and maintenance windows."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

SETTINGS = """
CREATE TABLE reporting.anomaly_settings (
    tenant_id text NOT NULL PRIMARY KEY,
    is_disabled boolean NOT NULL,
    sensitivity numeric NOT NULL CHECK (sensitivity BETWEEN 0 AND 1),
    impact_min numeric(38, 18) NOT NULL CHECK (impact_min >= 0),
    group_by text[] NOT NULL,
    grace_hours integer NOT NULL,
    severity_min smallint NOT NULL,
    channel_ids text[] NOT NULL,
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE TABLE reporting.maintenance_window (
    tenant_id text NOT NULL,
    window_id text NOT NULL,
    display_name text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    filter text NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, window_id),
    CHECK (start_at < end_at)
);
CREATE INDEX ON reporting.maintenance_window (tenant_id, start_at, window_id);
"""


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, SETTINGS)
    for table in ("anomaly_settings", "maintenance_window"):
        protect(op, f"{SCHEMA}.{table}")
