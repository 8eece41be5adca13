"""Creates reports, their sections and files, and the schedules that make them."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

REPORTS = """
CREATE TABLE reporting.report (
    tenant_id text NOT NULL,
    report_id text NOT NULL,
    kind smallint NOT NULL,
    title text NOT NULL,
    wished_title text NOT NULL,
    filter text NOT NULL,
    group_by text[] NOT NULL,
    currency_code text NOT NULL,
    formats smallint[] NOT NULL CHECK (cardinality(formats) > 0),
    locale text NOT NULL,
    theme text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    time_zone text NOT NULL,
    state smallint NOT NULL,
    done_units integer NOT NULL,
    total_units integer NOT NULL,
    message text NOT NULL,
    updated_at timestamptz NOT NULL,
    error text NOT NULL,
    content_hash text NOT NULL,
    schedule_id text NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, report_id),
    CHECK (start_at < end_at)
);
CREATE INDEX ON reporting.report (tenant_id, created_at, report_id);
-- What is not done, and what is due to expire, is looked for over all tenants.
CREATE INDEX ON reporting.report (tenant_id, state, updated_at);
CREATE TABLE reporting.report_section (
    tenant_id text NOT NULL,
    report_id text NOT NULL,
    place integer NOT NULL,
    content jsonb NOT NULL,
    PRIMARY KEY (tenant_id, report_id, place),
    FOREIGN KEY (tenant_id, report_id) REFERENCES reporting.report ON DELETE CASCADE
);
CREATE TABLE reporting.report_file (
    tenant_id text NOT NULL,
    report_id text NOT NULL,
    format smallint NOT NULL,
    file_id text NOT NULL,
    content_hash text NOT NULL,
    byte_count integer NOT NULL,
    PRIMARY KEY (tenant_id, report_id, format),
    FOREIGN KEY (tenant_id, report_id) REFERENCES reporting.report ON DELETE CASCADE
);
CREATE TABLE reporting.report_schedule (
    tenant_id text NOT NULL,
    schedule_id text NOT NULL,
    display_name text NOT NULL,
    kind smallint NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    period_kind text NOT NULL,
    filter text NOT NULL,
    group_by text[] NOT NULL,
    currency_code text NOT NULL,
    formats smallint[] NOT NULL CHECK (cardinality(formats) > 0),
    locale text NOT NULL,
    recipients text[] NOT NULL,
    channel_ids text[] NOT NULL,
    disabled boolean NOT NULL,
    next_run_at timestamptz,
    last_run_at timestamptz,
    last_report_id text NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, schedule_id)
);
CREATE INDEX ON reporting.report_schedule (tenant_id, next_run_at);
"""


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, REPORTS)
    for table in ("report", "report_section", "report_file", "report_schedule"):
        protect(op, f"{SCHEMA}.{table}")
