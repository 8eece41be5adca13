"""Creates exports as long-running work."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

EXPORTS = """
CREATE TABLE reporting.export (
    tenant_id text NOT NULL,
    export_id text NOT NULL,
    dataset text NOT NULL,
    format text NOT NULL,
    start_at timestamptz,
    end_at timestamptz,
    group_by text[] NOT NULL,
    granularity text NOT NULL,
    filter text NOT NULL,
    cost_type text NOT NULL,
    currency_code text NOT NULL,
    is_allocated boolean NOT NULL,
    state smallint NOT NULL,
    done_rows bigint NOT NULL,
    total_rows bigint NOT NULL,
    byte_count bigint NOT NULL,
    content_hash text NOT NULL,
    error text NOT NULL,
    attempt integer NOT NULL,
    begun_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, export_id),
    CHECK (start_at < end_at)
);
CREATE INDEX ON reporting.export (tenant_id, created_at, export_id);
CREATE INDEX ON reporting.export (tenant_id, state, expires_at);
"""


def upgrade() -> None:
    """Creates the table and its row-level security."""
    run_script(op, EXPORTS)
    protect(op, f"{SCHEMA}.export")
