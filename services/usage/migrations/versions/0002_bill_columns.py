"""Keeps what a bill's row says beyond an event, so that the row can be given back whole."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Text, not jsonb: it is never looked into, only given back, and text costs ingest no parsing.
BILL_COLUMNS = """
ALTER TABLE usage.event ADD COLUMN bill_columns text;
CREATE TABLE usage.bill_column (
    tenant_id text NOT NULL,
    column_name text NOT NULL,
    PRIMARY KEY (tenant_id, column_name)
);
"""


def upgrade() -> None:
    """Adds the column, and the table of column names that bills brought."""
    run_script(op, BILL_COLUMNS)
    protect(op, "usage.bill_column")
